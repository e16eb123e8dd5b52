package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"pytasks/node/failpoint"
)

// flusher writes the memtable to the store when it is old or large enough.
func (s *State) flusher() {
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		}
		s.mu.RLock()
		wait := flushAge - time.Since(s.active.since)
		if s.active.full(1) {
			wait = 0
		}
		s.mu.RUnlock()
		if wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-s.stop:
				t.Stop()
				return
			case <-t.C:
			case <-s.wake: // it is large enough by now
				t.Stop()
			}
		}
		if s.flush() != nil {
			return // the node stops
		}
	}
}

// dirty notes a change of the active memtable. mu is held.
func (s *State) dirty() {
	if s.active.since.IsZero() {
		s.active.since = time.Now() // paces the flusher only; not part of the state
		s.signal()
	} else if s.active.full(1) {
		s.signal()
	}
}

func (s *State) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// flush writes everything applied so far to the store. It may be called from any
// goroutine, also by several at once.
func (s *State) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flushLocked()
}

// flushLocked is flush with mu held; it is released while the store is written. A
// write that fails or hangs is fatal.
func (s *State) flushLocked() error {
	s.awaitWrite() // one at a time
	if broken := s.broken.Load(); broken != nil {
		return broken
	}
	m := s.active
	if s.abandoned || m.size() == 0 && s.applied == s.stored {
		return nil
	}
	m.applied, m.seq, m.now = s.applied, s.seq, s.now
	s.seal()
	s.flushed = make(chan struct{})
	db, done := s.db, s.flushed
	s.mu.Unlock()
	written := afterAwake(flushHang, func() {
		s.cfg.Fatal(fmt.Errorf("write state takes longer than %s: the disk of %s hangs", flushHang, s.cfg.Dir))
	})
	err := failpoint.Err("fsm.flush.before")
	if err == nil {
		err = s.write(m, db)
	}
	failpoint.Point("fsm.flush.after")
	written()
	s.mu.Lock()
	defer close(done)
	if err != nil {
		return s.fail("write state", err)
	}
	s.sealed, s.stored = nil, m.applied
	return nil
}

// afterAwake calls f unless stop is called first, after a time of which it counts what
// this process was awake: it takes ten steps, of which a process that was stopped
// meanwhile, and wakes with every timer overdue, skips one.
func afterAwake(d time.Duration, f func()) (stop func()) {
	const steps = 10
	var stopped atomic.Bool
	var step func(left int)
	step = func(left int) {
		switch {
		case stopped.Load():
		case left == 0:
			f()
		default:
			time.AfterFunc(d/steps, func() { step(left - 1) })
		}
	}
	first := time.AfterFunc(d/steps, func() { step(steps - 1) })
	return func() {
		stopped.Store(true)
		first.Stop()
	}
}

// awaitWrite returns when the store is not being written. mu is held, and released in
// between.
func (s *State) awaitWrite() {
	for s.sealed != nil && s.broken.Load() == nil {
		done := s.flushed
		s.mu.Unlock()
		<-done
		s.mu.Lock()
	}
}

// fail ends the life of the store. What could not be written stays to be read, but
// nothing more is applied or written: the store keeps the index up to which it is
// whole, and after the next start the log brings the rest again. mu is held.
func (s *State) fail(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		what += fmt.Sprintf(": no space is left in %s: free some and start the node again", s.cfg.Dir)
	}
	if errors.Is(err, errDamaged) {
		return s.checked(err)
	}
	broken := &brokenError{fmt.Errorf("%s: %w", what, err)}
	s.broken.Store(broken)
	s.cfg.Fatal(broken)
	return broken
}

// brokenError is why the state takes nothing more.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

// seal puts a new memtable in the place of the active one. mu is held.
func (s *State) seal() {
	for k, c := range s.active.tasks {
		if bytes.Compare(k[:], s.newest[:]) > 0 {
			s.newest = k
		}
		if l := s.index.tasks[k]; l != nil && c.Task != nil {
			l.saved = true
		}
	}
	s.sealed, s.active = s.active, newMemtable(len(s.active.tasks))
}
