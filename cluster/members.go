package cluster

import (
	"cmp"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// MemberStatus is what gossip thinks of a member.
type MemberStatus string

// Role is a member's part in raft.
type Role string

const (
	Alive  MemberStatus = "alive"  // answers gossip, or is suspected for a moment
	Failed MemberStatus = "failed" // stopped answering without a word, or was not heard of since this node's start
	Left   MemberStatus = "left"   // said goodbye

	Voter    Role = "voter"    // its disk counts for a majority
	Nonvoter Role = "nonvoter" // receives the log
	None     Role = "none"     // not in raft's configuration
)

// Member is one node as this node sees it.
type Member struct {
	ID         string
	Name       string
	GossipAddr string
	Addr       string // cluster port
	Info       []byte // Config.Info of that node
	Boot       uint64 // its start counter; 0 = not heard of since this node's start
	Load       byte   // what it passed to SetLoad
	Status     MemberStatus
	Since      time.Time // of Status, by this node's clock
	Role       Role
	Leader     bool
}

// Members returns every known node, gossip's members and raft's, sorted by name.
func (c *Cluster) Members() []Member {
	roles := c.roles()
	leader, _ := c.Leader()
	var members []Member
	for _, n := range c.book.all() {
		role, ok := roles[n.id]
		if !ok {
			role = None
		}
		delete(roles, n.id)
		if role == None && !n.heard {
			continue // an address from the last run, no member any more
		}
		members = append(members, Member{ID: n.id, Name: n.name, GossipAddr: n.gossip, Addr: n.addr,
			Info: slices.Clone(n.info), Boot: n.boot, Load: n.load, Status: n.status(), Since: n.since, Role: role,
			Leader: n.id == leader})
	}
	for id, role := range roles { // in raft, but never heard of: its name is unknown
		members = append(members, Member{ID: id, Name: id, Status: Failed, Role: role, Leader: id == leader})
	}
	slices.SortFunc(members, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return members
}

// MembersChanged returns a channel that is closed when Members may answer differently. Get it before asking, and anew
// after each change.
func (c *Cluster) MembersChanged() <-chan struct{} { return c.membersChanged.wait() }

// SetLoad gossips how busy this node is, 0 to 255; at most twice a second leaves the node.
func (c *Cluster) SetLoad(load byte) {
	if byte(c.gossip.load.Swap(uint32(load))) != load {
		poke(c.gossip.loaded)
	}
}

func (c *Cluster) roles() map[string]Role {
	roles := make(map[string]Role)
	if c.raft == nil {
		return roles
	}
	for _, s := range c.raft.GetConfiguration().Configuration().Servers {
		if roles[string(s.ID)] = Nonvoter; s.Suffrage == raft.Voter {
			roles[string(s.ID)] = Voter
		}
	}
	return roles
}

// Votes reports whether the node with the given id is a voter.
func (c *Cluster) Votes(id string) bool { return c.roles()[id] == Voter }

// Status is this node's view of the log.
type Status struct {
	ClusterID     string // "" = not in a cluster yet
	State         string // "leader", "follower", "candidate" or "shutdown"
	Leader        string // node id; "" = unknown
	Ready         bool   // this node leads and serves as the leader
	Term          uint64
	CommitIndex   uint64
	LastIndex     uint64
	Applied       uint64 // by the state machine itself
	SnapshotIndex uint64
	LastContact   time.Duration // since the leader was heard; 0 on the leader, negative = never
	Voters        []string      // node ids
	Nonvoters     []string
}

// Status returns the present state.
func (c *Cluster) Status() Status {
	s := Status{State: stateName(c.raft.State()), Ready: c.IsLeader(), Term: c.raft.CurrentTerm(),
		CommitIndex: c.raft.CommitIndex(), LastIndex: c.raft.LastIndex(), Applied: c.cfg.Applied(), LastContact: -1}
	if c.cluster.Load() != nil {
		s.ClusterID = c.clusterID().String()
	}
	s.Leader, _ = c.Leader()
	s.SnapshotIndex, _ = c.stores.newestSnapshot()
	if last := c.raft.LastContact(); c.raft.State() == raft.Leader {
		s.LastContact = 0
	} else if !last.IsZero() {
		s.LastContact = time.Since(last)
	}
	for _, server := range c.raft.GetConfiguration().Configuration().Servers {
		if server.Suffrage == raft.Voter {
			s.Voters = append(s.Voters, string(server.ID))
		} else {
			s.Nonvoters = append(s.Nonvoters, string(server.ID))
		}
	}
	return s
}

func stateName(s raft.RaftState) string {
	switch s {
	case raft.Leader:
		return "leader"
	case raft.Follower:
		return "follower"
	case raft.Candidate:
		return "candidate"
	}
	return "shutdown"
}
