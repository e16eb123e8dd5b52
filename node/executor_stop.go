package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pytasks/fsm"
	"pytasks/node/failpoint"
	"pytasks/taskpacks"
)

func resultTooLarge(limit int64) error {
	return fmt.Errorf("the result is larger than %d bytes (--max-result): return less, or store it elsewhere and return where", limit)
}

// failure turns a func's error into the outcome of its attempt.
func failure(err error, timeout time.Duration) *fsm.Finish {
	f := &fsm.Finish{Reason: fsm.ReasonError, Permanent: taskpacks.IsPermanent(err), Error: &fsm.Failure{
		Type: taskpacks.ErrorType(err), Message: err.Error(),
	}}
	var p *taskpacks.PanicError
	var code *taskpacks.Error
	switch {
	case errors.Is(err, errTimeout):
		f.Reason, f.Error.Type = fsm.ReasonTimeout, "Timeout"
		f.Error.Message = fmt.Sprintf("the attempt took longer than its timeout of %v", timeout)
	case errors.As(err, &p):
		f.Reason, f.Error.Traceback = fsm.ReasonPanic, p.Stack
	case errors.As(err, &code):
		f.Reason, f.Error.Traceback = code.Reason, code.Traceback
	}
	const longest = 8 << 10
	if len(f.Error.Message) > longest {
		f.Error.Message = f.Error.Message[:longest] + "..."
	}
	return f
}

// notReady hands an attempt back whose code is not here yet.
func (e *executor) notReady(a *attempt) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy--
	a.cancel()
	if !a.dropped && a.state == attemptRunning && !e.closed {
		e.release(a, fsm.ReasonNotStarted)
	}
}

// counts returns how many slots are in use, and how many attempts wait for one.
func (e *executor) counts() (busy, queued int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.busy, len(e.queue)
}

// handBack gives up the attempts that have waited too long for a slot: another
// node may have one.
func (e *executor) handBack() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy < e.slots || time.Since(e.moved) < stuckAfter {
		return
	}
	for _, a := range e.takeQueue() {
		e.release(a, fsm.ReasonNotStarted)
	}
}

// overrun ends the attempts whose code did not return after their timeout. They
// fail without it, although their slots stay taken until it does return.
func (e *executor) overrun() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.attempts {
		if a.state == attemptRunning && !a.ended && time.Since(a.started) > a.timeout+timeoutGrace {
			e.finished(a, failure(errTimeout, a.timeout))
		}
	}
}

// takeQueue empties the queue. mu is held.
func (e *executor) takeQueue() []*attempt {
	var out []*attempt
	for _, a := range e.queue {
		if !a.dropped {
			out = append(out, a)
		}
	}
	e.queue = nil
	return out
}

// release hands an attempt back. mu is held.
func (e *executor) release(a *attempt, reason string) {
	a.state = attemptReporting
	r := &fsm.Release{Key: a.task.Key, Attempt: a.task.Attempt, Reason: reason}
	e.wg.Go(func() { e.tell(a, func(ctx context.Context) error { return e.report.Release(ctx, r) }) })
}

// abandon stops everything, because the cluster may have given the tasks to other
// nodes. What it has not is handed back when it can be reached again.
func (e *executor) abandon() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.takeQueue() {
		e.release(a, fsm.ReasonNotStarted)
	}
	for _, a := range e.attempts {
		if a.holdsSlot() {
			a.cancel()
			e.release(a, fsm.ReasonCutOff)
		}
	}
}

// holdsSlot says whether an attempt runs, or is about to. The executor's mu is held.
func (a *attempt) holdsSlot() bool { return a.state == attemptLoading || a.state == attemptRunning }

// drain finishes what is running and hands the rest back: at once what waits for
// a slot, and what still runs when ctx ends. It returns when nothing is held.
func (e *executor) drain(ctx context.Context) {
	failpoint.Point("executor.handback.before")
	e.handBackQueued()
	idle := e.emptied()
	if idle == nil {
		return
	}
	select {
	case <-idle:
		return
	case <-ctx.Done():
	}
	e.handBackRunning()
	select { // their hand-back is one commit away, if there is a leader
	case <-idle:
	case <-time.After(2 * time.Second):
	}
}

// handBackQueued gives up what waits for a slot.
func (e *executor) handBackQueued() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.takeQueue() {
		e.release(a, fsm.ReasonNotStarted)
	}
}

// handBackRunning stops what runs and gives it up.
func (e *executor) handBackRunning() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range e.attempts {
		if a.holdsSlot() {
			a.cancel()
			e.release(a, fsm.ReasonDrain)
		}
	}
}

// emptied returns a channel that is closed when nothing is held, nil if nothing is.
func (e *executor) emptied() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.attempts) == 0 {
		return nil
	}
	if e.idle == nil {
		e.idle = make(chan struct{})
	}
	return e.idle
}

// close ends what still runs. Code that does not listen is left behind; ctx
// bounds the wait for it.
func (e *executor) close(ctx context.Context) {
	e.mu.Lock()
	e.closed = true
	e.takeQueue()
	e.free.Broadcast()
	e.mu.Unlock()
	e.stop()
	done := make(chan struct{})
	go func() { e.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
