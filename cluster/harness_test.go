package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"pytasks/cluster/secret"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		// memberlist does not wait for its goroutines: they end within its TCP timeout.
		var err error
		for deadline := time.Now().Add(2 * gossipTimeout); time.Now().Before(deadline); {
			if err = goleak.Find(); err == nil {
				break
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// memory is a state machine that keeps what was applied.
type memory struct {
	mu      sync.Mutex
	index   uint64
	entries []string
	durable uint64 // what Applied answers at least: a test sets it to stand for a store of its own
}

func (f *memory) Apply(entry *raft.Log) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if entry.Index <= f.index {
		return nil
	}
	f.index = entry.Index
	f.entries = append(f.entries, string(entry.Data))
	return len(f.entries)
}

func (f *memory) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	raw, err := json.Marshal(memoryState{f.index, f.entries})
	return memorySnapshot(raw), err
}

func (f *memory) Restore(r io.ReadCloser) error {
	var s memoryState
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index, f.entries = s.Index, s.Entries
	return nil
}

func (f *memory) applied() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(f.index, f.durable)
}

func (f *memory) has(entry string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.entries, entry)
}

type memoryState struct {
	Index   uint64
	Entries []string
}

type memorySnapshot []byte

func (s memorySnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := io.Copy(sink, bytes.NewReader(s)); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (memorySnapshot) Release() {}

// testNode is one running node of a test.
type testNode struct {
	*Cluster
	cfg   Config
	fsm   *memory
	down  chan string
	fatal chan error
}

// testSecret is that of all nodes whose test gives them no other.
var testSecret = sync.OnceValue(secret.New)

// config returns a configuration with short times and free ports.
func config(t testing.TB, name string) Config {
	t.Helper()
	return Config{
		Dir: t.TempDir(), ID: uuid.NewString(), Boot: 1, Name: name,
		GossipAddr: "127.0.0.1:0", Addr: "127.0.0.1:0", Secrets: secret.NewRing(testSecret()),
		Timing: Timing{
			Heartbeat: 250 * time.Millisecond, Lease: 150 * time.Millisecond, Commit: 5 * time.Millisecond,
			Reconcile: 30 * time.Millisecond, Stable: 60 * time.Millisecond, Dead: 400 * time.Millisecond,
			Rejoin: 200 * time.Millisecond, Keepalive: 200 * time.Millisecond, GossipProbe: 100 * time.Millisecond,
			SnapshotCheck: 20 * time.Millisecond,
		},
	}
}

// open starts a node and stops it at the end of the test.
func open(t testing.TB, cfg Config) *testNode {
	t.Helper()
	n, err := tryOpen(t, cfg)
	if err != nil {
		t.Fatalf("Open(%s): %v", cfg.Name, err)
	}
	return n
}

func tryOpen(t testing.TB, cfg Config) (*testNode, error) {
	t.Helper()
	n := &testNode{cfg: cfg, fsm: &memory{}, down: make(chan string, 100), fatal: make(chan error, 1)}
	if old, ok := cfg.FSM.(*memory); ok {
		n.fsm = old
	}
	cfg.FSM, cfg.Applied = n.fsm, n.fsm.applied
	if cfg.Logger == nil {
		cfg.Logger = testLogger(t, cfg.Name)
	}
	cfg.OnLinkDown = func(id string) {
		select {
		case n.down <- id:
		default:
		}
	}
	cfg.Fatal = func(err error) { n.fatal <- err }
	if cfg.Handlers == nil {
		cfg.Handlers = make(map[string]Handler)
	}
	cfg.Handlers["propose"] = func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		response, index, err := n.Propose(ctx, body)
		return fmt.Appendf(nil, "%v %v", response, index > 0), err
	}
	var err error
	n.Cluster, err = Open(t.Context(), cfg)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { n.Close() })
	return n, nil
}

// testLogger writes what nodes log if the environment asks for it.
func testLogger(t testing.TB, name string) *slog.Logger {
	if os.Getenv("CLUSTER_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	h := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	return slog.New(h).With("name", name, "test", t.Name())
}

// trio starts three nodes that found a cluster together and waits until all three vote.
func trio(t testing.TB) []*testNode {
	t.Helper()
	first := config(t, "a")
	nodes := []*testNode{open(t, first)}
	for _, name := range []string{"b", "c"} {
		nodes = append(nodes, joining(t, nodes, name))
	}
	waitVoters(t, nodes, 3)
	return nodes
}

// joining starts a node that joins the given ones.
func joining(t testing.TB, nodes []*testNode, name string) *testNode {
	t.Helper()
	cfg := config(t, name)
	cfg.Join = gossipAddrs(nodes)
	return open(t, cfg)
}

func gossipAddrs(nodes []*testNode) []string {
	var addrs []string
	for _, n := range nodes {
		addr, _ := n.Addrs()
		addrs = append(addrs, addr)
	}
	return addrs
}

// eventually polls, since what it waits for comes over a real network.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out: %s", what)
		}
	}
}

// leader waits until one of the nodes leads and all of them know it.
func leader(t testing.TB, nodes []*testNode) *testNode {
	t.Helper()
	var found *testNode
	eventually(t, "a leader that all know", func() bool {
		found = nil
		for _, n := range nodes {
			if n.IsLeader() {
				found = n
			}
		}
		if found == nil {
			return false
		}
		for _, n := range nodes {
			if id, _ := n.Leader(); id != found.cfg.ID {
				return false
			}
		}
		return true
	})
	return found
}

func followers(nodes []*testNode, leader *testNode) []*testNode {
	return slices.DeleteFunc(slices.Clone(nodes), func(n *testNode) bool { return n == leader })
}

func waitVoters(t testing.TB, nodes []*testNode, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d voters", want), func() bool {
		for _, n := range nodes {
			if len(n.Status().Voters) != want {
				return false
			}
		}
		return true
	})
}

func propose(t testing.TB, n *testNode, entry string) uint64 {
	t.Helper()
	_, index, err := n.Propose(t.Context(), []byte(entry))
	if err != nil {
		t.Fatalf("Propose(%q) on %s: %v", entry, n.cfg.Name, err)
	}
	return index
}

func waitEntry(t testing.TB, nodes []*testNode, entry string) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, fmt.Sprintf("entry %q on %s", entry, n.cfg.Name), func() bool { return n.fsm.has(entry) })
	}
}
