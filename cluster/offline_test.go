package cluster

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// offline opens the files of a node that was closed, for the time of a test.
func offline(t *testing.T, n *testNode) *Offline {
	t.Helper()
	o, err := OpenOffline(n.cfg.Dir, n.cfg.ID, testLogger(t, n.cfg.Name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// recover1 makes a closed node the only one of a new cluster and starts it again.
func recover1(t *testing.T, n *testNode, join ...*testNode) *testNode {
	t.Helper()
	o, fsm := offline(t, n), &memory{}
	if _, err := o.Recover(fsm, fsm.applied); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(n.cfg.Dir, peersFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the addresses of the old members are still there: %v", err)
	}
	cfg := n.cfg
	cfg.Boot, cfg.Join = cfg.Boot+1, gossipAddrs(join)
	return open(t, cfg)
}

// TestRecover: of three nodes two are lost for good. The third goes on alone, with all that it had, in a new cluster; nodes of the old
// one are refused, and told why, and new ones are taken in.
func TestRecover(t *testing.T) {
	nodes := trio(t)
	a, b := nodes[0], nodes[1]
	for _, entry := range []string{"one", "two", "three"} {
		propose(t, leader(t, nodes), entry)
	}
	eventually(t, "a has all", func() bool { return a.fsm.has("three") })
	old := a.ID()
	for _, n := range nodes {
		n.Close()
	}

	o := offline(t, a)
	found, err := o.Look()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range found.Voters {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	if found.Cluster != old || len(names) != 3 || !slices.Contains(names, "b") || !slices.Contains(names, "c") || found.Last < 3 || found.Term == 0 {
		t.Errorf("found %+v, want cluster %s with the voters b, c and this one", found, old)
	}
	o.Close()

	b.cfg.Boot++
	b = open(t, b.cfg) // it comes back too early, and waits for the others
	a = recover1(t, a, b)
	eventually(t, "a leads", func() bool { return a.IsLeader() })
	propose(t, leader(t, []*testNode{a}), "four")
	for _, entry := range []string{"one", "two", "three", "four"} {
		if !a.fsm.has(entry) {
			t.Errorf("the recovered node has lost %q", entry)
		}
	}
	if s := a.Status(); a.ID() == old || len(s.Voters) != 1 || s.Term < found.Term || s.LastIndex <= found.Last {
		t.Errorf("after the recovery: cluster %s, %+v; want another than %s, alone, and the log to go on behind entry %d of term %d", a.ID(), s, old, found.Last, found.Term)
	}
	if b.IsLeader() || len(a.Members()) != 1 {
		t.Errorf("b leads: %v; a knows %d members, want itself alone", b.IsLeader(), len(a.Members()))
	}
	b.Close()

	b.cfg.Join = gossipAddrs([]*testNode{a})
	b.cfg.Boot++
	if _, err := tryOpen(t, b.cfg); !errors.Is(err, ErrForeignCluster) || !strings.Contains(err.Error(), "the nodes of the old one have to stop, and to start with empty data directories") {
		t.Errorf("an old node comes back: got %v, want that it is told to start with an empty directory", err)
	}
	d := joining(t, []*testNode{a}, "d")
	eventually(t, "d has all", func() bool { return d.fsm.has("one") && d.fsm.has("four") })
}

// TestRecoverAgain: a recovery that ended in the middle is made again, and one of a cluster that was recovered before is made like the first.
func TestRecoverAgain(t *testing.T) {
	a := open(t, config(t, "a"))
	propose(t, leader(t, []*testNode{a}), "one")
	ids := []string{a.ID()}
	a.Close()
	var own identity
	if err := loadJSON(a.cfg.Dir, identityFile, &own); err != nil {
		t.Fatal(err)
	}
	if err := saveJSON(a.cfg.Dir, identityFile, own.successor()); err != nil { // that was all that the first try did
		t.Fatal(err)
	}
	for range 2 {
		a = recover1(t, a)
		eventually(t, "a leads", func() bool { return a.IsLeader() && a.fsm.has("one") })
		if slices.Contains(ids, a.ID()) {
			t.Errorf("the cluster %s is recovered under an id that it had", a.ID())
		}
		ids = append(ids, a.ID())
		a.Close()
	}
	if err := loadJSON(a.cfg.Dir, identityFile, &own); err != nil || len(own.Former) != 3 || own.Former[0].String() != ids[0] {
		t.Errorf("it was made of %v, %v; want three clusters, %s the first", own.Former, err, ids[0])
	}
}

// TestRecoverRefuses: what has no past, or not all of it, is not recovered.
func TestRecoverRefuses(t *testing.T) {
	if _, err := OpenOffline(t.TempDir(), "id", nil); err == nil || !strings.Contains(err.Error(), "no raft log") {
		t.Errorf("an empty directory: got %v", err)
	}
	a := open(t, config(t, "a"))
	propose(t, leader(t, []*testNode{a}), "one")
	a.Close()
	fsm := &memory{durable: 1000}
	o := offline(t, a)
	if _, err := o.Recover(fsm, fsm.applied); err == nil || !strings.Contains(err.Error(), "the log was lost") {
		t.Errorf("with a state that is ahead of its log: got %v", err)
	}
	o.Close()
	a = open(t, a.cfg)
	eventually(t, "a leads", a.IsLeader)
	if !a.fsm.has("one") {
		t.Error("a refused recovery has changed something")
	}
}

// TestSeed: a node whose files were made of a snapshot leads a cluster whose log goes on behind it, and others join it.
func TestSeed(t *testing.T) {
	cfg, former := config(t, "a"), uuid.NewString()
	state := func(w io.Writer) error { return json.NewEncoder(w).Encode(memoryState{700, []string{"one", "two"}}) }
	id, err := Seed(cfg.Dir, cfg.ID, former, 700, 9, state, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, cfg)
	eventually(t, "a leads", func() bool { return a.IsLeader() })
	propose(t, leader(t, []*testNode{a}), "three")
	if s := a.Status(); a.ID() != id || id == former || s.Term < 10 || s.LastIndex <= 700 || !a.fsm.has("two") {
		t.Errorf("cluster %s, %+v; want %s, in a term after 9, a log behind 700, and what the snapshot had", a.ID(), s, id)
	}
	b := joining(t, []*testNode{a}, "b")
	eventually(t, "b has all", func() bool { return b.fsm.has("one") && b.fsm.has("three") })
	a.Close()
	a.cfg.Boot++
	a = open(t, a.cfg)
	eventually(t, "a is back", func() bool { return a.fsm.has("three") && a.Status().Leader != "" })

	broken := errors.New("no such bytes")
	dir := t.TempDir()
	if _, err := Seed(dir, "id", former, 700, 9, func(io.Writer) error { return broken }, nil); !errors.Is(err, broken) {
		t.Errorf("a state that cannot be read: got %v, want %v", err, broken)
	}
	if _, err := os.Stat(filepath.Join(dir, identityFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it has got an identity all the same: %v", err)
	}
}
