package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	placePause = 2 * time.Millisecond // between two looks how far a successor is
	// handOverLimit bounds one hand-over, in which nothing is proposed, in multiples of the election timeout.
	handOverLimit = 4
)

// TransferLeadership makes another voter the leader and returns its id. Of those that suit, nil being all, it takes the one
// that is furthest; ErrNoSuccessor if none is near. This node stays a voter, and leads on if it does not succeed.
//
// Raft's own LeadershipTransfer is not used: it refuses proposals until its helper is done, which may wait for a follower
// that does not answer, and then it leads on for ever without taking any. Here proposals are held back by a turnstile of our
// own, which opens again in any case; those in flight are answered before; and all that raft hears of it is the message to
// the successor, which then asks for votes as it would if this node had died.
func (c *Cluster) TransferLeadership(ctx context.Context, suits func(id string) bool) (leader string, err error) {
	if !c.handing.TryLock() {
		return "", fmt.Errorf("transfer leadership: another transfer is under way: %w", ErrNotLeader)
	}
	defer c.handing.Unlock()
	e := c.office.ready.Load()
	if !c.holds(e) {
		return "", fmt.Errorf("transfer leadership: %w", ErrNotLeader)
	}
	heirs := c.successors(ctx, suits)
	if len(heirs) == 0 {
		return "", fmt.Errorf("transfer leadership: %w", ErrNoSuccessor)
	}
	limit := max(time.Second, handOverLimit*c.cfg.Timing.Election)
	held, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	idle := c.gate.close(false)
	defer c.gate.open()
	select {
	case <-idle:
	case <-held.Done():
		return "", fmt.Errorf("transfer leadership: proposals are still on their way: %w", context.Cause(held))
	case <-c.life.Done():
		return "", ErrClosed
	}
	for _, id := range heirs {
		try, cancel := context.WithTimeout(held, limit/2) // the next one has its chance too
		err = c.handTo(try, e, id)
		cancel()
		if err == nil {
			return c.awaitLeader(ctx)
		}
		c.log.Info("leadership not handed over", "node", id, "err", err)
	}
	return "", fmt.Errorf("transfer leadership: %w", err)
}

// successors returns the voters that may lead instead of this node: those that answer and whose log is near this one's, the
// longest first.
func (c *Cluster) successors(ctx context.Context, suits func(id string) bool) []string {
	s, _ := c.situation()
	last := c.raft.LastIndex()
	places := map[string]uint64{}
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, server := range s.servers {
		id := string(server.ID)
		if server.Suffrage != raft.Voter || id == c.cfg.ID || suits != nil && !suits(id) || s.notes[id].status() != Alive {
			continue
		}
		asked.Go(func() {
			if place, err := c.lastIndexOf(ctx, id); err == nil && place+closeEnough >= last {
				mu.Lock()
				defer mu.Unlock()
				places[id] = place
			}
		})
	}
	asked.Wait()
	var ids []string
	for _, n := range s.sorted() {
		if _, ok := places[n.id]; ok {
			ids = append(ids, n.id)
		}
	}
	slices.SortStableFunc(ids, func(a, b string) int { return int(places[b]) - int(places[a]) })
	return ids
}

// handTo has one voter ask for votes once it has all of the log, and waits until this node leads no more.
func (c *Cluster) handTo(ctx context.Context, e *epoch, id string) error {
	for last := c.raft.LastIndex(); ; {
		place, err := c.lastIndexOf(ctx, id)
		if err != nil {
			return fmt.Errorf("ask %s how far it is: %w", id, err)
		}
		if place >= last {
			break
		}
		select {
		case <-time.After(placePause):
		case <-ctx.Done():
			return fmt.Errorf("%s is at entry %d of %d: %w", id, place, last, context.Cause(ctx))
		}
	}
	told := make(chan error, 1)
	go func() { // ends with the transport's timeout, or with the transport
		server, _ := resolver{c}.ServerAddr(raft.ServerID(id))
		request := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
			ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(c.cfg.ID),
			Addr: c.transport.EncodePeer(raft.ServerID(c.cfg.ID), raft.ServerAddress(c.addr)),
		}}
		told <- c.transport.TimeoutNow(raft.ServerID(id), server, request, new(raft.TimeoutNowResponse))
	}()
	for {
		select {
		case <-e.over:
			return nil
		case err := <-told:
			if err != nil {
				return fmt.Errorf("tell %s to ask for votes: %w", id, err)
			}
			told = nil // its votes are on their way
		case <-ctx.Done():
			return fmt.Errorf("%s was not elected: %w", id, context.Cause(ctx))
		}
	}
}

// awaitLeader returns who leads after this node.
func (c *Cluster) awaitLeader(ctx context.Context) (string, error) {
	for {
		changed := c.office.changed.wait()
		switch id, known := c.Leader(); {
		case known && id != c.cfg.ID:
			return id, nil
		case c.IsLeader():
			return "", fmt.Errorf("transfer leadership: this node was elected again: %w", ErrNoSuccessor)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("transfer leadership: this node leads no more, and the next leader is not known yet: %w", ErrNoLeader)
		}
	}
}

// lastIndexOf asks a node where its log ends.
func (c *Cluster) lastIndexOf(ctx context.Context, id string) (uint64, error) {
	answer, err := c.callShort(ctx, id, methodLast, nil)
	if err != nil {
		return 0, err
	}
	if len(answer) != 8 {
		return 0, fmt.Errorf("answer of %d bytes", len(answer))
	}
	return binary.BigEndian.Uint64(answer), nil
}

// handleLast answers where the own log ends.
func (c *Cluster) handleLast(context.Context, string, []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, c.raft.LastIndex()), nil
}
