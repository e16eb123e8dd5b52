package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"pytasks/cluster/secret"
)

const (
	maxInfo   = 200 // bytes of Config.Info
	maxName   = 64  // bytes of a node's name or id
	maxAddr   = 100 // bytes of an advertised address
	maxExpect = 100 // nodes that a bootstrap may wait for
)

// Handler answers a call from the node with id from. The body is the handler's to keep. ctx ends when the caller gives
// up or its connection breaks.
type Handler func(ctx context.Context, from string, body []byte) ([]byte, error)

// Config is what Open needs. Fields without a stated zero are required.
type Config struct {
	// Dir is the directory of this package's files: raft/ (log and snapshots), cluster.json, peers.json. It exists
	// and the caller holds whatever lock keeps a second process out.
	Dir string
	// ID is the node's permanent id (a UUID), kept by the caller beside its data; at most 64 bytes.
	ID string
	// Boot counts the starts of this data directory; larger at each start.
	Boot uint64
	// Name is the node's name for people, unique among live nodes; at most 64 bytes.
	Name string
	// GossipAddr is the host:port to bind for gossip, TCP and UDP. Port 0 takes a free one, see Addrs.
	GossipAddr string
	// Addr is the host:port to bind for raft and calls. Port 0 takes a free one, see Addrs.
	Addr string
	// Advertise is the host under which other nodes reach this one. "" = the host of Addr; if that is unspecified
	// too, the address that gossip finds.
	Advertise string
	// Join lists gossip addresses (host:port) of other nodes; this node's own may be among them. Tried for ever.
	Join []string
	// BootstrapExpect is how many nodes found the cluster together. 0 = with Join: none, wait to be added; without
	// Join: 1.
	BootstrapExpect int
	// MaxVoters is the largest number of voters, odd. 0 = 5.
	MaxVoters int
	// Info is gossiped with the node and found in Member.Info; at most 200 bytes. nil = nothing.
	Info []byte
	// Secrets encrypt gossip and, unless Identity does, calls between nodes; they are followed while they change.
	// nil = plain text.
	Secrets *secret.Ring
	// Identity is who this node is on the cluster port. nil = one that is made of Secrets.
	Identity Identity

	// FSM is the replicated state machine. It may be a raft.BatchingFSM.
	FSM raft.FSM
	// Applied returns the index that the state machine itself has applied durably enough to survive a restart.
	Applied func() uint64
	// StateSize returns the bytes of the state; a snapshot is taken after a quarter of it was appended. nil = 0.
	StateSize func() int64
	// Handlers are the methods that other nodes may call. Names with the prefix "cluster." are reserved.
	Handlers map[string]Handler
	// OnLinkDown is called, on a goroutine of its own, when an established connection with the node broke, whichever
	// side had opened it. nil = not called.
	OnLinkDown func(id string)
	// Fatal is called once, on a goroutine of its own, when the process has to end: the disk failed or hangs, the log
	// is corrupt, or this node was removed. nil = only logged.
	Fatal func(error)

	Logger   *slog.Logger          // nil = discard
	Registry prometheus.Registerer // nil = no metrics

	// Network carries connections; its zero value is TCP.
	Network Network
	// OpenLog opens raft's log in a directory; nil = raft-boltdb in raft.db.
	OpenLog func(dir string) (LogStore, error)
	// Timing holds the durations; its zero value is right for a local network.
	Timing Timing
	// TrailingLogs is how many entries stay in the log after a snapshot. 0 = 10,240; less only in tests.
	TrailingLogs uint64
	// SnapshotBytes is how many appended bytes cause a snapshot at least (see StateSize). 0 = 64 MiB.
	SnapshotBytes int64
	// SnapshotEntries is how many appended entries cause a snapshot. 0 = 200,000.
	SnapshotEntries int64
}

// Identity gives the two sides of mutual TLS. The id of a node is read from its certificate by secret.PeerID; a
// certificate without one is that of any node.
type Identity interface {
	Server() *tls.Config
	Client() *tls.Config
}

// Network is how connections are made; a simulation goes here.
type Network struct {
	Listen func(addr string) (net.Listener, error)                           // nil = TCP
	Dial   func(ctx context.Context, addr string) (net.Conn, error)          // nil = TCP
	Gossip func(bind string, log *slog.Logger) (memberlist.Transport, error) // nil = TCP and UDP
}

