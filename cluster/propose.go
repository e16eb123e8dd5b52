package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const (
	enqueueTimeout = 5 * time.Second  // for raft to take a proposal, unless ctx is shorter
	transferLimit  = 10 * time.Second // a transfer of leadership that takes longer is stuck for good
)

// Propose appends one entry to the log and returns what FSM.Apply returned for it on this node, and its index. It must
// be called on the leader. ErrUnknown is ambiguous: ctx ended, leadership was lost or the node closes, and the entry may
// be applied now, later, or never. Any other error is definite, ErrNotLeader above all: the entry will never be applied.
// Entry must not be changed afterwards. Entries above 512 KiB delay raft's heartbeats.
func (c *Cluster) Propose(ctx context.Context, entry []byte) (response any, index uint64, err error) {
	if !c.proposing.TryRLock() {
		return nil, 0, ErrClosed
	}
	c.proposals.Add(1)
	c.proposing.RUnlock()
	if !c.IsLeader() {
		c.proposals.Done()
		return nil, 0, ErrNotLeader
	}
	if err := ctx.Err(); err != nil {
		c.proposals.Done()
		return nil, 0, fmt.Errorf("propose: %w", context.Cause(ctx))
	}
	timeout := enqueueTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, max(time.Until(deadline), time.Millisecond))
	}
	start := time.Now()
	var future raft.ApplyFuture
	done := make(chan error, 1)
	go func() { // raft's futures know no contexts; this one stays until raft answers
		defer c.proposals.Done()
		future = c.raft.Apply(entry, timeout)
		done <- future.Error()
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		return nil, 0, unknown("propose", context.Cause(ctx))
	}
	if err = c.classify(err); err != nil {
		return nil, 0, err
	}
	c.metrics.proposed(time.Since(start))
	return future.Response(), future.Index(), nil
}

// classify turns raft's errors into definite and ambiguous ones. Measured over forced losses of leadership: "leadership
// lost" had committed in half of the cases, the first three below never.
func (c *Cluster) classify(err error) error {
	if errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		c.transfer.CompareAndSwap(0, time.Now().UnixNano())
	} else {
		c.transfer.Store(0)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("propose: %w: %w", ErrNotLeader, err)
	}
	return unknown("propose", err)
}

// watchTransfer ends a node whose transfer of leadership is stuck: raft can deadlock in it and lead on without taking
// any proposal.
func (c *Cluster) watchTransfer() {
	since := c.transfer.Load()
	if since == 0 {
		return
	}
	if c.raft.State() != raft.Leader {
		c.transfer.Store(0)
		return
	}
	if time.Since(time.Unix(0, since)) > transferLimit {
		c.fatal(fmt.Errorf("a transfer of leadership has been in progress for more than %s: raft is stuck", transferLimit))
	}
}

// TransferLeadership hands the leadership to another voter. Only for a node that is about to stop: if raft gets stuck in
// it, the node has to be restarted.
func (c *Cluster) TransferLeadership(ctx context.Context) error {
	if c.raft.State() != raft.Leader {
		return ErrNotLeader
	}
	if err := wait(ctx, c.raft.LeadershipTransfer()); err != nil {
		return fmt.Errorf("transfer leadership: %w", err)
	}
	return nil
}
