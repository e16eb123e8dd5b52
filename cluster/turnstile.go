package cluster

import "sync"

// turnstile counts the proposals in flight, and keeps new ones out while the leadership is handed over, and after Close.
type turnstile struct {
	mu     sync.Mutex
	in     int           // in flight; guarded by mu
	shut   bool          // guarded by mu
	closed bool          // for good; guarded by mu
	idle   chan struct{} // closed when nothing is in flight, nil if nobody waits for that; guarded by mu
}

// enter lets a proposal in, which has to leave. ErrNotLeader: not now; ErrClosed: never again.
func (g *turnstile) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return ErrClosed
	case g.shut:
		return ErrNotLeader
	}
	g.in++
	return nil
}

func (g *turnstile) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in--; g.in == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// close keeps proposals out, for good or until open is called, and returns a channel that is closed when those in flight have left.
func (g *turnstile) close(forGood bool) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.closed = true, g.closed || forGood
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	if g.in == 0 {
		close(g.idle)
		g.idle = nil
	}
	return idle
}

// open lets proposals in again.
func (g *turnstile) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}
