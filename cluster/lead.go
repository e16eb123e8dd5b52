package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// errOfficeLost is the cause with which the context of leader-only work ends.
var errOfficeLost = errors.New("leadership lost")

// office is this node's leadership.
type office struct {
	changed signal                // the known leader or the readiness changed
	ready   atomic.Pointer[epoch] // nil = not the leader, or its barrier is not done yet
	current *epoch                // watchRaft only: also before the barrier
	terms   atomic.Int64          // times that this node became leader
}

// epoch is one uninterrupted leadership.
type epoch struct {
	term uint64
	over chan struct{} // closed when it ends
	once sync.Once
}

func (e *epoch) end() { e.once.Do(func() { close(e.over) }) }

// watchRaft follows raft's leadership and state until ctx ends.
func (c *Cluster) watchRaft(ctx context.Context) {
	observations := make(chan raft.Observation, 64)
	observer := raft.NewObserver(observations, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	c.raft.RegisterObserver(observer)
	defer c.raft.DeregisterObserver(observer)
	ticker := time.NewTicker(time.Second) // observations may be dropped
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			c.leave()
			c.office.changed.fire()
			c.membersChanged.fire()
			return
		case elected := <-c.raft.LeaderCh():
			c.leave() // two elections in a row: the office was lost and regained
			if elected {
				c.enter(ctx)
			}
			c.office.changed.fire()
		case <-observations:
			c.office.changed.fire()
		case <-ticker.C:
		}
		if c.raft.State() == raft.Shutdown && ctx.Err() == nil {
			c.leave()
			c.stopRemoved()
			return
		}
	}
}

// leave ends the current epoch.
func (c *Cluster) leave() {
	if e := c.office.current; e != nil {
		c.office.current = nil
		c.office.ready.CompareAndSwap(e, nil)
		e.end()
		c.office.ready.CompareAndSwap(e, nil) // settle may have come between
		c.log.Info("leadership lost", "term", e.term)
	}
}

// enter begins an epoch, which is ready once everything committed by earlier leaders is applied here.
func (c *Cluster) enter(ctx context.Context) {
	e := &epoch{term: c.raft.CurrentTerm(), over: make(chan struct{})}
	c.office.current = e
	c.wg.Go(func() { c.settle(ctx, e) })
}

func (c *Cluster) settle(ctx context.Context, e *epoch) {
	for {
		err := wait(ctx, c.raft.Barrier(0))
		if err == nil && c.holds(e) {
			break
		}
		select {
		case <-e.over:
			return
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond): // raft says why within its lease: retry or the end of the epoch
		}
	}
	c.office.ready.Store(e)
	select {
	case <-e.over:
		c.office.ready.CompareAndSwap(e, nil)
		return
	default:
	}
	c.office.terms.Add(1)
	c.log.Info("this node leads", "term", e.term)
	c.office.changed.fire()
	poke(c.wakeReconcile)
}

// holds reports whether raft is still in the term of e.
func (c *Cluster) holds(e *epoch) bool {
	return e != nil && c.raft.State() == raft.Leader && c.raft.CurrentTerm() == e.term
}

// IsLeader reports whether this node leads and has applied everything that earlier leaders committed.
func (c *Cluster) IsLeader() bool { return c.holds(c.office.ready.Load()) }

// Leader returns the id of the leader, as far as this node knows one. A new leader may not be ready yet.
func (c *Cluster) Leader() (id string, known bool) {
	_, leader := c.raft.LeaderWithID()
	return string(leader), leader != ""
}

// LeaderChanged returns a channel that is closed when the known leader or this node's readiness to lead changes. Get it
// before asking, and anew after each change.
func (c *Cluster) LeaderChanged() <-chan struct{} { return c.office.changed.wait() }

// Lead runs fn each time this node becomes the leader and is ready, until ctx ends. The context of fn ends when the
// leadership does, also if it is regained at once; Lead waits for fn to return before it runs it again. An error of fn
// while it leads ends Lead.
func (c *Cluster) Lead(ctx context.Context, fn func(ctx context.Context, term uint64) error) error {
	for {
		changed := c.office.changed.wait()
		e := c.office.ready.Load()
		if e == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-c.life.Done():
				return ErrClosed
			}
		}
		if err := c.leadOnce(ctx, e, fn); err != nil {
			return err
		}
		select {
		case <-e.over: // fn may return before the end of its term: it is not run twice in one
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *Cluster) leadOnce(ctx context.Context, e *epoch, fn func(context.Context, uint64) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() { // ends with fn
		select {
		case <-e.over:
			cancel(errOfficeLost)
		case <-done:
		}
	}()
	err := fn(ctx, e.term)
	if ctx.Err() != nil {
		return nil // the office or the caller's time is over; Lead looks which
	}
	return err
}

// wait waits for a raft future or the end of ctx. Futures know no contexts, so a goroutine stays with one until raft
// answers it.
func wait(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
