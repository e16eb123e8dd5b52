package node

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"pytasks/fsm"
	"pytasks/node/config"
	"pytasks/node/failpoint"
	"pytasks/taskpacks"
)

const (
	// stuckAfter is how long an attempt may wait for a slot when none becomes
	// free: it is handed back then, to run where one is.
	stuckAfter = 250 * time.Millisecond
	// timeoutGrace is what code gets to return by itself after its timeout, before
	// the attempt is reported as failed without it.
	timeoutGrace = time.Second
)

// errTimeout is the cause that an attempt's context ends with when its time is up.
var errTimeout = errors.New("the attempt took longer than its timeout")

// Reporter is how the executor tells the cluster what became of an attempt;
// *fsm.Queue.
type Reporter interface {
	Finish(ctx context.Context, f *fsm.Finish) error
	Release(ctx context.Context, r *fsm.Release) error
}

// Funcs finds the code that is to be run; *packs. errNotReady: it will be here, yet is not.
type Funcs interface {
	Func(kind, release string) (*taskpacks.Func, error)
}

// Large keeps arguments and results that are too large for the log; *blobs.
type Large interface {
	// load returns the bytes of a blob, from another node if need be.
	load(ctx context.Context, b *fsm.Blob) ([]byte, error)
	// keep stores bytes on this node's disk.
	keep(content []byte) (*fsm.Blob, error)
}

// executor runs what the log assigns to this node, at most slots at once. It
// learns of an assignment twice: from the state, which is sure, and from the
// leader's nudge, which is fast; the attempt's number tells that it has it.
type executor struct {
	name      string // of this node
	slots     int
	timeout   time.Duration // of an attempt that asks for none
	maxResult int64         // in bytes of JSON
	funcs     Funcs
	large     Large
	report    Reporter
	applied   func() uint64
	log       *slog.Logger
	loaded    *semaphore.Weighted // bytes of large arguments in memory

	mu       sync.Mutex
	free     sync.Cond            // signalled when an attempt may start, or the executor stops
	at       fsm.Start            // this node's registration; zero before; guarded by mu
	attempts map[fsm.Key]*attempt // guarded by mu
	queue    []*attempt           // waiting for a slot, in order; guarded by mu
	busy     int                  // slots in use; guarded by mu
	moved    time.Time            // when a slot was last taken; guarded by mu
	heard    time.Time            // when a leader last answered; guarded by mu
	goal     uint64               // the index that it had applied; guarded by mu
	closed   bool                 // guarded by mu
	idle     chan struct{}        // closed when nothing is held, for a drain; guarded by mu
	ended    []endedLog           // of attempts that printed something, the last ones; guarded by mu
	wg       sync.WaitGroup       // slots and reports
	told     chan struct{}        // capacity 1: some attempt told of its progress
	base     context.Context      // of every attempt
	stop     context.CancelFunc   // ends base
}

// attempt is one try at a task that this node holds.
type attempt struct {
	task    *fsm.Task
	args    []byte             // those of the task, from elsewhere where they are a blob
	nudged  uint64             // index of its assignment, where the leader told of it; 0: the log did
	state   attemptState       // guarded by the executor's mu
	dropped bool               // nobody wants its outcome; guarded by the executor's mu
	timeout time.Duration      // set when it starts
	started time.Time          // set when it starts
	ended   bool               // the code has returned, and its large result is being stored; guarded by the executor's mu
	cancel  context.CancelFunc // of the running code, or of loading, set when that starts
	log     taskLog
	told    progress // guarded by the executor's mu
}

type attemptState int

const (
	attemptQueued  attemptState = iota
	attemptLoading              // its arguments are fetched, and its time does not count yet
	attemptRunning
	attemptReporting
)

func newExecutor(cfg config.Config, funcs Funcs, large Large, report Reporter, applied func() uint64, log *slog.Logger) *executor {
	e := &executor{
		name: cfg.Name, slots: cfg.Slots, timeout: cfg.TaskTimeout, maxResult: cfg.MaxResult,
		funcs: funcs, large: large, report: report, applied: applied,
		log: log.With("component", "executor"), attempts: map[fsm.Key]*attempt{},
		loaded: semaphore.NewWeighted(maxLoaded),
		told:   make(chan struct{}, 1),
	}
	e.free.L = &e.mu
	e.base, e.stop = context.WithCancel(context.Background())
	for range e.slots {
		e.wg.Go(e.slot)
	}
	return e
}

