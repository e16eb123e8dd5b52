package node

import (
	"context"
	"fmt"
	"time"

	"pytasks/fsm"
	"pytasks/node/failpoint"
)

const (
	// maxLoaded bounds the large arguments that are in memory for running tasks, in bytes: their
	// code has them once more, and what it makes of them.
	maxLoaded = 128 << 20
	// loadPatience is how long an attempt may wait for its large arguments, beside the time that
	// their bytes take: then it is handed back, to run where they may be had.
	loadPatience = 30 * time.Second
	// loadAgain is how soon arguments that no node gave are asked for again.
	loadAgain = time.Second
)

// beginLoading returns the context of fetching an attempt's arguments. mu is held.
func (e *executor) beginLoading(a *attempt) context.Context {
	a.state = attemptLoading
	var ctx context.Context
	ctx, a.cancel = context.WithTimeout(e.base, loadPatience+transferTime(a.task.ArgsBlob.Size))
	return ctx
}

// runLarge is run for an attempt whose arguments are a blob. Its time begins when they are here.
func (e *executor) runLarge(ctx context.Context, a *attempt) {
	memory := min(a.task.ArgsBlob.Size, maxLoaded)
	err := e.loaded.Acquire(ctx, memory)
	if err == nil {
		defer e.loaded.Release(memory)
		a.args, err = e.loadArgs(ctx, a.task.ArgsBlob)
	}
	if ctx = e.endLoading(a, err); ctx != nil {
		e.run(ctx, a)
	}
	a.args = nil // it may be remembered for long
}

func (e *executor) loadArgs(ctx context.Context, b *fsm.Blob) (args []byte, err error) {
	for {
		if args, err = e.large.load(ctx, b); err == nil {
			return args, nil
		}
		if sleep(ctx, loadAgain) != nil {
			return nil, err
		}
	}
}

// endLoading returns the context to run an attempt in, nil if it is not to be run here.
func (e *executor) endLoading(a *attempt, err error) context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	a.cancel()
	wanted := !a.dropped && a.state == attemptLoading && !e.closed
	if wanted && err == nil {
		return e.begin(a)
	}
	e.busy--
	if wanted {
		e.log.Warn("large arguments not here", "task", a.task.ID(), "attempt", a.task.Attempt, "err", err)
		e.release(a, fsm.ReasonNotStarted)
	}
	return nil
}

// keepResult stores a result that is too large for the log, and returns the outcome that names it.
// The slot stays taken meanwhile, so that no more results are in memory than there are slots; the
// attempt's time does not count any more.
func (e *executor) keepResult(a *attempt, result []byte) *fsm.Finish {
	e.mu.Lock()
	a.ended = true
	e.mu.Unlock()
	failpoint.Point("blob.result.before")
	b, err := e.large.keep(result)
	if err != nil {
		e.log.Warn("large result not stored", "task", a.task.ID(), "attempt", a.task.Attempt, "err", err)
		return failure(fmt.Errorf("the result could not be stored on the disk of node %s: %w", e.name, err), 0)
	}
	return &fsm.Finish{ResultBlob: b}
}
