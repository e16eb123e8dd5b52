package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// scene describes a situation in words: each word is one node, "id:role:state", where role is V (voter), N (non-voter)
// or - (not configured) and state is up, down (for a second), gone (long enough to be replaced), lost (for days) or ok
// (up and caught up). The first is the leader. Addresses are "at-"+id unless changed afterwards.
func scene(words string) situation {
	now := time.Now()
	home := uuid.New()
	s := situation{notes: make(map[string]note), caughtUp: make(map[string]bool), now: now, max: 5,
		dead: 30 * time.Second, forget: 72 * time.Hour}
	for word := range strings.FieldsSeq(words) {
		parts := strings.Split(word, ":")
		id, role, state := parts[0], parts[1], parts[2]
		if s.self == "" {
			s.self = id
		}
		if role != "-" {
			server := raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress("at-" + id)}
			if role == "N" {
				server.Suffrage = raft.Nonvoter
			}
			s.servers = append(s.servers, server)
		}
		age := map[string]time.Duration{"up": 0, "ok": 0, "down": time.Second, "gone": time.Minute, "lost": 80 * time.Hour}
		s.notes[id] = note{id: id, meta: meta{cluster: home, name: "name-" + id, addr: "at-" + id},
			alive: state == "up" || state == "ok", since: now.Add(-age[state]), heard: true}
		s.caughtUp[id] = state == "ok"
	}
	return s
}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		name, words string
		alter       func(s *situation)
		want        what
		id          string
	}{
		{name: "alone", words: "a:V:up"},
		{name: "newcomer", words: "a:V:up b:-:up", want: addNonvoter, id: "b"},
		{name: "removed and still called alive", words: "a:V:up b:-:up", alter: func(s *situation) {
			n := s.notes["b"]
			n.boot, n.out = 2, 2
			s.notes["b"] = n
		}},
		{name: "removed and started again", words: "a:V:up b:-:up", alter: func(s *situation) {
			n := s.notes["b"]
			n.boot, n.out = 3, 2
			s.notes["b"] = n
		}, want: addNonvoter, id: "b"},
		{name: "newcomer that is down", words: "a:V:up b:-:down"},
		{name: "two stay one voter", words: "a:V:up b:N:ok"},
		{name: "no even number", words: "a:V:up b:N:ok c:N:up"},
		{name: "third makes two voters", words: "a:V:up b:N:ok c:N:ok", want: addVoter, id: "b"},
		{name: "then three", words: "a:V:up b:V:up c:N:ok", want: addVoter, id: "c"},
		{name: "not caught up", words: "a:V:up b:V:up c:N:up"},
		{name: "steady three", words: "a:V:up b:V:up c:V:up"},
		{name: "fourth does not vote", words: "a:V:up b:V:up c:V:up d:N:ok"},
		{name: "fifth does", words: "a:V:up b:V:up c:V:up d:N:ok e:N:ok", want: addVoter, id: "d"},
		{name: "sixth does not", words: "a:V:up b:V:up c:V:up d:V:up e:V:up f:N:ok"},
		{name: "a short absence changes nothing", words: "a:V:up b:V:up c:V:down d:N:ok"},
		{name: "a dead voter is replaced", words: "a:V:up b:V:up c:V:gone d:N:ok", want: addVoter, id: "d"},
		{name: "and then loses its vote", words: "a:V:up b:V:up c:V:gone d:V:up", want: demote, id: "c"},
		{name: "no replacement, no change", words: "a:V:up b:V:up c:V:gone"},
		{name: "never the leader", words: "a:V:up b:V:up c:V:up d:V:up", want: demote, id: "d"},
		{name: "five with two dead become three", words: "a:V:up b:V:up c:V:up d:V:gone e:V:gone", want: demote, id: "e"},
		{name: "five with one dead", words: "a:V:up b:V:up c:V:up d:V:gone e:V:up", want: demote, id: "d"},
		{name: "a gone one of four voters", words: "a:V:up b:V:up c:V:gone d:V:down", want: demote, id: "c"},
		{name: "unsafe to demote", words: "a:V:up b:V:up c:V:down d:V:down e:V:gone", alter: func(s *situation) { s.max = 3 },
			want: nothing},
		{name: "a lost non-voter is dropped", words: "a:V:up b:N:lost", want: remove, id: "b"},
		{name: "a dead one is kept", words: "a:V:up b:N:gone"},
		{name: "moved voter", words: "a:V:up b:V:up c:V:up", alter: func(s *situation) { s.move("b", "new") },
			want: addVoter, id: "b"},
		{name: "moved non-voter", words: "a:V:up b:N:up", alter: func(s *situation) { s.move("b", "new") },
			want: addNonvoter, id: "b"},
		{name: "new node at a dead one's address", words: "a:V:up b:V:up c:V:down d:-:up",
			alter: func(s *situation) { s.move("d", "at-c") }, want: remove, id: "c"},
		{name: "new node at a living one's address", words: "a:V:up b:V:up c:V:up d:-:up",
			alter: func(s *situation) { s.move("d", "at-c") }},
		{name: "unsafe to remove the old entry", words: "a:V:up b:V:down c:V:down d:-:up",
			alter: func(s *situation) { s.move("d", "at-c") }},
		{name: "name in use", words: "a:V:up b:-:up", alter: func(s *situation) {
			n := s.notes["b"]
			n.name = "name-a"
			s.notes["b"] = n
		}},
		{name: "not of this cluster yet", words: "a:V:up b:-:up", alter: func(s *situation) {
			n := s.notes["b"]
			n.cluster = uuid.Nil
			s.notes["b"] = n
		}},
		{name: "leaving newcomer", words: "a:V:up b:-:up", alter: func(s *situation) {
			n := s.notes["b"]
			n.flags = flagLeaving
			s.notes["b"] = n
		}},
		{name: "one voter at most", words: "a:V:up b:N:ok c:N:ok", alter: func(s *situation) { s.max = 1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := scene(test.words)
			if test.alter != nil {
				test.alter(&s)
			}
			if got := plan(s); got.what != test.want || got.id != test.id {
				t.Errorf("got %s %s (%s), want %s %s", got.what, got.id, got.why, test.want, test.id)
			}
		})
	}
}

