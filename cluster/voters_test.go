package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestVotersGrowToFive(t *testing.T) {
	nodes := trio(t)
	for i := 4; i <= 6; i++ {
		nodes = append(nodes, joining(t, nodes[:1], fmt.Sprint("node-", i)))
		lead := leader(t, nodes[:3])
		eventually(t, fmt.Sprintf("%d members of raft", i), func() bool {
			s := lead.Status()
			return len(s.Voters)+len(s.Nonvoters) == i
		})
	}
	waitVoters(t, nodes, 5)
	lead := leader(t, nodes)
	eventually(t, "one non-voter", func() bool { return len(lead.Status().Nonvoters) == 1 })
	propose(t, lead, "x")
	waitEntry(t, nodes, "x")

	// Two voters are removed: the sixth gets a vote, then there are four members and three voters.
	rest := followers(nodes, lead)
	for _, gone := range rest[:2] {
		asked := rest[4] // not the leader: the request is forwarded
		if err := asked.Remove(t.Context(), gone.cfg.ID); err != nil {
			t.Fatalf("Remove: %v", err)
		}
		if err := <-gone.fatal; !errors.Is(err, ErrRemoved) {
			t.Errorf("the removed node was told %v, want %v", err, ErrRemoved)
		}
		gone.Close()
		if _, err := tryOpen(t, gone.cfg); !errors.Is(err, ErrRemoved) {
			t.Errorf("a removed node opened again: %v", err)
		}
	}
	kept := slices.Concat([]*testNode{lead}, rest[2:])
	waitVoters(t, kept, 3)
	propose(t, leader(t, kept), "y")
	waitEntry(t, kept, "y")
	if err := lead.Remove(t.Context(), "nobody"); !errors.Is(err, ErrUnknownMember) {
		t.Errorf("Remove of nobody: got %v, want %v", err, ErrUnknownMember)
	}
}

func TestRemoveIsRefusedWithoutMajority(t *testing.T) {
	nodes := trio(t)
	lead := leader(t, nodes)
	rest := followers(nodes, lead)
	rest[0].Close()
	eventually(t, "the leader knows", func() bool {
		for _, m := range lead.Members() {
			if m.ID == rest[0].cfg.ID {
				return m.Status == Failed
			}
		}
		return false
	})
	if err := lead.Remove(t.Context(), rest[1].cfg.ID); !errors.Is(err, ErrUnsafe) {
		t.Errorf("got %v, want %v", err, ErrUnsafe)
	}
	if err := lead.Remove(t.Context(), rest[0].cfg.ID); err != nil {
		t.Errorf("removing the dead one: %v", err)
	}
}

func TestRemoveTheLeader(t *testing.T) {
	nodes := trio(t)
	lead := leader(t, nodes)
	rest := followers(nodes, lead)
	if err := lead.Remove(t.Context(), lead.cfg.ID); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if err := <-lead.fatal; !errors.Is(err, ErrRemoved) {
		t.Errorf("got %v, want %v", err, ErrRemoved)
	}
	lead.Close()
	propose(t, leader(t, rest), "x")
	waitEntry(t, rest, "x")
}

func TestDeadVoterIsReplaced(t *testing.T) {
	nodes := trio(t)
	lead := leader(t, nodes)
	spare := joining(t, nodes, "spare")
	nodes = append(nodes, spare)
	eventually(t, "a spare", func() bool { return len(lead.Status().Nonvoters) == 1 })
	dead := followers(nodes, lead)[0]
	dead.Close()
	eventually(t, "the spare votes instead", func() bool {
		s := lead.Status()
		return len(s.Voters) == 3 && slices.Contains(s.Voters, spare.cfg.ID) && slices.Contains(s.Nonvoters, dead.cfg.ID)
	})
	propose(t, lead, "x")
	waitEntry(t, []*testNode{spare}, "x")
}

// TestEmptyDiskAtTheSameAddress: a voter dies, and a node with its name and address and an empty disk starts before anyone
// has noticed. It is let in, and takes the vote.
func TestEmptyDiskAtTheSameAddress(t *testing.T) {
	nodes := trio(t)
	lead := leader(t, nodes)
	rest := followers(nodes, lead)
	dead := rest[0]
	cfg := config(t, dead.cfg.Name)
	cfg.GossipAddr, cfg.Addr = dead.Addrs()
	cfg.Join = gossipAddrs([]*testNode{lead, rest[1]})
	dead.Close()
	n := open(t, cfg)
	eventually(t, "the new node votes", func() bool {
		select {
		case err := <-n.fatal:
			t.Fatalf("the new node was stopped: %v", err)
		default:
		}
		s := lead.Status()
		return len(s.Voters) == 3 && slices.Contains(s.Voters, cfg.ID)
	})
	propose(t, lead, "x")
	waitEntry(t, []*testNode{n}, "x")
}

func TestAllRestartAtOtherAddresses(t *testing.T) {
	nodes := trio(t)
	propose(t, leader(t, nodes), "before")
	waitEntry(t, nodes, "before")
	for _, n := range nodes {
		n.Close()
	}
	var again []*testNode
	for i, n := range nodes {
		cfg := n.cfg
		cfg.Boot++
		cfg.GossipAddr, cfg.Addr = "127.0.0.1:0", "127.0.0.1:0"
		if cfg.Join = nil; i > 0 {
			cfg.Join = gossipAddrs(again[:1])
		}
		again = append(again, open(t, cfg))
	}
	lead := leader(t, again)
	propose(t, lead, "after")
	waitEntry(t, again, "before")
	waitEntry(t, again, "after")
	eventually(t, "the configuration has the new addresses", func() bool {
		for _, server := range lead.raft.GetConfiguration().Configuration().Servers {
			if addr, ok := lead.book.addr(string(server.ID)); !ok || addr != string(server.Address) {
				return false
			}
		}
		return true
	})
}

func TestRestartWithoutJoinAddress(t *testing.T) {
	nodes := trio(t)
	propose(t, leader(t, nodes), "before")
	var again []*testNode
	for _, n := range nodes {
		n.Close()
	}
	for _, n := range nodes {
		cfg := n.cfg
		cfg.GossipAddr, cfg.Addr = n.Addrs()
		cfg.Boot, cfg.Join = 2, nil // peers.json is enough
		again = append(again, open(t, cfg))
	}
	leader(t, again)
	waitEntry(t, again, "before")
}
