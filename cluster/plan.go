package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

// change is one step towards the configuration that plan wants.
type change struct {
	what what
	id   string
	addr string // for addNonvoter and addVoter
	why  string
}

type what int

const (
	nothing what = iota
	addNonvoter
	addVoter // also promotes, and renews a voter's address
	demote
	remove
)

// situation is everything that plan looks at.
type situation struct {
	self     string
	servers  []raft.Server   // the configuration
	notes    map[string]note // what gossip says
	caughtUp map[string]bool // non-voters that have kept up long enough to vote
	now      time.Time
	max      int           // voters
	dead     time.Duration // a voter that is gone this long is replaced
	forget   time.Duration // a non-voter that is gone this long is dropped
}

// plan returns the next step, or nothing. It is called again after each step, so the order of the rules is their
// priority:
//
//  1. members that moved get their new address;
//  2. an old entry at a newcomer's address goes, then newcomers are added as non-voters;
//  3. voters above the target lose their vote, those gone first, never the leader;
//  4. caught-up non-voters get a vote while there are too few living voters;
//  5. non-voters that are gone for days are dropped.
//
// No step leaves the voters without a living majority. The target is the largest odd number of living members, at most
// max; once three members are configured it never falls below three just because some are gone: two voters fewer would
// mean that an answer rests on one disk.
func plan(s situation) change {
	for _, rule := range []func(situation) change{planAddress, planNewcomer, planDemotion, planPromotion, planForget} {
		if c := rule(s); c.what != nothing {
			return c
		}
	}
	return change{}
}

func planAddress(s situation) change {
	for _, server := range s.servers {
		n, ok := s.notes[string(server.ID)]
		if !ok || !n.alive || n.addr == "" || n.addr == string(server.Address) {
			continue
		}
		c := change{what: addNonvoter, id: n.id, addr: n.addr, why: "its address changed"}
		if server.Suffrage == raft.Voter {
			c.what = addVoter
		}
		if _, taken := s.serverAt(n.addr); taken { // two swapped addresses: step aside, the id finds the node anyway
			if c.addr = n.id; string(server.Address) == n.id {
				continue
			}
		}
		return c
	}
	return change{}
}

func planNewcomer(s situation) change {
	for _, n := range s.sorted() {
		if !n.alive || n.status() != Alive || n.addr == "" || !s.sameCluster(n) || s.configured(n.id) || s.nameTaken(n) {
			continue
		}
		if n.out != 0 && n.out >= n.boot {
			continue // removed, and not started since
		}
		old, taken := s.serverAt(n.addr)
		if !taken {
			return change{what: addNonvoter, id: n.id, addr: n.addr, why: "it joined"}
		}
		if id := string(old.ID); !s.notes[id].alive && (old.Suffrage != raft.Voter || s.safeWithout(id)) {
			return change{what: remove, id: id, why: "a new node has its address"}
		}
	}
	return change{}
}

func planDemotion(s situation) change {
	voters, _ := s.voters()
	if len(voters) <= s.target() {
		return change{}
	}
	for _, gone := range []bool{true, false} {
		for i := len(voters) - 1; i >= 0; i-- {
			if id := voters[i]; id != s.self && s.gone(id) == gone && s.safeWithout(id) {
				why := "there are enough voters"
				if gone {
					why = "it is gone"
				}
				return change{what: demote, id: id, why: why}
			}
		}
	}
	return change{}
}

func planPromotion(s situation) change {
	voters, living := s.voters()
	if living >= s.target() {
		return change{}
	}
	var ready []change
	for _, server := range s.servers {
		n := s.notes[string(server.ID)]
		if server.Suffrage != raft.Voter && s.caughtUp[n.id] && n.status() == Alive {
			ready = append(ready, change{what: addVoter, id: n.id, addr: string(server.Address),
				why: "it has caught up"})
		}
	}
	pair := len(voters)%2 == 1 && living == len(voters) // an even number stands no more failures than one less
	if len(ready) == 0 || pair && len(ready) < 2 {
		return change{}
	}
	return ready[0]
}

func planForget(s situation) change {
	for _, server := range s.servers {
		id := string(server.ID)
		if n := s.notes[id]; server.Suffrage != raft.Voter && !n.alive && s.now.Sub(n.since) > s.forget {
			return change{what: remove, id: id, why: "it has been gone for too long"}
		}
	}
	return change{}
}

// wantsVoters reports whether plan would promote a caught-up non-voter.
func (s situation) wantsVoters() bool {
	_, living := s.voters()
	return living < s.target()
}

// target returns how many voters there should be.
func (s situation) target() int {
	living := 0
	for _, server := range s.servers {
		if !s.gone(string(server.ID)) {
			living++
		}
	}
	return largestOdd(min(s.max, max(living, min(3, len(s.servers)))))
}

// voters returns the ids of the voters, and how many of them are not gone.
func (s situation) voters() (ids []string, living int) {
	for _, server := range s.servers {
		if server.Suffrage == raft.Voter {
			ids = append(ids, string(server.ID))
			if !s.gone(string(server.ID)) {
				living++
			}
		}
	}
	return ids, living
}

// gone reports whether a member is not alive and has not been for a while: a restart is no reason to act.
func (s situation) gone(id string) bool {
	n := s.notes[id]
	return id != s.self && !n.alive && s.now.Sub(n.since) > s.dead
}

// safeWithout reports whether the voters other than id have a majority that is alive at this moment.
func (s situation) safeWithout(id string) bool {
	ids, _ := s.voters()
	rest, alive := 0, 0
	for _, voter := range ids {
		if voter == id {
			continue
		}
		rest++
		if voter == s.self || s.notes[voter].alive {
			alive++
		}
	}
	return alive >= rest/2+1
}

func (s situation) configured(id string) bool {
	for _, server := range s.servers {
		if string(server.ID) == id {
			return true
		}
	}
	return false
}

func (s situation) serverAt(addr string) (raft.Server, bool) {
	for _, server := range s.servers {
		if string(server.Address) == addr {
			return server, true
		}
	}
	return raft.Server{}, false
}

// nameTaken reports whether another live member has the newcomer's name. One whose address the newcomer has is not alive,
// whatever gossip says yet.
func (s situation) nameTaken(newcomer note) bool {
	for id, n := range s.notes {
		if id != newcomer.id && n.name == newcomer.name && n.addr != newcomer.addr && n.status() == Alive && s.configured(id) {
			return true
		}
	}
	return false
}

// sameCluster reports whether a node has taken the cluster's id: before that it refuses raft.
func (s situation) sameCluster(n note) bool { return n.cluster == s.notes[s.self].cluster }
