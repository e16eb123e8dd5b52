package process

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"pytasks/taskpacks"
)

// Pool keeps warm workers of one program. It starts one when a call finds none idle, so there are as many as calls run at once.
// A worker with another process in its group after a call is ended with it: code that keeps helpers of its own is never warm.
// It is safe for concurrent use.
type Pool struct {
	host    *Host
	program Program

	mu     sync.Mutex
	idle   []*worker // the last one was used last, and is used next; guarded by mu
	busy   int       // calls; guarded by mu
	closed bool      // guarded by mu
}

// NewPool returns a Pool. It starts nothing before the first call.
func (h *Host) NewPool(program Program) *Pool {
	p := &Pool{host: h, program: program}
	h.mu.Lock()
	defer h.mu.Unlock()
	p.closed = h.closed
	if !p.closed {
		h.pools[p] = struct{}{}
	}
	return p
}

// Call hands a request to a worker, starting one if none is idle, and returns the result it answers with. What the worker
// prints meanwhile goes to the log of ctx's call, what it tells of its progress to taskpacks.Progress.
//
// The error is what the worker answered, a *taskpacks.Error, marked permanent if it said so; one of ReasonCrash if it died;
// one of ReasonMemory; a *StartError; ErrClosed; or wraps ctx's error if that ended first: then the processes are gone, which takes at most
// Soft plus Term longer.
func (p *Pool) Call(ctx context.Context, req Request) (json.RawMessage, error) {
	if err := p.host.enter(); err != nil {
		return nil, err
	}
	defer p.host.wg.Done()
	if ctx.Err() != nil {
		return nil, stopped(ctx, nil)
	}
	log := taskpacks.Log(ctx)
	p.working(1)
	defer p.working(-1)

	w, err := p.take()
	if err != nil {
		return nil, err
	}
	if w != nil {
		result, err := w.call(ctx, log, &req)
		p.put(w)
		if !errors.Is(err, errUnread) {
			return result, err
		}
	}
	w, err = p.newWorker(ctx, log)
	if err != nil {
		return nil, err
	}
	result, err := w.call(ctx, log, &req)
	p.put(w)
	if errors.Is(err, errUnread) {
		err = w.death("")
	}
	return result, err
}

// Close ends the workers, each when its call is done; it does not wait for that. Later calls return ErrClosed.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, w := range idle {
		w.retire()
	}
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	delete(p.host.pools, p)
	return nil
}

// take returns the idle worker that was used last, nil if there is none.
func (p *Pool) take() (*worker, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	n := len(p.idle) - 1
	if n < 0 {
		return nil, nil
	}
	w := p.idle[n]
	p.idle[n] = nil
	p.idle = p.idle[:n]
	w.idle.Stop()
	return w, nil
}

// put takes a worker back after a call, unless it is done for.
func (p *Pool) put(w *worker) {
	if !w.fit {
		return // its group is gone
	}
	done := w.calls >= p.host.cfg.MaxCalls || w.grown()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || done {
		w.retire()
		return
	}
	p.idle = append(p.idle, w)
	if w.idle == nil {
		w.idle = time.AfterFunc(p.host.cfg.Idle, func() { p.expire(w) })
	} else {
		w.idle.Reset(p.host.cfg.Idle)
	}
}

// working counts calls.
func (p *Pool) working(calls int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy += calls
}

// Workers returns how many workers the pool has: those that are warm and idle, and those that run a call or are started for one.
func (p *Pool) Workers() (idle, busy int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle), p.busy
}

// expire ends a worker that was idle for long.
func (p *Pool) expire(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.idle, w); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
		w.retire()
	}
}
