package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pytasks/node/failpoint"
)

// Methods of the package itself.
const (
	methodGrant  = "cluster.grant"  // may the caller found the cluster? body: nothing
	methodAdopt  = "cluster.adopt"  // the cluster was founded; body: its id
	methodRead   = "cluster.read"   // the leader's read index
	methodPlace  = "cluster.place"  // how far this node's state machine is
	methodLast   = "cluster.last"   // where this node's log ends
	methodRemove = "cluster.remove" // take the node named in the body out
	methodBye    = "cluster.bye"    // the node called was taken out, or not let in (body: the code why)
)

// clusterID returns the id of the cluster that this node belongs to, zero if none yet.
func (c *Cluster) clusterID() uuid.UUID {
	if id := c.cluster.Load(); id != nil {
		return *id
	}
	return uuid.Nil
}

// adopt makes id this node's cluster, for ever.
func (c *Cluster) adopt(id uuid.UUID) error {
	c.adopting.Lock()
	defer c.adopting.Unlock()
	own := c.clusterID()
	if own == id {
		return nil
	}
	if own != uuid.Nil {
		return fmt.Errorf("this node belongs to cluster %s, not to %s: %w", own, id, ErrForeignCluster)
	}
	failpoint.Point("cluster.identity.before")
	if err := saveJSON(c.cfg.Dir, identityFile, identity{Cluster: id}); err != nil {
		return fmt.Errorf("save the cluster's id: %w", err)
	}
	c.cluster.Store(&id)
	c.log.Info("joined cluster", "cluster", id)
	c.noteSelf()
	poke(c.gossip.meta)
	return nil
}

// adoptHeard adopts the id that a live member of a cluster gossips.
func (c *Cluster) adoptHeard(notes []note) {
	if c.clusterID() != uuid.Nil {
		return
	}
	for _, n := range notes {
		if n.status() == Alive && n.cluster != uuid.Nil {
			if err := c.adopt(n.cluster); err != nil {
				c.fatal(err)
			}
			return
		}
	}
}

// bootstrapAlone founds a cluster of this one node, before raft starts.
func (c *Cluster) bootstrapAlone(conf raft.Config, s *stores, trans raft.Transport) error {
	servers := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(c.cfg.ID), Address: raft.ServerAddress(c.addr)}}}
	if err := raft.BootstrapCluster(&conf, s.log, s.log, s.snapshots, trans, servers); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return c.adopt(uuid.New())
}

// founding waits until as many nodes as expected have found one another. The one with the lowest id asks each of them
// for its grant, which a node gives to one founder only, and founds the cluster when it has all.
func (c *Cluster) founding(ctx context.Context) {
	for c.clusterID() == uuid.Nil {
		select {
		case <-ctx.Done():
			return
		case <-c.wakeBootstrap:
		case <-time.After(c.cfg.Timing.Reconcile):
		}
		founders := founders(c.book.all(), c.cfg.BootstrapExpect)
		if len(founders) == 0 || founders[0].id != c.cfg.ID {
			continue
		}
		if err := c.found(ctx, founders); err != nil {
			c.log.Info("founding the cluster has to wait", "err", err)
		}
	}
}

// founders returns the nodes that may found a cluster of n: those with the lowest ids among the live ones that expect
// as many, or none if there are too few or a cluster exists.
func founders(notes []note, n int) []note {
	var found []note
	for _, note := range notes { // sorted by id
		if note.status() != Alive {
			continue
		}
		if note.cluster != uuid.Nil {
			return nil
		}
		if int(note.expect) == n && note.addr != "" {
			found = append(found, note)
		}
	}
	if n == 0 || len(found) < n {
		return nil
	}
	return found[:n]
}

func (c *Cluster) found(ctx context.Context, founders []note) error {
	for _, n := range founders {
		if _, err := c.callShort(ctx, n.id, methodGrant, nil); err != nil {
			return fmt.Errorf("no grant from %q: %w", n.name, err)
		}
	}
	var servers raft.Configuration
	for _, n := range founders[:largestOdd(min(len(founders), c.cfg.MaxVoters))] {
		servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(n.id), Address: raft.ServerAddress(n.addr)})
	}
	if err := c.raft.BootstrapCluster(servers).Error(); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	id := uuid.New()
	if err := c.adopt(id); err != nil {
		c.fatal(err) // the next start makes up for it
		return err
	}
	for _, n := range founders {
		if _, err := c.callShort(ctx, n.id, methodAdopt, id[:]); err != nil {
			c.log.Debug("founder will hear of the cluster by gossip", "node", n.id, "err", err)
		}
	}
	return nil
}

// handleGrant promises to let the caller found the cluster, and nobody else in this run.
func (c *Cluster) handleGrant(_ context.Context, from string, _ []byte) ([]byte, error) {
	c.adopting.Lock()
	defer c.adopting.Unlock()
	switch {
	case c.clusterID() != uuid.Nil:
		return nil, fmt.Errorf("%q is in cluster %s: %w", c.cfg.Name, c.clusterID(), ErrForeignCluster)
	case c.cfg.BootstrapExpect == 0:
		return nil, fmt.Errorf("%q does not take part in a bootstrap", c.cfg.Name)
	case c.granted != "" && c.granted != from:
		return nil, fmt.Errorf("%q has granted this to node %s: restart it if that node is gone for good", c.cfg.Name,
			c.granted)
	}
	c.granted = from
	return nil, nil
}

func (c *Cluster) handleAdopt(_ context.Context, _ string, body []byte) ([]byte, error) {
	id, err := uuid.FromBytes(body)
	if err != nil || id == uuid.Nil {
		return nil, fmt.Errorf("adopt: bad cluster id")
	}
	return nil, c.adopt(id)
}

// largestOdd returns the largest odd number up to n, at least 1.
func largestOdd(n int) int {
	return max(1, n-(n+1)%2)
}
