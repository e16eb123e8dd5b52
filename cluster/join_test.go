package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// freeAddrs reserves n loopback addresses for a moment.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

func TestBootstrapExpect(t *testing.T) {
	addrs := freeAddrs(t, 4)
	nodes := make([]*testNode, 4)
	var starts sync.WaitGroup
	for i := range nodes {
		cfg := config(t, fmt.Sprint("node-", i))
		cfg.GossipAddr, cfg.Join, cfg.BootstrapExpect = addrs[i], addrs, 4
		if i == 3 {
			continue // three of four must wait
		}
		starts.Go(func() { nodes[i], _ = tryOpen(t, cfg) })
	}
	starts.Wait()
	eventually(t, "three nodes know one another", func() bool { return len(nodes[0].Members()) == 3 })
	for _, n := range nodes[:3] {
		if _, known := n.Leader(); known || n.Status().ClusterID != "" {
			t.Fatalf("%s found a cluster of three where four were expected", n.cfg.Name)
		}
	}
	last := config(t, "node-3")
	last.GossipAddr, last.Join, last.BootstrapExpect = addrs[3], addrs, 4
	nodes[3] = open(t, last)
	waitVoters(t, nodes, 3)
	lead := leader(t, nodes)
	eventually(t, "four members of raft", func() bool {
		s := lead.Status()
		return len(s.Voters)+len(s.Nonvoters) == 4
	})
	propose(t, lead, "x")
	waitEntry(t, nodes, "x")
	for _, n := range nodes {
		if got, want := n.Status().ClusterID, lead.Status().ClusterID; got != want || got == "" {
			t.Errorf("%s is in cluster %q, want %q", n.cfg.Name, got, want)
		}
	}
}

// The founder is the node with the lowest id, and it may be the one that was up first: it reached nobody then, and the
// others reach it before it tries again.
func TestFounderThatWasFirst(t *testing.T) {
	addrs := freeAddrs(t, 3)
	var nodes []*testNode
	for i := range addrs {
		cfg := config(t, fmt.Sprint("node-", i))
		cfg.ID = fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", i)
		cfg.GossipAddr, cfg.Join, cfg.BootstrapExpect = addrs[i], addrs, 3
		nodes = append(nodes, open(t, cfg))
	}
	propose(t, leader(t, nodes), "x")
	waitEntry(t, nodes, "x")
}

func TestExpectingNodesJoinAnExistingCluster(t *testing.T) {
	a := open(t, config(t, "a"))
	leader(t, []*testNode{a})
	cfg := config(t, "b")
	cfg.Join, cfg.BootstrapExpect = gossipAddrs([]*testNode{a}), 1
	b := open(t, cfg)
	eventually(t, "b is in a's cluster", func() bool { return b.Status().ClusterID == a.Status().ClusterID })
	leader(t, []*testNode{a, b})
}

func TestGrantIsGivenOnce(t *testing.T) {
	cfg := config(t, "a")
	cfg.Join, cfg.BootstrapExpect = freeAddrs(t, 1), 3
	a := open(t, cfg)
	for _, test := range []struct {
		from string
		ok   bool
	}{{"x", true}, {"y", false}, {"x", true}} {
		if _, err := a.handleGrant(t.Context(), test.from, nil); (err == nil) != test.ok {
			t.Errorf("grant to %s: got %v", test.from, err)
		}
	}
	never := config(t, "b")
	never.Join = freeAddrs(t, 1)
	b := open(t, never)
	if _, err := b.handleGrant(t.Context(), "x", nil); err == nil {
		t.Error("a node that only joins granted a bootstrap")
	}
}

func TestNameTaken(t *testing.T) {
	a := open(t, config(t, "a"))
	cfg := config(t, "a")
	cfg.Join = gossipAddrs([]*testNode{a})
	_, err := tryOpen(t, cfg)
	if !errors.Is(err, ErrNameTaken) || !strings.Contains(err.Error(), `name "a" is already used by a live node at `) {
		t.Errorf("got %v, want %v", err, ErrNameTaken)
	}
	cfg.Name, cfg.Boot = "b", 2
	b := open(t, cfg)
	eventually(t, "b was added", func() bool { return len(a.Status().Nonvoters) == 1 })
	b.Close()
}

func TestSameNameAtTheSameTime(t *testing.T) {
	a := open(t, config(t, "a"))
	leader(t, []*testNode{a})
	// Two nodes called b that do not see each other when they start: the second joins through nobody at first.
	b := joining(t, []*testNode{a}, "b")
	eventually(t, "the first b was added", func() bool { return len(a.Status().Nonvoters) == 1 })
	cfg := config(t, "b")
	cfg.Join = freeAddrs(t, 1)
	second := open(t, cfg)
	if _, err := a.gossip.list.Join(gossipAddrs([]*testNode{second})); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-second.fatal:
		if !errors.Is(err, ErrNameTaken) {
			t.Errorf("got %v, want %v", err, ErrNameTaken)
		}
	case err := <-b.fatal:
		t.Errorf("the first b was stopped: %v", err)
	case <-time.After(20 * time.Second):
		t.Error("nobody was stopped")
	}
}

func TestForeignClusterIsRefused(t *testing.T) {
	a := open(t, config(t, "a"))
	home := config(t, "b")
	b := open(t, home) // founds its own
	b.Close()
	home.Join = gossipAddrs([]*testNode{a})
	if _, err := tryOpen(t, home); !errors.Is(err, ErrForeignCluster) {
		t.Errorf("got %v, want %v", err, ErrForeignCluster)
	}
	if got := len(a.Members()); got != 1 {
		t.Errorf("a knows %d members, want itself alone", got)
	}
}

func TestLeftAndFailedMembers(t *testing.T) {
	nodes := trio(t)
	status := func(id string) MemberStatus {
		for _, m := range nodes[0].Members() {
			if m.ID == id {
				return m.Status
			}
		}
		return "unknown"
	}
	changed := nodes[0].MembersChanged()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := nodes[1].Leave(ctx); err != nil {
		t.Errorf("Leave: %v", err)
	}
	eventually(t, "b left", func() bool { return status(nodes[1].cfg.ID) == Left })
	<-changed
	nodes[1].Close()
	nodes[2].Close()
	eventually(t, "c failed", func() bool { return status(nodes[2].cfg.ID) == Failed })
	if got := status(nodes[1].cfg.ID); got != Left {
		t.Errorf("b, which left and then stopped, is %s, want %s", got, Left)
	}
	if got := len(nodes[0].Status().Voters); got != 3 {
		t.Errorf("%d voters, want the configuration untouched", got)
	}
}

func TestLoadAndInfoAreGossiped(t *testing.T) {
	a := open(t, config(t, "a"))
	cfg := config(t, "b")
	cfg.Join, cfg.Info, cfg.Boot = gossipAddrs([]*testNode{a}), []byte("http=127.0.0.1:8080"), 7
	b := open(t, cfg)
	b.SetLoad(99)
	eventually(t, "b's load and info", func() bool {
		for _, m := range a.Members() {
			if m.ID == b.cfg.ID && m.Load == 99 && string(m.Info) == string(cfg.Info) && m.Boot == 7 && m.Status == Alive {
				return true
			}
		}
		return false
	})
}
