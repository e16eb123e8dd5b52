package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/fsm"
)

// State is what the scheduler reads; *fsm.State.
type State interface {
	Applied() uint64
	Nodes() []*fsm.Node
	Node(number uint32) *fsm.Node
	Load() map[uint32]map[string]int
	Running(number uint32) int
	PendingPacks() map[string]int
	Pending(pack string, priority uint8, after uint64, visit func(fsm.Ready) bool)
	TaskByKey(k fsm.Key) (*fsm.Task, error)
	Live(k fsm.Key) (fsm.Assignment, fsm.Status, bool)
	NextDue() (ms int64, ok bool)
	WaitingSince() (ms int64, err error)
	Oldest() (finishedMs, keyMs int64)
	AuditKept() (oldestMs, bytes int64)
	Counts() fsm.Counts
	Packs() []*fsm.Pack
	Now() int64
}

// Cluster is how the scheduler reaches the log and the nodes.
type Cluster interface {
	// Propose brings an entry to a majority and returns what applying it here
	// gave, []*fsm.Outcome, and its index. An error that is fsm.ErrNoLeader means
	// that it was not written; any other, that it may have been.
	Propose(ctx context.Context, entry []byte) (response any, index uint64, err error)
	// Probe asks a node which start of it is running. ErrDead: none is.
	Probe(ctx context.Context, id string) (boot uint64, err error)
	// Nudge tells a node of its assignments, best effort, without waiting.
	Nudge(id string, n *fsm.Nudge)
	// Silent is for how long a node has been held for dead, by hearsay; 0 where it is not.
	Silent(id string) time.Duration
	// Pressure is how busy a node's machine is, 0 to 255, by hearsay.
	Pressure(id string) uint8
	// Votes says whether a node's disk counts for the majority.
	Votes(id string) bool
}

// ErrDead is Probe's proof that no process of a node is running.
var ErrDead = errors.New("no process of the node is running")

// Config is what a Scheduler is made with.
type Config struct {
	State   State
	Cluster Cluster
	// Packs reads what a node's record says it can run, by fsm.PackKey.
	Packs func(n *fsm.Node) []string
	// KeepFinished is how long finished tasks are kept; 0 means 24 h.
	KeepFinished time.Duration
	// MaxFinished and MaxFinishedBytes bound the finished tasks; 0 means 1,000,000
	// and 4 GiB.
	MaxFinished      int
	MaxFinishedBytes int64
	// KeepAudit is how long records of the audit log are kept; 0 means for ever.
	KeepAudit time.Duration
	// MaxAuditBytes bounds each class of the audit log: what was submitted and cancelled,
	// and all else; 0 means any.
	MaxAuditBytes int64
	// MaxQueued and MaxQueuedBytes bound the unfinished tasks and their arguments;
	// beyond, Submit is refused. 0 means 500,000 and 1 GiB.
	MaxQueued      int
	MaxQueuedBytes int64
	// Lease is how long a node may be silent before its tasks are requeued; 0
	// means 15 s.
	Lease time.Duration
	// Now is the node's own clock, by which a leader goes that has heard no other; nil
	// means time.Now.
	Now      func() time.Time
	Logger   *slog.Logger
	Registry prometheus.Registerer
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.KeepFinished, 24*time.Hour)
	def(&c.Lease, 15*time.Second)
	if c.MaxFinished == 0 {
		c.MaxFinished = 1_000_000
	}
	if c.MaxFinishedBytes == 0 {
		c.MaxFinishedBytes = 4 << 30
	}
	if c.MaxQueued == 0 {
		c.MaxQueued = 500_000
	}
	if c.MaxQueuedBytes == 0 {
		c.MaxQueuedBytes = 1 << 30
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Scheduler is the leader's side of the queue. Its methods may be called from any
// goroutine, on any node; where the node does not lead they do nothing, or answer
// fsm.ErrNoLeader.
type Scheduler struct {
	cfg     Config
	metrics *metrics
	term    atomic.Pointer[term] // nil while following
}

// New returns a scheduler. Lead makes it work.
func New(cfg Config) *Scheduler {
	cfg = cfg.withDefaults()
	s := &Scheduler{cfg: cfg, metrics: newMetrics(cfg.Registry)}
	if cfg.Registry != nil {
		cfg.Registry.MustRegister(&queueCollector{s})
	}
	return s
}

// Lead works as the leader until ctx ends.
func (s *Scheduler) Lead(ctx context.Context, number uint64) error {
	t := newTerm(s, number)
	s.term.Store(t)
	defer s.term.Store(nil)
	return t.run(ctx)
}

// Do brings commands into the log and returns the outcome of each. It is what a
// node's queue calls, on the leader itself or from afar.
func (s *Scheduler) Do(ctx context.Context, cmds []*fsm.Command) ([]*fsm.Outcome, error) {
	t := s.term.Load()
	if t == nil {
		return nil, fsm.ErrNoLeader
	}
	return t.do(ctx, cmds)
}

// Heartbeat takes a node's sign of life. fsm.ErrStale: this start of the node is
// not registered, or was given up; it has to stop what it runs and register.
func (s *Scheduler) Heartbeat(h *fsm.Heartbeat) error {
	t := s.term.Load()
	if t == nil {
		return fsm.ErrNoLeader
	}
	back, err := t.workers.heartbeat(h)
	if err == nil {
		t.progress.heard(h.Place.GetNode(), h.Progress)
	}
	if err == nil && h.ClockMs != 0 {
		t.clock.heard(h.Place.GetNode(), h.ClockMs)
	}
	if back {
		t.poke() // tasks may wait for it
	}
	return err
}

// Suspect makes the leader look whether a node's process is still there, because
// a connection to it broke or gossip lost it.
func (s *Scheduler) Suspect(id string) {
	if t := s.term.Load(); t != nil {
		t.suspect(id)
	}
}

// Observe is told what the log changed; see fsm.Config.Observe.
func (s *Scheduler) Observe(c fsm.Changes) {
	if c.Packs || c.Reset {
		s.metrics.forget(s.cfg.State.Packs())
	}
	t := s.term.Load()
	if t == nil {
		return
	}
	t.workers.refresh(c.Nodes)
	if c.Nodes {
		t.progress.drop(t.cfg.State.Nodes())
	}
	t.workers.observe(c.Tasks)
	for _, ch := range c.Tasks {
		s.metrics.observe(ch)
	}
	t.poke()
}

// Progress returns how far an attempt is, as its node said last; nil where it said
// nothing, the attempt has ended, or this node does not lead.
func (s *Scheduler) Progress(key fsm.Key, attempt uint32) *fsm.Progress {
	t := s.term.Load()
	if t == nil {
		return nil
	}
	a, status, ok := s.cfg.State.Live(key)
	if !ok || status != fsm.Status_STARTED || a.Attempt != attempt {
		return nil
	}
	return t.progress.of(a.At.Node, key, attempt)
}

// Workers tells what the leader knows of the nodes' liveness; nil on followers.
func (s *Scheduler) Workers() []Worker {
	t := s.term.Load()
	if t == nil {
		return nil
	}
	return t.workers.list()
}
