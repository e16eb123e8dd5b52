package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

const readTimeout = 5 * time.Second // of one round, whatever its callers' contexts say

// rounds lets concurrent readers share one question to the leader. A reader joins only a round that has not begun: the
// answer of a running one may be older than the reader's question.
type rounds struct {
	mu      sync.Mutex
	next    *round // guarded by mu: gathers callers; nil = none
	running bool   // guarded by mu
}

type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// ReadIndex returns an index, as Config.Applied counts, such that a state which has applied it holds every entry that
// was committed before the call. It works on any node; the leader is asked, and has made sure that it still leads when it answers.
func (c *Cluster) ReadIndex(ctx context.Context) (uint64, error) {
	r := c.joinRound()
	if r == nil {
		return 0, ErrClosed
	}
	select {
	case <-r.done:
		return r.index, r.err
	case <-ctx.Done():
		return 0, fmt.Errorf("read index: %w", context.Cause(ctx))
	}
}

func (c *Cluster) joinRound() *round {
	rs := &c.reads
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.next == nil {
		rs.next = &round{done: make(chan struct{})}
	}
	r := rs.next
	if !rs.running {
		if c.life.Err() != nil {
			return nil
		}
		rs.running = true
		c.wg.Go(c.runRounds)
	}
	return r
}

func (c *Cluster) runRounds() {
	rs := &c.reads
	for {
		rs.mu.Lock()
		r := rs.next
		rs.next = nil
		rs.running = r != nil
		rs.mu.Unlock()
		if r == nil {
			return
		}
		ctx, cancel := context.WithTimeout(c.life, readTimeout)
		r.index, r.err = c.askReadIndex(ctx)
		cancel()
		close(r.done)
	}
}

func (c *Cluster) askReadIndex(ctx context.Context) (uint64, error) {
	if c.IsLeader() {
		return c.verifiedIndex(ctx)
	}
	id, known := c.Leader()
	if !known {
		return 0, ErrNoLeader
	}
	if id == c.cfg.ID {
		return 0, fmt.Errorf("read index: %w: not ready yet", ErrNotLeader)
	}
	answer, err := c.Call(ctx, id, methodRead, nil)
	if err != nil {
		return 0, fmt.Errorf("read index: %w", err)
	}
	if len(answer) != 8 {
		return 0, fmt.Errorf("read index: answer of %d bytes", len(answer))
	}
	return binary.BigEndian.Uint64(answer), nil
}

// handleRead answers a follower; through rounds of its own, so that the followers' questions share one too.
func (c *Cluster) handleRead(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	if !c.IsLeader() {
		return nil, ErrNotLeader // never forwarded again
	}
	index, err := c.ReadIndex(ctx)
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(nil, index), nil
}

// verifiedIndex makes sure that this node leads now, and that its state has everything committed before, by an entry of
// no meaning through the log; then the state's own index is the answer. Raft's commit index is not: it also counts
// entries that no state machine ever sees. Raft's VerifyLeader would be cheaper, and is not enough: it counts the
// heartbeats of non-voters, with which a stale read was built. Readers share the entry.
func (c *Cluster) verifiedIndex(ctx context.Context) (uint64, error) {
	e := c.office.ready.Load()
	if !c.holds(e) {
		return 0, fmt.Errorf("read index: %w", ErrNotLeader)
	}
	if err := wait(ctx, c.raft.Barrier(enqueueTimeout)); err != nil {
		return 0, notLeading(err)
	}
	index := c.cfg.Applied()
	if !c.holds(e) {
		return 0, fmt.Errorf("read index: %w", ErrNotLeader)
	}
	return index, nil
}

// notLeading marks raft's refusals; a read has no outcome to be unknown.
func notLeading(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("read index: %w", err)
	}
	return fmt.Errorf("read index: %w: %w", ErrNotLeader, err)
}