// register tells the executor under which registration work is meant for it.
func (e *executor) register(at fsm.Start) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = at
}

// hear notes that a leader answered, which had applied the log up to an index.
func (e *executor) hear(index uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard, e.goal = time.Now(), max(e.goal, index)
	e.free.Broadcast()
}

// startable says whether an attempt may start. A node that was cut off, or stopped for a
// while, learns of assignments that are long over: it starts none before a leader has
// answered and the state is where that leader's was. mu is held.
func (e *executor) startable(a *attempt) bool {
	return time.Since(e.heard) <= selfFence && (a.nudged > 0 || e.applied() >= e.goal)
}

// offer takes the leader's word for assignments that this node's state does not
// show yet. What it shows already has been seen there.
func (e *executor) offer(n *fsm.Nudge) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.applied() >= n.Index {
		return
	}
	for _, t := range n.Tasks {
		e.accept(t, n.Index)
	}
}

// observe follows the state: what is assigned to this node, and what is no more.
func (e *executor) observe(c fsm.Changes) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at == (fsm.Start{}) {
		return
	}
	for _, ch := range c.Tasks {
		t := ch.New
		switch {
		case t.Status == fsm.Status_STARTED && e.mine(t):
			e.accept(t, 0)
		case ch.Old != nil && ch.Old.Status == fsm.Status_STARTED && ch.Old.Place.GetNode() == e.at.Node:
			e.drop(fsm.Key(t.Key), ch.Old.Attempt)
		}
	}
	if len(e.queue) > 0 {
		e.free.Broadcast()
	}
}

// resync makes the executor hold exactly what the state shows, after that was
// replaced as a whole by what it was at an index; and what the leader has told of that
// was assigned later.
func (e *executor) resync(index uint64, assigned []*fsm.Task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	keep := map[fsm.Key]uint32{}
	for _, t := range assigned {
		if e.mine(t) {
			keep[fsm.Key(t.Key)] = t.Attempt
		}
	}
	for k, a := range e.attempts {
		if keep[k] != a.task.Attempt && a.nudged <= index {
			e.drop(k, a.task.Attempt)
		}
	}
	for _, t := range assigned {
		if e.mine(t) {
			e.accept(t, 0)
		}
	}
}

func (e *executor) mine(t *fsm.Task) bool {
	return e.at == (fsm.Start{Node: t.Place.GetNode(), Boot: t.Place.GetBoot()}) && e.at.Node != 0
}

// accept queues an attempt, unless it is held already. mu is held.
func (e *executor) accept(t *fsm.Task, nudged uint64) {
	if !e.mine(t) || e.closed {
		return
	}
	k := fsm.Key(t.Key)
	if a := e.attempts[k]; a != nil {
		if a.task.Attempt >= t.Attempt {
			return
		}
		e.drop(k, a.task.Attempt)
	}
	a := &attempt{task: t, args: t.Args, nudged: nudged}
	e.attempts[k] = a
	e.queue = append(e.queue, a)
	e.free.Signal()
}

// drop forgets an attempt; if its code is running, that is told to stop and its
// outcome is not reported. mu is held.
func (e *executor) drop(k fsm.Key, number uint32) {
	a := e.attempts[k]
	if a == nil || a.task.Attempt > number {
		return
	}
	a.dropped = true
	if a.cancel != nil {
		a.cancel()
	}
	e.forget(a)
}

// forget lets go of an attempt. mu is held.
func (e *executor) forget(a *attempt) {
	k := fsm.Key(a.task.Key)
	if e.attempts[k] == a {
		delete(e.attempts, k)
	}
	if len(e.attempts) == 0 && e.idle != nil {
		close(e.idle)
		e.idle = nil
	}
}

