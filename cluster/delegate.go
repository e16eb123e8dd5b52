package cluster

import (
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls, mostly under its own lock: it writes into the book, whose lock is a leaf, leaves a
// note that something changed, and returns.
type delegate struct{ c *Cluster }

// NodeMeta returns what gossip tells about this node.
func (d delegate) NodeMeta(int) []byte {
	m := d.c.ownMeta()
	return m.encode()
}

// NotifyJoin is told of a node that is alive now.
func (d delegate) NotifyJoin(n *memberlist.Node) { d.heard(n) }

// NotifyUpdate is told of a node whose meta changed.
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.heard(n) }

func (d delegate) heard(n *memberlist.Node) {
	m, err := decodeMeta(n.Meta)
	id, _, ok := splitGossipName(n.Name)
	if err != nil || !ok || id == d.c.cfg.ID {
		return // NotifyAlive has said why; the own entry is kept by noteSelf
	}
	d.c.book.put(id, n.Address(), m, true)
	poke(d.c.gossip.changed)
}

// NotifyLeave is told of a node that failed or left.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	id, boot, ok := splitGossipName(n.Name)
	if !ok || id == d.c.cfg.ID {
		return
	}
	d.c.book.gone(id, boot)
	poke(d.c.gossip.changed)
}

// NotifyAlive keeps nodes out that are none of ours.
func (d delegate) NotifyAlive(n *memberlist.Node) error { return d.check(n) }

// NotifyMerge refuses to merge with the members of another cluster.
func (d delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if n.State != memberlist.StateAlive && n.State != memberlist.StateSuspect {
			continue
		}
		if err := d.check(n); err != nil {
			return err
		}
	}
	return nil
}

func (d delegate) check(n *memberlist.Node) error {
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return err
	}
	id, boot, ok := splitGossipName(n.Name)
	if !ok || boot != m.boot {
		return fmt.Errorf("node name %q is not an id and the boot number %d", n.Name, m.boot)
	}
	own := d.c.clusterID()
	if own == uuid.Nil || m.cluster == uuid.Nil || m.cluster == own || id == d.c.cfg.ID {
		return nil
	}
	if slices.Contains(d.c.former, m.cluster) {
		return d.c.outdated(m, n.Address())
	}
	err = fmt.Errorf("node %q at %s is a member of cluster %s, this node of %s: %w; where one of these was made of the other, by "+
		"`pytasks cluster recover` or `pytasks snapshot restore`, the nodes of the old one have to stop, and to start with empty data "+
		"directories", m.name, n.Address(), m.cluster, own, ErrForeignCluster)
	d.c.foreign.Store(&err) // memberlist flattens errors
	if d.c.strangers.due("foreign") {
		d.c.log.Warn("met a node of another cluster", "err", err)
	}
	return err
}

// outdated refuses a node that still is in a cluster which this node's own was made of. It is no reason for this one to stop.
func (c *Cluster) outdated(m meta, addr string) error {
	err := fmt.Errorf("node %q at %s still is in cluster %s, of which this one, %s, was made: %w", m.name, addr, m.cluster, c.clusterID(),
		ErrForeignCluster)
	if c.strangers.due("outdated") {
		c.log.Warn("a node of the cluster that this one was made of is still there: stop it, and start it with an empty data directory", "name",
			m.name, "addr", addr, "cluster", m.cluster)
	}
	return err
}

// NotifyMsg takes no messages: gossip carries membership only.
func (delegate) NotifyMsg([]byte) {}

// GetBroadcasts has none.
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState has none.
func (delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState has none.
func (delegate) MergeRemoteState([]byte, bool) {}
