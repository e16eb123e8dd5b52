package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"pytasks/fsm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCluster applies entries to the state at once, and takes down what nodes are told.
type fakeCluster struct {
	state *fsm.State

	propose  func(ctx context.Context) error // called before an entry is applied; nil = nothing is in its way
	probe    func(id string) (uint64, error) // nil = every node runs its first start
	pressure map[string]uint8                // by node id
	silent   map[string]time.Duration        // by node id

	nonvoters []string // ids of nodes that do not vote

	mu      sync.Mutex
	index   uint64                  // guarded by mu
	entries []*fsm.Entry            // guarded by mu
	nudges  map[string][]*fsm.Nudge // by node id; guarded by mu
	probes  []string                // guarded by mu
}

func (c *fakeCluster) Propose(ctx context.Context, data []byte) (any, uint64, error) {
	if c.propose != nil {
		if err := c.propose(ctx); err != nil {
			return nil, 0, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := fsm.DecodeEntry(data)
	if err != nil {
		return nil, 0, err
	}
	c.entries = append(c.entries, e)
	c.index++
	return c.state.FSM().Apply(&raft.Log{Index: c.index, Type: raft.LogCommand, Data: data}), c.index, nil
}

func (c *fakeCluster) Probe(ctx context.Context, id string) (uint64, error) {
	c.mu.Lock()
	c.probes = append(c.probes, id)
	c.mu.Unlock()
	if c.probe == nil {
		return 1, nil
	}
	return c.probe(id)
}

// probed returns how often nodes were probed.
func (c *fakeCluster) probed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.probes)
}

func (c *fakeCluster) Nudge(id string, n *fsm.Nudge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nudges[id] = append(c.nudges[id], n)
}

func (c *fakeCluster) Silent(id string) time.Duration { return c.silent[id] }

func (c *fakeCluster) Pressure(id string) uint8 { return c.pressure[id] }

func (c *fakeCluster) Votes(id string) bool { return !slices.Contains(c.nonvoters, id) }

// count returns how many commands of a kind were proposed.
func (c *fakeCluster) count(is func(*fsm.Command) bool) int {
	n := 0
	for _, cmd := range c.commands() {
		if is(cmd) {
			n++
		}
	}
	return n
}

// commands returns what was proposed, in order.
func (c *fakeCluster) commands() []*fsm.Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	var cmds []*fsm.Command
	for _, e := range c.entries {
		cmds = append(cmds, e.Commands...)
	}
	return cmds
}

// desk is a scheduler over a state of its own, with nodes n1, n2, ...
type desk struct {
	*Scheduler
	t       *testing.T
	state   *fsm.State
	cluster *fakeCluster
	now     func() time.Time
	keys    byte // made so far
}

