package fsm

import (
	"bytes"
	"fmt"
	"time"
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
		if s.active.size() >= flushSize {
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
		if err := s.flush(); err != nil {
			s.cfg.Fatal(err)
			return
		}
	}
}

// dirty notes a change of the active memtable. mu is held.
func (s *State) dirty() {
	size := s.active.size()
	if s.active.since.IsZero() {
		s.active.since = time.Now() // paces the flusher only; not part of the state
		s.signal()
	} else if size >= flushSize {
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

// flushLocked is flush with mu held; it is released while the store is written.
func (s *State) flushLocked() error {
	for s.sealed != nil { // one write at a time
		done := s.flushed
		s.mu.Unlock()
		<-done
		s.mu.Lock()
	}
	m := s.active
	if m.size() == 0 && s.applied == s.stored {
		return nil
	}
	m.applied, m.seq, m.now = s.applied, s.seq, s.now
	s.seal()
	s.flushed = make(chan struct{})
	db, done := s.db, s.flushed
	s.mu.Unlock()
	err := m.write(db)
	s.mu.Lock()
	s.sealed, s.stored = nil, m.applied
	close(done)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

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
