package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"pytasks/cluster"
	"pytasks/cluster/secret"
	"pytasks/fsm"
	"pytasks/httpapi"
	"pytasks/node/config"
	"pytasks/node/datadir"
	"pytasks/scheduler"
	"pytasks/taskpacks"
)

// writeTimeout is how long a request may take from its headers to the end of its answer, unless its handler asks for more:
// a client that does not read its answers is hung up on.
const writeTimeout = 2 * time.Minute

// Node is one member of the cluster: API, queue, scheduler and executor.
type Node struct {
	cfg      config.Config
	host     host
	log      *slog.Logger
	logLevel *slog.LevelVar
	dir      *datadir.Dir
	disk     *disk
	state    *fsm.State
	queue    *fsm.Queue
	sched    *scheduler.Scheduler
	exec     *executor
	packs    *packs
	blobs    *blobs
	saver    *snapshots
	backups  *backups // nil = it makes none
	install  *installer
	cluster  *cluster.Cluster
	link     *link
	members  *membership
	drainer  *drainer
	secrets  *secrets
	keeper   *keeper
	listener net.Listener
	server   *http.Server
	registry *prometheus.Registry // of its metrics

	certificate *certificate         // for HTTPS, nil = plain HTTP
	identity    *secret.FileIdentity // of operators' own PKI, nil = made of the secret

	draining context.Context // ends when the node stops taking requests
	drain    context.CancelFunc
	fatal    chan error // why the node must stop; capacity 1
	undo     []func() error

	lastAnswers atomic.Bool // the node is about to close its clients' connections
	closing     atomic.Bool
	closed      chan struct{} // closed when Close has ended
}

// New builds a node and binds its ports: from top to bottom, each part on those
// above it, each with its undoing. Run makes it work. Errors are sentences for
// operators.
func New(ctx context.Context, cfg config.Config, packs ...taskpacks.Pack) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return newNode(ctx, cfg, thisMachine(), packs...)
}