// Timing is every duration of the package. Zero fields take the default named beside them.
type Timing struct {
	Heartbeat     time.Duration // raft's heartbeat timeout: 750 ms
	Election      time.Duration // raft's election timeout: Heartbeat
	Lease         time.Duration // a leader without a majority steps down after: 500 ms
	Commit        time.Duration // followers learn of a commit after one to two times: 100 ms; each costs an idle leader a call per member
	Reconcile     time.Duration // the leader looks at the voters every: 1 s
	Stable        time.Duration // a member must be caught up this long before it votes: 2 s
	Dead          time.Duration // a voter that failed is replaced after: 30 s
	Forget        time.Duration // a non-voter that failed is dropped after: 72 h
	Rejoin        time.Duration // known members that are not alive are contacted every: 10 s
	Keepalive     time.Duration // an idle connection is pinged every: 1 s; five times that without a byte = broken
	GossipProbe   time.Duration // memberlist's probe interval: 1 s
	StoreHang     time.Duration // a call to the log store that takes longer is fatal: 10 s
	SnapshotCheck time.Duration // how often the snapshot trigger looks: 1 s
}

func (cfg *Config) setDefaults() {
	def := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	t := &cfg.Timing
	def(&t.Heartbeat, 750*time.Millisecond)
	def(&t.Election, t.Heartbeat)
	def(&t.Lease, min(500*time.Millisecond, t.Heartbeat))
	def(&t.Commit, 100*time.Millisecond)
	def(&t.Reconcile, time.Second)
	def(&t.Stable, 2*time.Second)
	def(&t.Dead, 30*time.Second)
	def(&t.Forget, 72*time.Hour)
	def(&t.Rejoin, 10*time.Second)
	def(&t.Keepalive, time.Second)
	def(&t.StoreHang, 10*time.Second)
	def(&t.SnapshotCheck, time.Second)
	if cfg.MaxVoters == 0 {
		cfg.MaxVoters = 5
	}
	if cfg.TrailingLogs == 0 {
		cfg.TrailingLogs = 10240
	}
	if cfg.SnapshotBytes == 0 {
		cfg.SnapshotBytes = 64 << 20
	}
	if cfg.SnapshotEntries == 0 {
		cfg.SnapshotEntries = 200_000
	}
	if cfg.StateSize == nil {
		cfg.StateSize = func() int64 { return 0 }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("component", "cluster")
	if cfg.Network.Listen == nil {
		cfg.Network.Listen = func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
	}
	if cfg.Secrets != nil && cfg.Identity == nil {
		cfg.Identity = secret.NewIdentity(cfg.Secrets, cfg.ID, time.Now)
	}
	if cfg.OpenLog == nil {
		cfg.OpenLog = openBolt
	}
	if cfg.Network.Dial == nil {
		cfg.Network.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
}

// validate returns the first problem as a sentence that says what to write instead.
func (cfg *Config) validate() error {
	switch {
	case cfg.Dir == "":
		return fmt.Errorf("cluster directory is empty: name an existing directory")
	case cfg.ID == "" || len(cfg.ID) > maxName:
		return fmt.Errorf("node id %q: it needs 1 to %d bytes", cfg.ID, maxName)
	case cfg.Name == "" || len(cfg.Name) > maxName:
		return fmt.Errorf("node name %q: it needs 1 to %d bytes", cfg.Name, maxName)
	case len(cfg.Info) > maxInfo:
		return fmt.Errorf("node info has %d bytes: %d at most", len(cfg.Info), maxInfo)
	case cfg.MaxVoters < 1 || cfg.MaxVoters%2 == 0:
		return fmt.Errorf("max voters %d: use an odd number, such as 3 or 5", cfg.MaxVoters)
	case cfg.BootstrapExpect < 0 || cfg.BootstrapExpect > maxExpect:
		return fmt.Errorf("bootstrap expect %d: use 0 to %d", cfg.BootstrapExpect, maxExpect)
	case cfg.BootstrapExpect > 1 && len(cfg.Join) == 0:
		return fmt.Errorf("bootstrap expect %d without a join address: nodes that found a cluster together need "+
			"one another's gossip addresses", cfg.BootstrapExpect)
	case cfg.FSM == nil || cfg.Applied == nil:
		return fmt.Errorf("cluster needs a state machine and its applied index")
	}
	if cfg.Identity != nil && cfg.Secrets == nil {
		return fmt.Errorf("an identity without a secret: gossip needs one, give both or neither")
	}
	for _, addr := range append([]string{cfg.GossipAddr, cfg.Addr}, cfg.Join...) {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("address %q: write host:port", addr)
		}
	}
	for method := range cfg.Handlers {
		if len(method) == 0 || len(method) > 255 {
			return fmt.Errorf("method %q: it needs 1 to 255 bytes", method)
		}
	}
	return nil
}
