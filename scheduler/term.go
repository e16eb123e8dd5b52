package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"pytasks/fsm"
	"pytasks/node/failpoint"
)

const (
	// entriesInFlight is how many log entries are on their way at once; commands
	// that come meanwhile gather for the next. Each entry costs every node a write
	// to disk, so that beyond fewInFlight only large ones go: those for which
	// so many tasks and reports have gathered.
	entriesInFlight = 4
	fewInFlight     = 2
	muchGathered    = 256
	// refusedPause follows an entry that the log did not take, as it does while the
	// leadership is being handed over: the next would fare the same.
	refusedPause = 20 * time.Millisecond
	// upkeepEvery is how often leases and limits are looked at.
	upkeepEvery = 500 * time.Millisecond
	// hearWithin is how long a new leader waits for the others' clocks.
	hearWithin = 300 * time.Millisecond
	// probeTimeout is how long a suspected node has to answer. It is asked again at
	// every probePause until something is certain.
	probeTimeout = 2 * time.Second
	probePause   = 50 * time.Millisecond
)

// term is one time of leading. All that a leader knows and the log does not is in
// here, and ends with it.
type term struct {
	*Scheduler
	number   uint64
	log      *slog.Logger
	workers  *workers
	clock    *clock
	pace     *pace
	packs    packKeys // run loop only
	progress *progress

	finishes chan *request // outcomes, and nodes' words about themselves
	submits  chan *request // everything else
	wake     chan struct{} // the state changed; capacity 1
	ended    chan struct{} // closed when every request has its answer
	inFlight atomic.Int32  // entries on their way
	gathered atomic.Int64  // weight of the requests in the lanes
	wg       sync.WaitGroup

	flight *flight
	turn   int // assignments made, for oldestEvery; run loop only

	purging   atomic.Bool
	removing  atomic.Bool     // a half-removed pack
	probing   map[string]bool // guarded by probingMu
	probingMu sync.Mutex
}

func newTerm(s *Scheduler, number uint64) *term {
	t := &term{
		Scheduler: s, number: number, log: s.cfg.Logger.With("term", number),
		clock:    newClock(s.cfg.Now, s.cfg.State.Now()),
		pace:     newPace(),
		packs:    packKeys{},
		progress: newProgress(),
		finishes: make(chan *request, 64), submits: make(chan *request, 64),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		probing: map[string]bool{},
	}
	t.workers = newWorkers(&s.cfg)
	t.flight = newFlight()
	return t
}

// do queues a call's commands for the next entry and waits for their outcomes.
func (t *term) do(ctx context.Context, cmds []*fsm.Command) ([]*fsm.Outcome, error) {
	r := newRequest(cmds)
	lane := t.submits
	if len(cmds) > 0 && reports(cmds[0]) {
		lane = t.finishes
	}
	select {
	case lane <- r:
		t.gathered.Add(r.weight)
		t.poke()
	case <-t.ended:
		return nil, fsm.ErrNoLeader
	case <-ctx.Done():
		return nil, fsm.ErrNoLeader
	}
	select {
	case <-r.done:
		return r.outs, r.err
	case <-ctx.Done():
		return nil, fsm.ErrUnknown
	case <-t.ended:
	}
	select {
	case <-r.done:
		return r.outs, r.err
	default:
		return nil, fsm.ErrNoLeader // it came after the last look at the lanes
	}
}

// poke makes the loop look at the state again.
func (t *term) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// run builds and proposes one entry after another until ctx ends.
func (t *term) run(ctx context.Context) error {
	defer t.close()
	for _, n := range t.cfg.State.Nodes() {
		t.suspect(n.Id) // what an earlier leader did not see die
	}
	upkeep := time.NewTicker(upkeepEvery)
	defer upkeep.Stop()
	due := time.NewTimer(hearWithin) // by then the first entry can be made
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.wake:
		case <-due.C:
		case <-upkeep.C:
			t.upkeep(ctx)
		}
		for more := t.knowsTime(); more && t.room(); more = t.gathered.Load() > 0 {
			t.step(ctx)
		}
		if t.knowsTime() {
			t.armDue(due)
		}
	}
}

// knowsTime says whether enough nodes have told their clocks for the first entry: most of
// those that are up, or as many as have by now.
func (t *term) knowsTime() bool {
	return time.Since(t.clock.start) >= hearWithin || t.workers.mostHeard()
}

// room says whether one more entry may be on its way. Where it may not, the end
// of one that is wakes the loop.
func (t *term) room() bool {
	n := t.inFlight.Load()
	return n < fewInFlight || n < entriesInFlight && t.gathered.Load() >= muchGathered
}

// step builds one entry and sends it on its way, if there is anything for it.
func (t *term) step(ctx context.Context) {
	e := t.build(t.gather())
	if len(e.cmds) == 0 {
		e.answer(nil, nil)
		return
	}
	t.inFlight.Add(1)
	t.wg.Go(func() {
		if !t.propose(ctx, e) {
			select {
			case <-time.After(refusedPause):
			case <-ctx.Done():
			}
		}
		t.inFlight.Add(-1)
		t.poke()
	})
}

