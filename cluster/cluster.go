package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// Cluster is one node's part in the cluster.
type Cluster struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	methods map[string]*method // fixed after Open
	addr    string             // advertised cluster port

	life context.Context // the Cluster's own, not a caller's: ends when Close begins
	end  context.CancelFunc
	wg   sync.WaitGroup

	mux    *mux
	links  linkTable
	book   *book
	gossip gossip

	strangers *strangers
	lobby     lobby

	stores    *stores
	raft      *raft.Raft
	transport *raft.NetworkTransport
	office    office
	reads     rounds
	gate      turnstile  // of proposals
	handing   sync.Mutex // held while the leadership is handed over

	cluster  atomic.Pointer[uuid.UUID]
	adopting sync.Mutex
	granted  string      // guarded by adopting: whom this node lets found the cluster
	former   []uuid.UUID // clusters that this node's own was made of; fixed after Open
	joined   atomic.Bool
	foreign  atomic.Pointer[error] // last member of another cluster that gossip met

	membersChanged signal
	wakeBootstrap  chan struct{} // capacity 1
	wakeReconcile  chan struct{} // capacity 1
	farewell       chan struct{} // capacity 1: taken while Leave talks to memberlist
	fatalOnce      sync.Once
	closeOnce      sync.Once
	closeErr       error
	opened         time.Time
}

// Open binds the ports and starts gossip, raft and serving. It contacts the join addresses once, for at most five
// seconds, so that a name in use or a wrong cluster is an error here; it does not wait for a leader. ctx bounds Open
// alone: what it starts ends with Close.
func Open(ctx context.Context, cfg Config) (_ *Cluster, err error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, log: cfg.Logger, book: newBook(cfg.ID), mux: newMux(nil),
		wakeBootstrap: make(chan struct{}, 1), wakeReconcile: make(chan struct{}, 1),
		opened: time.Now(), farewell: make(chan struct{}, 1), strangers: newStrangers(cfg.Logger)}
	c.links.slots = make(map[string]*linkSlot)
	c.links.answers.New = func() any { return make(chan answer, 1) }
	c.gossip.changed, c.gossip.meta = make(chan struct{}, 1), make(chan struct{}, 1)
	c.gossip.loaded = make(chan struct{}, 1)
	c.life, c.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if err := c.register(); err != nil {
		return nil, err
	}
	if err := c.loadFiles(); err != nil {
		return nil, err
	}
	if c.stores, err = openStores(cfg, c.fatal); err != nil {
		return nil, err
	}
	c.metrics = newMetrics(c, cfg.Registry)
	c.stores.log.observe = c.metrics.stored
	if c.mux.listener, err = cfg.Network.Listen(cfg.Addr); err != nil {
		return nil, fmt.Errorf("bind cluster address %s: %w", cfg.Addr, err)
	}
	if err := c.openGossip(); err != nil {
		return nil, err
	}
	c.addr = c.advertised()
	if len(c.addr) > maxAddr {
		return nil, fmt.Errorf("advertised address %q has more than %d bytes", c.addr, maxAddr)
	}
	if err := c.openRaft(); err != nil {
		return nil, err
	}
	if err := c.metrics.register(); err != nil {
		return nil, err
	}
	c.noteSelf()
	if err := c.gossip.list.UpdateNode(time.Second); err != nil { // nobody is there yet: this only takes the address
		return nil, fmt.Errorf("announce this node: %w", err)
	}
	c.start()
	if err := c.joinFirst(ctx); err != nil {
		return nil, err
	}
	c.wg.Go(func() { c.founding(c.life) }) // not before: there may be a cluster already
	return c, nil
}

// start sets every loop going.
func (c *Cluster) start() {
	c.wg.Go(func() { c.accept(c.life) })
	c.wg.Go(func() { c.announce(c.life) })
	c.wg.Go(func() { c.watchBook(c.life) })
	c.wg.Go(func() { c.watchRaft(c.life) })
	c.wg.Go(func() { c.keepJoined(c.life) })
	c.wg.Go(func() { c.snapshots(c.life) })
	c.wg.Go(func() { c.Lead(c.life, c.reconcile) })
}

// register puts the package's own methods beside the configured ones.
func (c *Cluster) register() error {
	c.methods = make(map[string]*method)
	for name, run := range c.cfg.Handlers {
		if strings.HasPrefix(name, "cluster.") {
			return fmt.Errorf("method %q: names with the prefix cluster. are reserved", name)
		}
		c.methods[name] = &method{name, run}
	}
	for name, run := range map[string]Handler{methodGrant: c.handleGrant, methodAdopt: c.handleAdopt,
		methodRead: c.handleRead, methodPlace: c.handlePlace, methodRemove: c.handleRemove, methodBye: c.handleBye,
		methodLast: c.handleLast} {
		c.methods[name] = &method{name, run}
	}
	return nil
}

