package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"pytasks/node/failpoint"
)

const (
	closeEnough   = 100              // entries behind the leader's log that count as caught up
	changeTimeout = 10 * time.Second // for one change of the configuration
)

// progress is the leader's memory of how non-voters keep up; it lasts one term.
type progress struct {
	since map[string]time.Time // caught up since
}

// reconcile keeps the raft configuration in line with the members while this node leads.
func (c *Cluster) reconcile(ctx context.Context, _ uint64) error {
	p := progress{since: make(map[string]time.Time)}
	refused := make(map[string]bool) // node ids whose name is taken
	ticker := time.NewTicker(c.cfg.Timing.Reconcile)
	defer ticker.Stop()
	for {
		s, version := c.situation()
		c.refuseNames(ctx, s, refused)
		s.caughtUp = c.progress(ctx, s, &p)
		step := plan(s)
		if step.what != nothing {
			err := c.change(ctx, step, version)
			if err == nil {
				continue // perhaps there is more to do
			}
			if ctx.Err() == nil {
				c.log.Warn("membership change failed, will try again", "node", step.id, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-c.wakeReconcile:
		}
	}
}

// situation collects what plan needs, and the index of the configuration that it saw.
func (c *Cluster) situation() (situation, uint64) {
	conf := c.raft.GetConfiguration()
	s := situation{self: c.cfg.ID, servers: conf.Configuration().Servers, notes: make(map[string]note), now: time.Now(),
		max: c.cfg.MaxVoters, dead: c.cfg.Timing.Dead, forget: c.cfg.Timing.Forget}
	c.rememberServers()
	for _, n := range c.book.all() {
		s.notes[n.id] = n
	}
	return s, conf.Index()
}

// rememberServers puts raft's members into the book: the absence of one that was never heard of counts from now.
func (c *Cluster) rememberServers() {
	for _, server := range c.raft.GetConfiguration().Configuration().Servers {
		id := string(server.ID)
		c.book.remember(peer{ID: id, Name: id, Addr: strings.TrimPrefix(string(server.Address), id)})
	}
}

// sorted returns the notes by id, so that plan does the same for the same situation.
func (s situation) sorted() []note {
	notes := make([]note, 0, len(s.notes))
	for _, n := range s.notes {
		notes = append(notes, n)
	}
	slices.SortFunc(notes, func(a, b note) int { return strings.Compare(a.id, b.id) })
	return notes
}

// refuseNames stops newcomers that use a live member's name; Open has missed them if both started at the same time.
func (c *Cluster) refuseNames(ctx context.Context, s situation, refused map[string]bool) {
	for _, n := range s.notes {
		if n.status() == Alive && !s.configured(n.id) && s.sameCluster(n) && s.nameTaken(n) && !refused[n.id] {
			_, err := c.callShort(ctx, n.id, methodBye, []byte(ErrNameTaken.code))
			refused[n.id] = err == nil
			c.log.Warn("node not added: its name is used by another live member", "node", n.id, "name", n.name,
				"addr", n.addr, "err", err)
		}
	}
}

// progress asks the non-voters that might get a vote how far they are, and returns those that have kept up long enough.
func (c *Cluster) progress(ctx context.Context, s situation, p *progress) map[string]bool {
	if !s.wantsVoters() {
		return nil
	}
	var asked sync.WaitGroup
	var mu sync.Mutex
	since := make(map[string]time.Time)
	for _, server := range s.servers {
		id := string(server.ID)
		if server.Suffrage == raft.Voter || s.notes[id].status() != Alive {
			continue
		}
		asked.Go(func() {
			goal := c.raft.LastIndex()
			answer, err := c.callShort(ctx, id, methodPlace, nil)
			if err != nil || len(answer) != 8 || binary.BigEndian.Uint64(answer)+closeEnough < goal {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if since[id] = s.now; !p.since[id].IsZero() {
				since[id] = p.since[id]
			}
		})
	}
	asked.Wait()
	p.since = since
	stable := make(map[string]bool)
	for id, start := range since {
		stable[id] = time.Since(start) >= c.cfg.Timing.Stable
	}
	return stable
}

// handlePlace answers how far the own state machine is.
func (c *Cluster) handlePlace(context.Context, string, []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, max(c.cfg.Applied(), c.raft.AppliedIndex())), nil
}

// change makes one change, if the configuration is still the one that the decision was made on.
func (c *Cluster) change(ctx context.Context, step change, version uint64) error {
	id, addr := raft.ServerID(step.id), raft.ServerAddress(step.addr)
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if e := c.office.ready.Load(); e != nil {
		go func() { // ends with ctx
			select {
			case <-e.over:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	var f raft.IndexFuture
	switch step.what {
	case addNonvoter:
		f = c.raft.AddNonvoter(id, addr, version, changeTimeout)
	case addVoter:
		f = c.raft.AddVoter(id, addr, version, changeTimeout)
	case demote:
		f = c.raft.DemoteVoter(id, version, changeTimeout)
	case remove:
		f = c.raft.RemoveServer(id, version, changeTimeout)
	}
	err := wait(ctx, f)
	if err != nil && step.what == remove && step.id == c.cfg.ID && c.raft.State() == raft.Shutdown {
		err = nil // raft may not answer the one that ends it
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", step.what, step.id, err)
	}
	switch step.what {
	case addNonvoter:
		failpoint.Point("cluster.nonvoter.after")
	case remove:
		failpoint.Point("cluster.remove.after")
	}
	c.log.Info("membership changed", "change", step.what, "node", step.id, "why", step.why)
	c.membersChanged.fire()
	return nil
}

// String names the change in logs.
func (w what) String() string {
	return [...]string{"nothing", "add as non-voter", "make voter", "make non-voter", "remove"}[w]
}

// Remove takes a member out of the raft configuration, for good: if the node is alive it is told to stop, and its data
// cannot come back. It works on any node. ErrUnsafe refuses what would leave no reachable majority of voters.
func (c *Cluster) Remove(ctx context.Context, id string) error {
	if c.IsLeader() {
		return c.remove(ctx, id)
	}
	_, err := c.CallLeader(ctx, methodRemove, []byte(id))
	return err
}

func (c *Cluster) handleRemove(ctx context.Context, _ string, body []byte) ([]byte, error) {
	if !c.IsLeader() {
		return nil, ErrNotLeader
	}
	return nil, c.remove(ctx, string(body))
}

func (c *Cluster) remove(ctx context.Context, id string) error {
	s, version := c.situation()
	if !s.configured(id) {
		return fmt.Errorf("remove %q: %w", id, ErrUnknownMember)
	}
	if voters, _ := s.voters(); slices.Contains(voters, id) && !s.safeWithout(id) {
		return fmt.Errorf("remove %q: %w", id, ErrUnsafe)
	}
	alive := s.notes[id].alive
	if err := c.change(ctx, change{what: remove, id: id, why: "asked to"}, version); err != nil {
		return unknown("remove", err)
	}
	switch {
	case id == c.cfg.ID: // raft shuts down by itself, see watchRaft
	case alive:
		c.book.strike(id)
		if _, err := c.callShort(ctx, id, methodBye, nil); err != nil && !errors.Is(err, ErrUnknown) {
			c.log.Warn("removed node was not told, it is a new member if it starts again", "node", id, "err", err)
		}
	default:
		c.book.forget(id)
		poke(c.gossip.changed)
	}
	return nil
}

// handleBye stops this node: it was removed, or never added because of its name.
func (c *Cluster) handleBye(_ context.Context, from string, body []byte) ([]byte, error) {
	if leader, known := c.Leader(); known && leader != from {
		return nil, fmt.Errorf("node %s is not the leader here: %w", from, ErrNotLeader)
	}
	if string(body) == ErrNameTaken.code {
		c.fatal(fmt.Errorf("name %q is already used by a live member: choose another name: %w", c.cfg.Name, ErrNameTaken))
		return nil, nil
	}
	c.stopRemoved()
	return nil, nil
}

// stopRemoved marks the data as that of a removed node and ends the process.
func (c *Cluster) stopRemoved() {
	if err := saveJSON(c.cfg.Dir, identityFile, identity{Cluster: c.clusterID(), Removed: true}); err != nil {
		c.log.Warn("cannot mark the data as removed", "err", err)
	}
	c.fatal(ErrRemoved)
}