// newDesk opens a state with nodes that have so many slots each and run packs p and q.
func newDesk(t *testing.T, cfg Config, slots ...uint32) *desk {
	t.Helper()
	d := &desk{t: t, cluster: &fakeCluster{nudges: map[string][]*fsm.Nudge{}, pressure: map[string]uint8{}}, now: cfg.Now}
	if d.now == nil {
		d.now = time.Now
	}
	var err error
	d.state, err = fsm.Open(fsm.Config{Dir: t.TempDir(), Observe: func(c fsm.Changes) {
		if d.Scheduler != nil {
			d.Observe(c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.cluster.state = d.state
	cfg.State, cfg.Cluster = d.state, d.cluster
	if cfg.Packs == nil {
		cfg.Packs = func(n *fsm.Node) []string { return strings.Split(string(n.Packs), ",") }
	}
	d.Scheduler = New(cfg)
	for i, n := range slots {
		d.apply(nodeUp(i+1, n))
	}
	return d
}

// close closes the state.
func (d *desk) close() {
	if err := d.state.Close(); err != nil {
		d.t.Errorf("Close: %v", err)
	}
}

// term begins to lead without its loop: the test calls what that would.
func (d *desk) term() *term {
	t := newTerm(d.Scheduler, 1)
	d.Scheduler.term.Store(t)
	for _, n := range d.state.Nodes() {
		d.beat(n.Number)
	}
	return t
}

// beat brings a sign of life of a node.
func (d *desk) beat(number uint32) {
	d.t.Helper()
	n := d.state.Node(number)
	if err := d.Heartbeat(&fsm.Heartbeat{Place: &fsm.Place{Node: number, Boot: n.Boot}}); err != nil {
		d.t.Fatalf("heartbeat of %s: %v", n.Name, err)
	}
}

// apply brings commands into the log as if another leader had.
func (d *desk) apply(cmds ...*fsm.Command) []*fsm.Outcome {
	d.t.Helper()
	data, err := fsm.EncodeEntry(&fsm.Entry{NowMs: d.now().UnixMilli(), Commands: cmds})
	if err != nil {
		d.t.Fatal(err)
	}
	resp, _, err := (&fakeClusterDirect{d.cluster}).Propose(d.t.Context(), data)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.([]*fsm.Outcome)
}

// fakeClusterDirect is the log without what a test puts in its way.
type fakeClusterDirect struct{ *fakeCluster }

func (c *fakeClusterDirect) Propose(_ context.Context, data []byte) (any, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index++
	return c.state.FSM().Apply(&raft.Log{Index: c.index, Type: raft.LogCommand, Data: data}), c.index, nil
}

// task describes a new task of a type; opts change it.
func (d *desk) task(kind string, opts ...func(*fsm.New)) *fsm.New {
	d.keys++
	key := fsm.Key{14: 1, 15: d.keys}
	n := &fsm.New{Key: key[:], Type: kind, Args: []byte(`{}`), Priority: fsm.DefaultPriority}
	for _, opt := range opts {
		opt(n)
	}
	return n
}

// queue puts tasks into the queue, each with a command of its own, and returns their
// keys.
func (d *desk) queue(tasks ...*fsm.New) []fsm.Key {
	d.t.Helper()
	var keys []fsm.Key
	for _, n := range tasks {
		keys = append(keys, fsm.Key(n.Key))
		d.apply(submit(n))
	}
	return keys
}

// record returns a task's record, which must be there.
func (d *desk) record(k fsm.Key) *fsm.Task {
	d.t.Helper()
	task, err := d.state.TaskByKey(k)
	if err != nil || task == nil {
		d.t.Fatalf("TaskByKey(%s) = %v, %v", k, task, err)
	}
	return task
}

// is checks the status of tasks.
func (d *desk) is(want fsm.Status, keys ...fsm.Key) {
	d.t.Helper()
	for _, k := range keys {
		if got := d.record(k).Status; got != want {
			d.t.Fatalf("task %d is %v, want %v", k[15], got, want)
		}
	}
}

func keysOf(tasks ...*fsm.New) []fsm.Key {
	var keys []fsm.Key
	for _, n := range tasks {
		keys = append(keys, fsm.Key(n.Key))
	}
	return keys
}

func prio(p uint32) func(*fsm.New) { return func(n *fsm.New) { n.Priority = p } }
func delayed(d time.Duration) func(*fsm.New) {
	return func(n *fsm.New) { n.DelayMs = d.Milliseconds() }
}
func retries(r *fsm.Retry) func(*fsm.New) { return func(n *fsm.New) { n.Retry = r } }
func placed(node uint32) func(*fsm.New) {
	return func(n *fsm.New) { n.Place = &fsm.Place{Node: node, Boot: 1} }
}
func argsOf(text string) func(*fsm.New) { return func(n *fsm.New) { n.Args = []byte(text) } }

func submit(tasks ...*fsm.New) *fsm.Command {
	return &fsm.Command{Kind: &fsm.Command_Submit{Submit: &fsm.Submit{Tasks: tasks}}}
}

func finish(k fsm.Key, attempt uint32, run time.Duration) *fsm.Command {
	return &fsm.Command{Kind: &fsm.Command_Finish{Finish: &fsm.Finish{Key: k[:], Attempt: attempt, Result: []byte("1"), RunUs: run.Microseconds()}}}
}

func fail(k fsm.Key, attempt uint32) *fsm.Command {
	return &fsm.Command{Kind: &fsm.Command_Finish{Finish: &fsm.Finish{
		Key: k[:], Attempt: attempt, Reason: fsm.ReasonError, Error: &fsm.Failure{Type: "Error", Message: "no"}, RunUs: 1000,
	}}}
}

func nodeUp(number int, slots uint32) *fsm.Command {
	return &fsm.Command{Kind: &fsm.Command_NodeUp{NodeUp: &fsm.NodeUp{
		Id: fmt.Sprintf("id%d", number), Name: fmt.Sprintf("n%d", number), Boot: 1, Slots: slots, Packs: []byte("p,q"),
	}}}
}

func isNodeDown(c *fsm.Command) bool { return c.GetNodeDown() != nil }
func isTick(c *fsm.Command) bool     { return c.GetTick() != nil }
func isPurge(c *fsm.Command) bool    { return c.GetPurge() != nil }
