package cluster

import "sync"

// signal lets any number of goroutines wait for the next change of something. Its zero value is ready.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; nil = nobody waits
}

// wait returns a channel that is closed at the next fire. Take it before looking at what may change.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// poke leaves a note in a channel of capacity one: somebody should look.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
