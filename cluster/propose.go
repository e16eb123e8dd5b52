package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// enqueueTimeout is for raft to take a proposal, unless ctx is shorter.
const enqueueTimeout = 5 * time.Second

// Propose appends one entry to the log and returns what FSM.Apply returned for it on this node, and its index. It must
// be called on the leader. ErrUnknown is ambiguous: ctx ended, leadership was lost or the node closes, and the entry may
// be applied now, later, or never. Any other error is definite, ErrNotLeader above all: the entry will never be applied.
// Entry must not be changed afterwards. Entries above 512 KiB delay raft's heartbeats.
func (c *Cluster) Propose(ctx context.Context, entry []byte) (response any, index uint64, err error) {
	if err := c.gate.enter(); err != nil {
		return nil, 0, err
	}
	if !c.IsLeader() {
		c.gate.leave()
		return nil, 0, ErrNotLeader
	}
	if err := ctx.Err(); err != nil {
		c.gate.leave()
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
		defer c.gate.leave()
		future = c.raft.Apply(entry, timeout)
		done <- future.Error()
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		return nil, 0, unknown("propose", context.Cause(ctx))
	}
	if err = classify(err); err != nil {
		return nil, 0, err
	}
	c.metrics.proposed(time.Since(start))
	return future.Response(), future.Index(), nil
}

// classify turns raft's errors into definite and ambiguous ones. Measured over forced losses of leadership: "leadership
// lost" had committed in half of the cases, the first three below never.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("propose: %w: %w", ErrNotLeader, err)
	}
	return unknown("propose", err)
}