// armDue sets the timer for the next scheduled task, if it is not due by now;
// otherwise the entry that makes it ready is on its way.
func (t *term) armDue(due *time.Timer) {
	ms, ok := t.cfg.State.NextDue()
	if !ok {
		due.Reset(time.Hour)
		return
	}
	due.Reset(max(time.Duration(ms-t.clock.now())*time.Millisecond, 5*time.Millisecond))
}

// gather returns the requests for the next entry, outcomes first. The last of them may
// make it larger than an entry is meant to be, but no more than one.
func (t *term) gather() []*request {
	var rs []*request
	n, bytes := 0, 0
	for _, lane := range []chan *request{t.finishes, t.submits} {
		for n < maxEntryCommands && bytes < maxEntryBytes {
			select {
			case r := <-lane:
				t.gathered.Add(-r.weight)
				rs, n, bytes = append(rs, r), n+len(r.cmds), bytes+r.bytes
				continue
			default:
			}
			break
		}
	}
	return rs
}

// close waits for what is in flight and answers everyone who still waits.
func (t *term) close() {
	t.wg.Wait()
	defer close(t.ended)
	for {
		select {
		case r := <-t.finishes:
			r.answer(fsm.ErrNoLeader)
		case r := <-t.submits:
			r.answer(fsm.ErrNoLeader)
		default:
			return
		}
	}
}

// propose brings an entry into the log, answers its callers and tells the nodes. It says
// whether the entry is in the log.
func (t *term) propose(ctx context.Context, e *entry) bool {
	defer t.flight.settle(e)
	data, err := fsm.EncodeEntry(&fsm.Entry{NowMs: e.now, Commands: e.cmds})
	if err != nil {
		e.answer(nil, err)
		return true // the next one may be better
	}
	start := time.Now()
	resp, index, err := t.cfg.Cluster.Propose(ctx, data)
	if err != nil {
		t.log.Debug("entry failed", "commands", len(e.cmds), "err", err)
		e.answer(nil, err)
		return false
	}
	failpoint.Point("scheduler.commit.after")
	t.metrics.commit.Observe(time.Since(start).Seconds())
	t.metrics.batch.Observe(float64(len(e.cmds)))
	outs, _ := resp.([]*fsm.Outcome)
	if len(outs) != len(e.cmds) {
		e.answer(nil, fsm.ErrUnknown)
		return true
	}
	t.nudge(index, e)
	t.learn(e, outs)
	failpoint.Point("scheduler.answer.before")
	e.answer(outs, nil)
	return true
}

// learn counts what the outcomes tell, and looks into a name that seems taken.
func (t *term) learn(e *entry, outs []*fsm.Outcome) {
	for i, out := range outs {
		switch k := e.cmds[i].Kind.(type) {
		case *fsm.Command_Finish:
			if out.Code == fsm.Code_STALE {
				t.metrics.stale.Inc()
			}
		case *fsm.Command_NodeUp:
			if out.Code != fsm.Code_NAME_TAKEN {
				continue
			}
			for _, n := range t.cfg.State.Nodes() {
				if n.Name == k.NodeUp.Name && n.Id != k.NodeUp.Id {
					t.suspect(n.Id)
				}
			}
		}
	}
}

// suspect looks, once at a time for each node, whether its process is there.
func (t *term) suspect(id string) {
	n := t.workers.byID(id)
	if n == nil {
		return
	}
	t.probingMu.Lock()
	defer t.probingMu.Unlock()
	if t.probing[id] {
		return
	}
	t.probing[id] = true
	go func() {
		defer func() {
			t.probingMu.Lock()
			defer t.probingMu.Unlock()
			delete(t.probing, id)
		}()
		if t.gone(id, n.Boot) {
			ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
			defer cancel()
			t.giveUp(ctx, n, "its process is gone")
		}
	}()
}

// gone asks until a node answers, or it is proven that its start will not. A process
// that is just ending gives neither: its port is still open, and nobody answers.
func (t *term) gone(id string, boot uint64) bool {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	for {
		found, err := t.cfg.Cluster.Probe(ctx, id)
		if err == nil {
			return found > boot
		}
		if errors.Is(err, ErrDead) {
			return true
		}
		select {
		case <-time.After(probePause):
		case <-ctx.Done():
			return false
		case <-t.ended:
			return false
		}
	}
}

// giveUp declares a start of a node dead, so that its tasks run elsewhere.
func (t *term) giveUp(ctx context.Context, n *fsm.Node, why string) {
	t.log.Warn("node lost", "node", n.Name, "why", why, "tasks", t.cfg.State.Running(n.Number))
	failpoint.Point("scheduler.giveup.before")
	_, err := t.do(ctx, []*fsm.Command{{Kind: &fsm.Command_NodeDown{NodeDown: &fsm.NodeDown{
		Place: &fsm.Place{Node: n.Number, Boot: n.Boot}, Reason: fsm.ReasonWorkerLost,
	}}}})
	if err != nil {
		t.log.Warn("node not given up yet", "node", n.Name, "err", err) // its lease will
	}
}