// slot runs one attempt after another.
func (e *executor) slot() {
	for {
		a, ctx := e.next()
		if a == nil {
			return
		}
		if a.task.ArgsBlob != nil {
			e.runLarge(ctx, a)
		} else {
			e.run(ctx, a)
		}
	}
}

// next waits for an attempt to run, or to be loaded, nil when the executor is closed.
func (e *executor) next() (*attempt, context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		if a := e.pull(); a != nil {
			e.busy++
			e.moved = time.Now()
			if a.task.ArgsBlob != nil {
				return a, e.beginLoading(a)
			}
			return a, e.begin(a)
		}
		if e.closed {
			return nil, nil
		}
		e.free.Wait()
	}
}

// begin starts the time of an attempt. mu is held.
func (e *executor) begin(a *attempt) context.Context {
	a.state = attemptRunning
	a.started, a.timeout = time.Now(), e.timeout
	if a.task.TimeoutMs > 0 {
		a.timeout = time.Duration(a.task.TimeoutMs) * time.Millisecond
	}
	var ctx context.Context
	ctx, a.cancel = context.WithTimeoutCause(e.base, a.timeout, errTimeout)
	return ctx
}

// pull takes the first attempt that may start off the queue, nil if there is none. mu is
// held.
func (e *executor) pull() *attempt {
	for i := 0; i < len(e.queue); i++ {
		a := e.queue[i]
		if !a.dropped && !e.startable(a) {
			continue
		}
		if i == 0 {
			e.queue[0] = nil
			e.queue = e.queue[1:]
		} else {
			e.queue = slices.Delete(e.queue, i, i+1)
		}
		if !a.dropped {
			return a
		}
		i--
	}
	return nil
}

// run runs an attempt's code and has its outcome reported.
func (e *executor) run(ctx context.Context, a *attempt) {
	failpoint.Point("executor.start.before")
	t := a.task
	ctx = taskpacks.WithCall(ctx, taskpacks.Call{
		ID: t.ID(), Attempt: int(t.Attempt), Node: e.name, Log: &a.log,
		Progress: func(fraction float64, text string) { e.tellProgress(a, fraction, text) },
	})
	f := &fsm.Finish{}
	fn, err := e.funcs.Func(t.Type, t.Release)
	if errors.Is(err, errNotReady) {
		e.notReady(a)
		return
	}
	if err != nil {
		f = failure(err, 0)
	} else if result, err := fn.Call(ctx, a.args); err == nil && int64(len(result)) > e.maxResult {
		f = failure(taskpacks.Permanent(resultTooLarge(e.maxResult)), 0)
	} else if err == nil && len(result) > maxInline {
		f = e.keepResult(a, result)
	} else if err == nil {
		f.Result = result
	} else if errors.Is(context.Cause(ctx), errTimeout) {
		f = failure(errTimeout, a.timeout)
	} else {
		f = failure(err, 0)
	}
	failpoint.Point("executor.finish.before")
	a.log.end()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy--
	a.cancel()
	e.keepLog(a)
	e.finished(a, f)
}

// finished hands an attempt's outcome to the reporter, once, unless nobody wants
// it any more. mu is held.
func (e *executor) finished(a *attempt, f *fsm.Finish) {
	if a.dropped || a.state != attemptRunning || e.closed {
		return
	}
	a.state = attemptReporting
	f.Key, f.Attempt, f.RunUs = a.task.Key, a.task.Attempt, max(1, time.Since(a.started).Microseconds())
	f.Log = a.log.kept()
	e.wg.Go(func() { e.tell(a, func(ctx context.Context) error { return e.report.Finish(ctx, f) }) })
}

// tell reports until the outcome is committed, or superseded, or the node stops.
// The attempt is remembered until the state shows its end, so that this node does
// not take it for a new one: after a nudge, or where its log is behind, the state may
// show the beginning long after the leader has called the attempt stale.
func (e *executor) tell(a *attempt, report func(context.Context) error) {
	err := report(e.base)
	failpoint.Point("executor.finish.after")
	if err != nil && !errors.Is(err, fsm.ErrStale) && e.base.Err() == nil {
		e.log.Warn("outcome not reported", "task", a.task.ID(), "attempt", a.task.Attempt, "err", err)
	}
}
