package cluster

import (
	"context"
	"fmt"
	"math"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

const (
	raftTimeout   = 10 * time.Second // of one exchange between two rafts
	snapshotScale = 16 << 20         // bytes of a snapshot that may take one raftTimeout
)

// openRaft starts raft on the stores: with its old data, as a new cluster of one, or empty and waiting to be added.
func (c *Cluster) openRaft() (err error) {
	defer func() {
		if p := recover(); p != nil { // raft panics over an entry that it cannot read
			err = fmt.Errorf("open raft in %s: %v", c.cfg.Dir, p)
			if text := fmt.Sprint(p); !strings.Contains(text, advice) {
				err = fmt.Errorf("%w: %s", err, advice)
			}
		}
	}()
	s := c.stores
	c.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: resolver{c},
		Logger:                newRaftLog(c.log),
		Stream:                stream{c},
		MaxPool:               3,
		Timeout:               raftTimeout,
	})
	c.transport.TimeoutScale = snapshotScale

	t := c.cfg.Timing
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(c.cfg.ID)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = t.Heartbeat, t.Election, t.Lease
	conf.CommitTimeout = t.Commit
	conf.MaxAppendEntries = 64
	conf.TrailingLogs = c.cfg.TrailingLogs
	conf.SnapshotThreshold = math.MaxUint64 // ours looks at bytes, see snapshots
	conf.SnapshotInterval = time.Hour
	conf.NoLegacyTelemetry = true
	conf.Logger = newRaftLog(c.log)

	exists, err := raft.HasExistingState(s.log, s.log, s.snapshots)
	if err != nil {
		return fmt.Errorf("look at raft data: %w", err)
	}
	if err := c.checkOwner(); err != nil {
		return err
	}
	switch {
	case exists:
		if err := c.checkData(conf); err != nil {
			return err
		}
	case len(c.cfg.Join) == 0 && c.cfg.BootstrapExpect <= 1:
		if err := c.bootstrapAlone(*conf, s, c.transport); err != nil {
			return err
		}
	}
	s.snapshots.started = true
	if c.raft, err = raft.NewRaft(conf, c.cfg.FSM, &logCache{LogStore: s.log}, s.log, s.snapshots,
		raftTransport{c.transport}); err != nil {
		return fmt.Errorf("open raft in %s: %w", c.cfg.Dir, err)
	}
	c.rememberServers()
	return nil
}

// ownerKey is where raft.db keeps the id of its node.
const ownerKey = "pytasks.node"

// checkOwner refuses the log of another node, whose votes and promises were not this one's, and an empty log where this
// node has a past: it would vote again in a term in which it has voted, and forget entries that were acknowledged.
func (c *Cluster) checkOwner() error {
	log := c.stores.log
	owner, err := log.Get([]byte(ownerKey))
	if err != nil && err.Error() != "not found" { // no sentinel of raft's
		return fmt.Errorf("read raft log %s: %w", log.path, err)
	}
	if string(owner) == c.cfg.ID {
		return nil
	}
	if len(owner) > 0 {
		return fmt.Errorf("the raft log %s is that of node %s, but this is node %s: data of two nodes were mixed up; put "+
			"each back, or %s", log.path, owner, c.cfg.ID, advice)
	}
	_, last, err := c.stores.span()
	if err != nil {
		return err
	}
	snapshot, err := c.stores.newestSnapshot()
	if err != nil {
		return err
	}
	if last == 0 && (c.clusterID() != uuid.Nil || snapshot > 0 || c.cfg.Applied() > 0) {
		return fmt.Errorf("the raft log %s is gone, but the node has been in a cluster: %s", log.path, advice)
	}
	return log.Set([]byte(ownerKey), []byte(c.cfg.ID))
}

// checkData looks whether log, snapshots and state belong together, and decides whether raft restores its newest
// snapshot or the state machine's own store is new enough.
func (c *Cluster) checkData(conf *raft.Config) error {
	first, last, err := c.stores.span()
	if err != nil {
		return err
	}
	applied := c.cfg.Applied()
	snapshot, damage, err := c.stores.snapshots.settle(applied)
	if err != nil {
		return err
	}
	if c.clusterID() == uuid.Nil {
		if last > 1 || snapshot > 0 {
			return fmt.Errorf("%s is missing in %s beside raft data: restore it, or give the node an empty data "+
				"directory", identityFile, c.cfg.Dir)
		}
		// The node stopped between founding its cluster and naming it: nobody has heard of it yet.
		if err := c.adopt(uuid.New()); err != nil {
			return err
		}
	}
	if first > snapshot+1 {
		why := "and the snapshots before it are gone"
		if damage != nil {
			why = fmt.Sprintf("and what comes before it is damaged (%s)", strings.ReplaceAll(damage.Error(), "\n", "; "))
		}
		return fmt.Errorf("the raft log %s begins at entry %d %s: %s", c.stores.log.path, first, why, advice)
	}
	if newest := max(last, snapshot); applied > newest {
		return fmt.Errorf("the state has applied entry %d but the raft log %s ends at %d: the log was lost; %s",
			applied, c.stores.log.path, newest, advice)
	}
	c.stores.snapshots.discardDamaged()
	conf.NoSnapshotRestoreOnStart = applied >= snapshot
	return nil
}

// resolver finds the address of a raft member by its id. The id travels with the address, so that the connection can
// name the node that it means: a new node at an old address must not answer for the old one.
type resolver struct{ c *Cluster }

// ServerAddr returns "id@host:port". It never fails, since raft would then use an address without an id.
func (r resolver) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	addr, _ := r.c.book.addr(string(id))
	if string(id) == r.c.cfg.ID {
		addr = r.c.addr
	}
	return raft.ServerAddress(string(id) + "@" + addr), nil
}

// stream is how raft's transport connects: over the cluster port, after a hello.
type stream struct{ c *Cluster }

// Accept returns the next connection that the mux has for raft.
func (s stream) Accept() (net.Conn, error) {
	select {
	case conn := <-s.c.mux.raft:
		return conn, nil
	case <-s.c.life.Done():
		return nil, net.ErrClosed
	}
}

// Dial connects to "id@host:port".
func (s stream) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, addr, ok := strings.Cut(string(target), "@")
	switch {
	case !ok || addr == "":
		return nil, fmt.Errorf("%w: no address for %s", ErrUnknownMember, target)
	case s.c.clusterID() == uuid.Nil:
		return nil, fmt.Errorf("%w: this node has no cluster yet", ErrUnreachable)
	}
	ctx, cancel := context.WithTimeout(s.c.life, min(timeout, dialTimeout))
	defer cancel()
	conn, r, _, err := s.c.dialNode(ctx, protoRaft, id, addr)
	if err != nil {
		return nil, err
	}
	return &bufferedConn{Conn: conn, r: r}, nil
}

// Close is the mux's business.
func (stream) Close() error { return nil }

// Addr returns the advertised address.
func (s stream) Addr() net.Addr { return addr(s.c.addr) }

type addr string

// Network returns "tcp".
func (addr) Network() string { return "tcp" }

// String returns host:port.
func (a addr) String() string { return string(a) }
