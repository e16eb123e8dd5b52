package node

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pytasks/cluster"
	"pytasks/cluster/simnet"
	"pytasks/node/history"
)

// simWorld is a cluster of real nodes on simulated machines, in virtual time, and its
// clients.
type simWorld struct {
	t        *testing.T
	seed     uint64
	dir      string
	net      *simnet.Network
	machines []*simMachine
	join     []string
	expect   int
	voters   int                   // at most
	tune     func(*cluster.Config) // nil = as it is shipped
	history  *history.Recorder
	journal  history.Memory
	wg       sync.WaitGroup // every node's process
	settled  bool           // the run came to its end: its history can be checked

	mu         sync.Mutex
	log        bytes.Buffer // of all nodes and of what is done to them; guarded by mu
	violations []string     // guarded by mu
	effective  int          // faults that had an effect; guarded by mu
}

// newWorld makes a world of machines that are off. Call it inside a synctest bubble.
func newWorld(t *testing.T, seed uint64, size int) *simWorld {
	t.Helper()
	w := &simWorld{t: t, seed: seed, dir: simDir(t), net: simnet.New(seed), history: history.NewRecorder(time.Now), expect: size, voters: 5}
	for i := range size {
		w.machines = append(w.machines, w.newMachine(i))
	}
	for _, m := range w.machines[:min(size, 5)] {
		w.join = append(w.join, m.ip+":7946")
	}
	return w
}

// simDir is a folder for the files of a world, in memory where there is room for it.
func simDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "pytasks-sim-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Write takes the nodes' log lines.
func (w *simWorld) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

// note writes down what is done to a node, "" for all.
func (w *simWorld) note(what, node string) {
	w.history.Note(what, node)
	fmt.Fprintf(w, "time=%s ---- %s %s\n", time.Now().Format("2006-01-02T15:04:05.000"), what, node)
}

// violation notes a promise that was broken.
func (w *simWorld) violation(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.note("VIOLATION "+text, "")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violations = append(w.violations, text)
}

// felt counts a fault if it had an effect.
func (w *simWorld) felt(effect bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if effect {
		w.effective++
	}
}

func (w *simWorld) startAll() {
	for _, m := range w.machines {
		m.start()
	}
}

func (w *simWorld) stopAll() {
	var wg sync.WaitGroup
	for _, m := range w.machines {
		wg.Go(m.stop)
	}
	wg.Wait()
	w.wg.Wait()
	time.Sleep(10 * time.Second) // memberlist does not wait for its goroutines
}

// leader returns the machine whose node leads, or nil.
func (w *simWorld) leader() *simMachine {
	for _, m := range w.machines {
		if n := m.node(); n != nil && n.cluster.IsLeader() {
			return m
		}
	}
	return nil
}

// awaitWhole waits until all nodes are in one cluster again, and notes a violation if that
// takes too long.
func (w *simWorld) awaitWhole(within time.Duration) bool {
	var why string
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if why = w.broken(); why == "" {
			return true
		}
	}
	w.violation("not one cluster within %s: %s", within, why)
	return false
}

// broken says what is missing to one whole cluster, "" if nothing is.
func (w *simWorld) broken() string {
	leader := w.leader()
	if leader == nil {
		return "no leader"
	}
	n := leader.node()
	if n == nil {
		return "the leader is gone"
	}
	want := min(len(w.machines)-(len(w.machines)+1)%2, w.voters)
	for _, m := range w.machines {
		node := m.node()
		switch {
		case node == nil:
			return m.name + " is down"
		case !node.members.registered():
			return m.name + " is not registered"
		}
		s := node.cluster.Status()
		if s.Leader != n.dir.ID {
			return fmt.Sprintf("%s follows %q, not %s", m.name, s.Leader, leader.name)
		}
		if len(s.Voters) != want {
			return fmt.Sprintf("%s knows %d voters, want %d", m.name, len(s.Voters), want)
		}
		alive := 0
		for _, member := range node.cluster.Members() {
			if member.Status == cluster.Alive && member.Role != cluster.None {
				alive++
			}
		}
		if alive != len(w.machines) {
			return fmt.Sprintf("%s knows %d living members, want %d", m.name, alive, len(w.machines))
		}
	}
	return ""
}

// workload returns clients that ask each node from a machine of their own, which faults
// leave alone.
func (w *simWorld) workload(cfg history.Config) (*history.Workload, func()) {
	var nodes []history.Node
	for _, m := range w.machines {
		nodes = append(nodes, history.Node{Name: m.name, URL: "http://" + m.ip + ":8080"})
	}
	clients := w.net.Host("10.9.9.9")
	transport := &http.Transport{
		DialContext:         func(ctx context.Context, _, addr string) (net.Conn, error) { return clients.Dial(ctx, addr) },
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,
	}
	cfg.Nodes, cfg.Recorder, cfg.Seed = nodes, w.history, w.seed
	cfg.Transport = func(int) http.RoundTripper { return transport }
	load, err := history.NewWorkload(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return load, transport.CloseIdleConnections
}

// compareStates looks whether all nodes' states are the same, byte for byte.
func (w *simWorld) compareStates() {
	type view struct{ name, state string }
	var views []view
	for range 100 { // entries of the leader's upkeep may come between
		views = views[:0]
		for _, m := range w.machines {
			n := m.node()
			if n == nil {
				w.violation("%s is down at the end", m.name)
				return
			}
			index, sum, err := n.state.Digest()
			if err != nil {
				w.violation("digest of %s: %v", m.name, err)
				return
			}
			views = append(views, view{m.name, fmt.Sprintf("%d %x", index, sum[:8])})
		}
		differs := func(v view) bool { return v.state != views[0].state }
		if !slices.ContainsFunc(views, differs) {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	w.violation("the states differ: %v", views)
}

// report checks what the clients and the code of the tasks saw, fails the test with what was
// found, and says where the run's log is. Call it outside the bubble.
func (w *simWorld) report(t *testing.T) {
	t.Helper()
	found := w.violations
	if w.settled {
		r := history.Check(w.history.History(), w.journal.Entries(), history.Options{
			MinRate: simRate, Faults: w.effective, LeaseFaults: true, Grace: time.Minute,
		})
		found = append(found, r.Violations...)
		if *simSeeds == 1 {
			t.Logf("%d faults\n%v", w.effective, r)
		}
	}
	if len(found) == 0 {
		return
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("pytasks-sim-seed-%d-", w.seed))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "log"), w.log.Bytes(), 0o600)
	}
	if err == nil {
		err = w.history.History().Save(filepath.Join(dir, "history.jsonl"))
	}
	t.Errorf("seed %d broke %d promises; log and history are in %s (%v):\n%s", w.seed, len(found), dir, err,
		strings.Join(found[:min(len(found), 20)], "\n"))
}