// loadFiles reads what the last run knew.
func (c *Cluster) loadFiles() error {
	if err := os.MkdirAll(filepath.Join(c.cfg.Dir, "raft"), 0o700); err != nil {
		return fmt.Errorf("cluster directory: %w", err)
	}
	var own identity
	if err := loadJSON(c.cfg.Dir, identityFile, &own); err != nil {
		return err
	}
	if own.Removed {
		return fmt.Errorf("%w: to bring this machine back, start it with an empty data directory", ErrRemoved)
	}
	if own.Cluster != uuid.Nil {
		c.cluster.Store(&own.Cluster)
	}
	c.former = own.Former
	var peers []peer
	if err := loadJSON(c.cfg.Dir, peersFile, &peers); err != nil {
		c.log.Warn("known addresses are lost, gossip will find them again", "err", err)
	}
	for _, p := range peers {
		c.book.remember(p)
	}
	return nil
}

// advertised returns the address that others use for the cluster port.
func (c *Cluster) advertised() string {
	host, port, err := net.SplitHostPort(c.mux.listener.Addr().String())
	if err != nil {
		return c.mux.listener.Addr().String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host, _, _ = net.SplitHostPort(c.gossip.addr)
	}
	if configured, _, _ := net.SplitHostPort(c.cfg.Addr); configured != "" && net.ParseIP(configured) == nil {
		host = configured // a name: it outlives the address
	}
	if c.cfg.Advertise != "" {
		host = c.cfg.Advertise
	}
	return net.JoinHostPort(host, port)
}

// Addrs returns the addresses that others use: gossip's and the cluster port's.
func (c *Cluster) Addrs() (gossip, cluster string) { return c.gossip.addr, c.addr }

// ID returns the id of the cluster, "" until the node belongs to one.
func (c *Cluster) ID() string {
	if id := c.clusterID(); id != uuid.Nil {
		return id.String()
	}
	return ""
}

// fatal tells the owner, once, that the process has to end.
func (c *Cluster) fatal(err error) {
	c.fatalOnce.Do(func() {
		c.log.Error("this node has to stop", "err", err)
		if c.cfg.Fatal != nil {
			go c.cfg.Fatal(err) // not awaited: it may well call Close
		}
	})
}

// Leave tells the others that this node goes on purpose, and returns when the news is out or ctx ends. The raft
// configuration stays as it is: a restart is no removal.
func (c *Cluster) Leave(ctx context.Context) error {
	if c.life.Err() != nil {
		return ErrClosed
	}
	c.gossip.leaving.Store(true)
	c.noteSelf()
	done := make(chan error, 1)
	go func() { // Close waits for it
		c.farewell <- struct{}{}
		defer func() { <-c.farewell }()
		if c.life.Err() != nil {
			done <- ErrClosed
			return
		}
		// First the mark, then the farewell: memberlist's delegate cannot tell a node that left from one that failed.
		c.spread(true)
		done <- c.gossip.list.Leave(2 * time.Second)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close stops everything and waits for it. It is safe to call twice. It does not say goodbye: see Leave.
func (c *Cluster) Close() error {
	c.closeOnce.Do(func() {
		c.settleProposals(c.gate.close(true))
		if c.transport != nil {
			c.transport.Close()
		}
		c.end()
		c.farewell <- struct{}{} // memberlist must not be left after its shutdown
		defer func() { <-c.farewell }()
		var stopped raft.Future
		if c.raft != nil {
			stopped = c.raft.Shutdown()
		}
		c.mux.close() // before waiting for raft, whose exchanges may take their whole timeout
		if c.transport != nil {
			c.transport.CloseStreams()
		}
		if stopped != nil {
			c.closeErr = stopped.Error()
		}
		if c.gossip.list != nil {
			c.closeErr = errors.Join(c.closeErr, c.gossip.list.Shutdown())
		}
		for _, mu := range []*sync.Mutex{&c.links.mu, &c.reads.mu} {
			mu.Lock()   // whoever starts a goroutine under it has seen the end of life, or is in wg
			mu.Unlock() //lint:ignore SA2001 waiting for them is all that is meant
		}
		c.wg.Wait()
		if c.stores != nil {
			c.closeErr = errors.Join(c.closeErr, c.stores.close())
		}
		c.metrics.unregister()
	})
	return c.closeErr
}

// settleProposals gives proposals in flight the time that a leader without a majority needs to give up: raft never
// answers those that its shutdown catches between commit and apply.
func (c *Cluster) settleProposals(settled <-chan struct{}) {
	select {
	case <-settled:
	case <-time.After(2 * c.cfg.Timing.Lease):
	}
}
