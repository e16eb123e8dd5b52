package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"pytasks/fsm"
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

// executor runs what the log assigns to this node, at most slots at once. It
// learns of an assignment twice: from the state, which is sure, and from the
// leader's nudge, which is fast; the attempt's number tells that it has it.
type executor struct {
	name    string // of this node
	slots   int
	timeout time.Duration // of an attempt that asks for none
	funcs   *taskpacks.Registry
	report  Reporter
	applied func() uint64
	log     *slog.Logger

	mu       sync.Mutex
	free     sync.Cond            // signalled when queue grows or the executor stops
	at       fsm.Start            // this node's registration; zero before; guarded by mu
	attempts map[fsm.Key]*attempt // guarded by mu
	queue    []*attempt           // waiting for a slot, in order; guarded by mu
	busy     int                  // slots in use; guarded by mu
	moved    time.Time            // when a slot was last taken; guarded by mu
	closed   bool                 // guarded by mu
	idle     chan struct{}        // closed when nothing is held, for a drain; guarded by mu
	wg       sync.WaitGroup       // slots and reports
	base     context.Context      // of every attempt
	stop     context.CancelFunc   // ends base
}

// attempt is one try at a task that this node holds.
type attempt struct {
	task    *fsm.Task
	state   attemptState       // guarded by the executor's mu
	dropped bool               // nobody wants its outcome; guarded by the executor's mu
	timeout time.Duration      // set when it starts
	started time.Time          // set when it starts
	cancel  context.CancelFunc // of the running code, set when it starts
}

type attemptState int

const (
	attemptQueued attemptState = iota
	attemptRunning
	attemptReporting
)

func newExecutor(cfg Config, funcs *taskpacks.Registry, report Reporter, applied func() uint64, log *slog.Logger) *executor {
	e := &executor{
		name: cfg.Name, slots: cfg.Slots, timeout: cfg.TaskTimeout, funcs: funcs, report: report, applied: applied,
		log: log.With("component", "executor"), attempts: map[fsm.Key]*attempt{},
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

// offer takes the leader's word for assignments that this node's state does not
// show yet. What it shows already has been seen there.
func (e *executor) offer(n *fsm.Nudge) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.applied() >= n.Index {
		return
	}
	for _, t := range n.Tasks {
		e.accept(t)
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
			e.accept(t)
		case ch.Old != nil && ch.Old.Status == fsm.Status_STARTED && ch.Old.Place.GetNode() == e.at.Node:
			e.drop(fsm.Key(t.Key), ch.Old.Attempt)
		}
	}
}

// resync makes the executor hold exactly what the state shows, after that was
// replaced as a whole.
func (e *executor) resync(assigned []*fsm.Task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	keep := map[fsm.Key]uint32{}
	for _, t := range assigned {
		if e.mine(t) {
			keep[fsm.Key(t.Key)] = t.Attempt
		}
	}
	for k, a := range e.attempts {
		if keep[k] != a.task.Attempt {
			e.drop(k, a.task.Attempt)
		}
	}
	for _, t := range assigned {
		if e.mine(t) {
			e.accept(t)
		}
	}
}

func (e *executor) mine(t *fsm.Task) bool {
	return e.at == (fsm.Start{Node: t.Place.GetNode(), Boot: t.Place.GetBoot()}) && e.at.Node != 0
}

// accept queues an attempt, unless it is held already. mu is held.
func (e *executor) accept(t *fsm.Task) {
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
	a := &attempt{task: t}
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
		e.run(ctx, a)
	}
}

// next waits for an attempt to run, nil when the executor is closed.
func (e *executor) next() (*attempt, context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		for len(e.queue) > 0 {
			a := e.queue[0]
			e.queue[0] = nil
			e.queue = e.queue[1:]
			if a.dropped {
				continue
			}
			a.state = attemptRunning
			e.busy++
			a.started, a.timeout = time.Now(), e.timeout
			if a.task.TimeoutMs > 0 {
				a.timeout = time.Duration(a.task.TimeoutMs) * time.Millisecond
			}
			e.moved = a.started
			var ctx context.Context
			ctx, a.cancel = context.WithTimeoutCause(e.base, a.timeout, errTimeout)
			return a, ctx
		}
		if e.closed {
			return nil, nil
		}
		e.free.Wait()
	}
}

// run runs an attempt's code and has its outcome reported.
func (e *executor) run(ctx context.Context, a *attempt) {
	t := a.task
	ctx = taskpacks.WithCall(ctx, taskpacks.Call{ID: t.ID(), Attempt: int(t.Attempt), Node: e.name})
	f := &fsm.Finish{}
	if fn, ok := e.funcs.Func(t.Type); !ok {
		f = failure(taskpacks.Permanent(errors.New("this node has no func "+t.Type)), 0)
	} else if result, err := fn.Call(ctx, t.Args); err == nil && len(result) > maxResult {
		f = failure(taskpacks.Permanent(errResultTooLarge), 0)
	} else if err == nil {
		f.Result = result
	} else if errors.Is(context.Cause(ctx), errTimeout) {
		f = failure(errTimeout, a.timeout)
	} else {
		f = failure(err, 0)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy--
	a.cancel()
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
	e.wg.Go(func() { e.tell(a, func(ctx context.Context) error { return e.report.Finish(ctx, f) }) })
}

// tell reports until the outcome is committed, or superseded, or the node stops.
// The attempt is remembered until the state shows its end, so that this node does
// not take it for a new one.
func (e *executor) tell(a *attempt, report func(context.Context) error) {
	err := report(e.base)
	if err != nil && !errors.Is(err, fsm.ErrStale) && e.base.Err() == nil {
		e.log.Warn("outcome not reported", "task", a.task.ID(), "attempt", a.task.Attempt, "err", err)
	}
	if errors.Is(err, fsm.ErrStale) || errors.Is(err, fsm.ErrNotFound) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.forget(a)
	}
}
