package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"pytasks/cluster"
	"pytasks/fsm"
	"pytasks/httpapi"
	"pytasks/scheduler"
	"pytasks/taskpacks"
)

// Node is one member of the cluster: API, queue, scheduler and executor.
type Node struct {
	cfg      Config
	log      *slog.Logger
	dir      *dataDir
	state    *fsm.State
	queue    *fsm.Queue
	sched    *scheduler.Scheduler
	exec     *executor
	cluster  *cluster.Cluster
	link     *link
	members  *membership
	listener net.Listener
	server   *http.Server

	draining context.Context // ends when the node stops taking requests
	drain    context.CancelFunc
	fatal    chan error // why the node must stop; capacity 1
	undo     []func() error
	closed   sync.Once
}

// New builds a node and binds its ports: from top to bottom, each part on those
// above it, each with its undoing. Run makes it work. Errors are sentences for
// operators.
func New(ctx context.Context, cfg Config, packs ...taskpacks.Pack) (_ *Node, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: newLogger(cfg, os.Stderr), fatal: make(chan error, 1)}
	n.draining, n.drain = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	funcs, err := taskpacks.NewRegistry(packs...)
	if err != nil {
		return nil, fmt.Errorf("task packs: %w", err)
	}
	manifestText, err := json.Marshal(funcs.Manifest())
	if err != nil {
		return nil, fmt.Errorf("task packs: %w", err)
	}
	if n.dir, err = openDataDir(cfg.DataDir); err != nil {
		return nil, err
	}
	n.onClose(n.dir.Close)

	if n.listener, err = net.Listen("tcp", cfg.HTTP); err != nil {
		return nil, fmt.Errorf("listen for HTTP on %s: %w: is another node running? choose another --http", cfg.HTTP, err)
	}
	n.onClose(func() error { return ignoreClosed(n.listener.Close()) })

	// The state, and who is told of its changes.
	stateDir, err := n.dir.sub("state")
	if err != nil {
		return nil, err
	}
	specs := newCatalog(funcs, n.log)
	n.state, err = fsm.Open(fsm.Config{
		Dir: stateDir, Logger: n.log.With("component", "fsm"), Fatal: n.fail,
		Observe: func(c fsm.Changes) { n.observe(c, specs) },
	})
	if err != nil {
		return nil, err
	}
	n.onClose(n.state.Close)
	specs.read(n.state.Nodes())

	// The parts that work on it, joined by the link.
	n.link = &link{state: n.state, self: n.dir.ID, ready: make(chan struct{})}
	n.queue = fsm.NewQueue(n.link, n.log.With("component", "queue"))
	n.exec = newExecutor(cfg, funcs, n.queue, n.state.Applied, n.log)
	n.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		n.exec.close(ctx)
		return nil
	})
	n.sched = scheduler.New(scheduler.Config{
		State: n.state, Cluster: n.link, Packs: packNames(n.log),
		KeepFinished: cfg.KeepFinished, MaxFinished: cfg.MaxFinished, MaxFinishedBytes: cfg.MaxFinishedBytes,
		MaxQueued: cfg.MaxQueued, MaxQueuedBytes: cfg.MaxQueuedBytes,
		Logger: n.log.With("component", "scheduler"), Registry: registry,
	})

	raftDir, err := n.dir.sub("cluster")
	if err != nil {
		return nil, err
	}
	n.cluster, err = cluster.Open(ctx, cluster.Config{
		Dir: raftDir, ID: n.dir.ID, Boot: n.dir.Boot, Name: cfg.Name,
		GossipAddr: cfg.Gossip, Addr: cfg.Cluster, Advertise: cfg.Advertise,
		Join: cfg.Join, BootstrapExpect: cfg.BootstrapExpect, MaxVoters: cfg.MaxVoters,
		FSM: n.state.FSM(), Applied: n.state.Applied, StateSize: n.state.Size,
		Handlers: n.link.handlers(), OnLinkDown: n.sched.Suspect, Fatal: n.fail,
		Logger: n.log, Registry: registry,
	})
	if err != nil {
		return nil, err
	}
	n.onClose(n.cluster.Close)
	n.link.cluster, n.link.sched, n.link.exec = n.cluster, n.sched, n.exec
	close(n.link.ready)

	n.members = &membership{
		up: &fsm.NodeUp{
			Id: n.dir.ID, Name: cfg.Name, Boot: n.dir.Boot, Slots: uint32(cfg.Slots),
			Packs: manifestText, Http: n.URL(), Version: buildVersion(),
		},
		queue: n.queue, link: n.link, exec: n.exec, log: n.log.With("component", "membership"),
	}
	registerMetrics(registry, n)

	api := httpapi.New(httpapi.Options{
		Tasks:   &tasks{Queue: n.queue, link: n.link, state: n.state, draining: n.draining},
		Catalog: specs,
		Cluster: &view{
			cluster: n.cluster, state: n.state, queue: n.queue, dir: cfg.DataDir, log: n.log, name: cfg.Name,
			registered: n.members.registered, draining: n.draining,
		},
		Logger: n.log, Registry: registry, Version: buildVersion(), MaxBody: cfg.MaxBody, CORSOrigins: cfg.CORSOrigins,
	})
	n.server = &http.Server{
		Handler: withPprof(cfg.Pprof, api), ErrorLog: slog.NewLogLogger(n.log.With("component", "http").Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 90 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	return n, nil
}

// onClose adds what undoes a step; Close does it in the opposite order.
func (n *Node) onClose(f func() error) { n.undo = append(n.undo, f) }

// Close stops what New started, without handing anything over. It is safe to call
// twice, and after Run.
func (n *Node) Close() error {
	var errs []error
	n.closed.Do(func() {
		n.drain()
		for i := len(n.undo) - 1; i >= 0; i-- {
			errs = append(errs, n.undo[i]())
		}
	})
	return errors.Join(errs...)
}

// URL is where the node's REST API is.
func (n *Node) URL() string { return "http://" + n.listener.Addr().String() }

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
	if c.Nodes {
		specs.read(n.state.Nodes())
	}
	if c.Reset {
		n.resync()
	}
	n.exec.observe(c)
	n.sched.Observe(c)
}

// resync shows the executor what a snapshot says this node is to run.
func (n *Node) resync() {
	at := n.members.at.Load()
	if at == nil {
		return
	}
	var mine []*fsm.Task
	for _, a := range n.state.Assigned(at.Node) {
		if t, err := n.state.TaskByKey(a.Key); err == nil && t != nil {
			mine = append(mine, t)
		}
	}
	n.exec.resync(mine)
}

func packNames(log *slog.Logger) func(*fsm.Node) []string {
	return func(n *fsm.Node) []string {
		var names []string
		for _, p := range manifest(n, log) {
			names = append(names, p.Name)
		}
		return names
	}
}

func newLogger(cfg Config, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.LogLevel)) // validated
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)).With("name", cfg.Name)
	}
	return slog.New(slog.NewTextHandler(w, opts)).With("name", cfg.Name)
}

// withPprof adds the profiler, for addresses that only this machine reaches.
func withPprof(on bool, h http.Handler) http.Handler {
	if !on {
		return h
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.Handle("/", h)
	return mux
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