// newNode is New on a given host, of a valid configuration.
func newNode(ctx context.Context, cfg config.Config, on host, packs ...taskpacks.Pack) (_ *Node, err error) {
	dir, err := datadir.Claim(&cfg)
	if err != nil {
		return nil, err
	}
	level := new(slog.LevelVar)
	n := &Node{cfg: cfg, host: on, log: newLogger(cfg, level, on.logs), logLevel: level, fatal: make(chan error, 1), closed: make(chan struct{})}
	n.draining, n.drain = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()

	n.registry = prometheus.NewRegistry()
	registry := n.registry
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	funcs, err := taskpacks.NewRegistry(packs...)
	if err != nil {
		return nil, fmt.Errorf("task packs: %w", err)
	}
	if dir != nil {
		n.onClose(dir.Close)
	}
	if n.disk, err = openDisk(cfg.DataDir, cfg.MinFreeDisk, on.free, n.log.With("component", "disk")); err != nil {
		return nil, err
	}
	if dir == nil {
		if dir, err = datadir.Open(cfg.DataDir); err != nil {
			return nil, err
		}
		n.onClose(dir.Close)
	}
	n.dir = dir

	if err := n.openHTTP(); err != nil {
		return nil, err
	}
	if n.secrets, err = openSecrets(cfg.DataDir, cfg.Secrets, n.log.With("component", "secrets")); err != nil {
		return nil, err
	}

	// The state, and who is told of its changes.
	stateDir, err := n.dir.Sub("state")
	if err != nil {
		return nil, err
	}
	specs := newCatalog(funcs, n.log)
	n.state, err = fsm.Open(fsm.Config{
		Dir: stateDir, Logger: n.log.With("component", "fsm"), Fatal: n.fail, BootID: on.bootID,
		Observe: func(c fsm.Changes) { n.observe(c, specs) },
	})
	if err != nil {
		return nil, err
	}
	n.onClose(n.state.Close)
	specs.read(n.state.Nodes(), n.state.Packs())

	// The code that tasks run, of other processes and in this one.
	if err := n.openPacks(funcs); err != nil {
		return nil, err
	}

	// The parts that work on it, joined by the link.
	n.link = &link{state: n.state, self: n.dir.ID, ready: make(chan struct{})}
	n.queue = fsm.NewQueue(n.link, n.log.With("component", "queue"))
	n.exec = newExecutor(cfg, n.packs, n.blobs, &reports{n.queue, n.blobs}, n.state.Applied, n.log)
	n.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		n.exec.close(ctx)
		return nil
	})
	n.sched = scheduler.New(scheduler.Config{
		State: n.state, Cluster: n.link, Packs: packKeys(n.log),
		KeepFinished: cfg.KeepFinished, MaxFinished: cfg.MaxFinished, MaxFinishedBytes: cfg.MaxFinishedBytes,
		KeepAudit: cfg.KeepAudit, MaxAuditBytes: cfg.MaxAuditBytes,
		MaxQueued: cfg.MaxQueued, MaxQueuedBytes: cfg.MaxQueuedBytes, Now: on.now,
		Logger: n.log.With("component", "scheduler"), Registry: registry,
	})

	n.secrets.state, n.keeper = n.state, n.newKeeper()
	n.members = &membership{
		up: n.up, boot: n.dir.Boot, name: cfg.Name, packs: n.packs,
		queue: n.queue, link: n.link, exec: n.exec, disk: n.disk, log: n.log.With("component", "membership"), now: on.now,
	}
	n.drainer = &drainer{link: n.link, exec: n.exec, timeout: cfg.DrainTimeout, log: n.log.With("component", "drain"), changed: make(chan struct{}, 1)}
	raftDir, err := n.dir.Sub("cluster")
	if err != nil {
		return nil, err
	}
	clusterCfg := cluster.Config{
		Dir: raftDir, ID: n.dir.ID, Boot: n.dir.Boot, Name: cfg.Name,
		GossipAddr: cfg.Gossip, Addr: cfg.Cluster, Advertise: cfg.Advertise,
		Join: cfg.Join, BootstrapExpect: cfg.BootstrapExpect, MaxVoters: cfg.MaxVoters,
		Secrets: n.secrets.ring,
		FSM:     n.state.FSM(), Applied: n.state.Applied, StateSize: n.state.Size,
		Handlers: n.handlers(), OnLinkDown: n.sched.Suspect, Fatal: n.fail,
		Network: on.network, OpenLog: on.openLog, Logger: n.log, Registry: registry,
	}
	if cfg.TLSCert != "" {
		if n.identity, err = secret.NewFileIdentity(cfg.TLSCA, cfg.TLSCert, cfg.TLSKey); err != nil {
			return nil, err
		}
		clusterCfg.Identity = n.identity
	}
	if on.tune != nil {
		on.tune(&clusterCfg)
	}
	n.cluster, err = cluster.Open(ctx, clusterCfg)
	if err != nil {
		return nil, err
	}
	n.onClose(n.cluster.Close)
	n.link.cluster, n.link.sched, n.link.exec = n.cluster, n.sched, n.exec
	close(n.link.ready)

	registerMetrics(registry, n)

	records := &tasks{
		Queue: n.queue, link: n.link, state: n.state, blobs: n.blobs, draining: n.draining,
		names: &names{state: n.state, ask: func(ctx context.Context, number []byte) ([]byte, error) {
			return n.cluster.CallLeader(ctx, methodName, number)
		}},
	}
	n.blobs.caught, n.keeper.caught = records.catchUp, records.catchUp
	n.install = n.newInstaller(records.catchUp)
	n.saver = n.newSnapshots(records.catchUp)
	if n.backups, err = n.newBackups(); err != nil {
		return nil, err
	}
	if n.backups != nil {
		n.backups.register(registry)
	}
	options := httpapi.Options{
		Tasks: records, Catalog: specs, Packs: n.install,
		Cluster: &view{
			cluster: n.cluster, link: n.link, state: n.state, queue: n.queue, disk: n.disk, log: n.log, name: cfg.Name,
			registered: n.members.registered, draining: n.draining,
		},
		Snapshots: n.saver, Logger: n.log, Registry: registry, Version: buildVersion(), CORSOrigins: cfg.CORSOrigins,
		MaxBody: cfg.MaxBody, MaxArgs: cfg.MaxArgs, MaxPack: cfg.MaxPack, Now: on.now,
	}
	if err := n.openPeople(&options, records.catchUp); err != nil {
		return nil, err
	}
	api := httpapi.New(options)
	n.server = &http.Server{
		Handler: endingConnections(&n.lastAnswers, withDebug(cfg.Pprof, n.state, api)), ErrorLog: slog.NewLogLogger(n.log.With("component", "http").Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, WriteTimeout: writeTimeout, IdleTimeout: 90 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	return n, nil
}

// onClose adds what undoes a step; Close does it in the opposite order.
func (n *Node) onClose(f func() error) { n.undo = append(n.undo, f) }

// Close stops what New started, without handing anything over. It is safe to call
// twice, and after Run.
func (n *Node) Close() error {
	if n.closing.Swap(true) {
		<-n.closed
		return nil
	}
	defer close(n.closed)
	n.drain()
	var errs []error
	for i := len(n.undo) - 1; i >= 0; i-- {
		errs = append(errs, n.undo[i]())
	}
	return errors.Join(errs...)
}

// fail ends Run with the error that makes going on impossible. The first counts.
func (n *Node) fail(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// observe passes on what the log changed. It runs where the log is applied, so
// everything here is quick.
func (n *Node) observe(c fsm.Changes, specs *catalog) {
	if c.Nodes || c.Packs {
		specs.read(n.state.Nodes(), n.state.Packs())
	}
	if c.Packs || c.Reset {
		n.packs.observe()
	}
	if c.Users || c.Keys || c.Rotation || c.Reset {
		poke(n.secrets.changed)
		poke(n.keeper.changed)
	}
	if c.Reset {
		n.resync(c.Index)
	}
	n.blobs.observe(c)
	n.exec.observe(c)
	n.sched.Observe(c)
	if c.Nodes || c.Reset {
		poke(n.drainer.changed)
	}
}

// resync shows the executor what a snapshot says this node is to run.
func (n *Node) resync(index uint64) {
	at := n.members.at.Load()
	if at == nil {
		return // a node gets nothing before it is registered
	}
	var mine []*fsm.Task
	for _, a := range n.state.Assigned(at.Node) {
		if t, err := n.state.TaskByKey(a.Key); err == nil && t != nil {
			mine = append(mine, t)
		}
	}
	n.exec.resync(index, mine)
}

// newLogger returns the node's log, and sets its level.
func newLogger(cfg config.Config, level *slog.LevelVar, w io.Writer) *slog.Logger {
	_ = level.UnmarshalText([]byte(cfg.LogLevel)) // validated
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)).With("name", cfg.Name)
	}
	return slog.New(slog.NewTextHandler(w, opts)).With("name", cfg.Name)
}

// SetLogLevel has the node log from that level on: debug, info, warn or error.
func (n *Node) SetLogLevel(level string) {
	var next slog.Level
	if err := next.UnmarshalText([]byte(level)); err != nil {
		n.log.Error("the log level stays as it was", "err", err)
		return
	}
	before := n.logLevel.Level()
	n.logLevel.Set(min(before, next)) // while this is said
	n.log.Info("log level changed", "from", before, "to", next)
	n.logLevel.Set(next)
}

// Log is where the node says what happens.
func (n *Node) Log() *slog.Logger { return n.log }

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