func (s *situation) move(id, addr string) {
	n := s.notes[id]
	n.addr = addr
	s.notes[id] = n
}

// Two members that swapped addresses get there in finitely many steps, none of which names one address twice.
func TestPlanSwappedAddresses(t *testing.T) {
	s := scene("a:V:up b:V:up c:V:up")
	s.move("b", "at-c")
	s.move("c", "at-b")
	for range 10 {
		step := plan(s)
		if step.what == nothing {
			break
		}
		for i := range s.servers {
			if string(s.servers[i].ID) == step.id {
				s.servers[i].Address = raft.ServerAddress(step.addr)
			} else if string(s.servers[i].Address) == step.addr {
				t.Fatalf("%s gets %s, which %s has", step.id, step.addr, s.servers[i].ID)
			}
		}
	}
	if b, c := s.servers[1].Address, s.servers[2].Address; b != "at-c" || c != "at-b" {
		t.Errorf("got b at %s and c at %s, want them swapped", b, c)
	}
}

// Whatever the start, repeated steps end, never lose the living majority, and reach the target where enough can vote.
func TestPlanConverges(t *testing.T) {
	states := []string{"up", "ok", "down", "gone"}
	for start := range 4 * 4 * 4 * 4 * 2 * 2 {
		words, n := "a:V:up", start
		for _, id := range []string{"b", "c", "d", "e"} {
			role := "V"
			if id > "c" {
				role = string("VN"[n%2])
				n /= 2
			}
			words += " " + id + ":" + role + ":" + states[n%4]
			n /= 4
		}
		s := scene(words)
		if !s.safeWithout("nobody") {
			continue // no majority to begin with: no leader
		}
		steps := 0
		for ; ; steps++ {
			step := plan(s)
			if step.what == nothing {
				break
			}
			if steps > 20 {
				t.Fatalf("%s: no end, now %s %s", words, step.what, step.id)
			}
			s.apply(step)
			if !s.safeWithout("nobody") {
				t.Fatalf("%s: %s %s loses the majority", words, step.what, step.id)
			}
		}
		if voters, _ := s.voters(); len(voters) > s.target() && steps > 0 && len(voters)%2 == 0 {
			for _, id := range voters {
				if id != s.self && s.safeWithout(id) {
					t.Errorf("%s: ends with %v, target %d", words, voters, s.target())
					break
				}
			}
		}
	}
}

func (s *situation) apply(step change) {
	kept := s.servers[:0]
	for _, server := range s.servers {
		if string(server.ID) == step.id {
			switch step.what {
			case addVoter:
				server.Suffrage = raft.Voter
			case demote:
				server.Suffrage = raft.Nonvoter
			case remove:
				continue
			}
		}
		kept = append(kept, server)
	}
	s.servers = kept
}
