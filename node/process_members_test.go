package node

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"pytasks/node/client"
)

// TestProcessMembersComeAndGo: five nodes join one by one, two die and are removed, the
// rest is stopped and comes back under other addresses: one leader, the same data.
func TestProcessMembersComeAndGo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	ps := processes{newProcess(t, "n1")}
	ps[0].start()
	ps[0].ready()
	for i := 2; i <= 5; i++ {
		p := newProcess(t, fmt.Sprintf("n%d", i), ps.joinFlags()...)
		ps = append(ps, p)
		p.start()
		p.ready()
		ps.waitVoters(i - 1 + i%2) // the largest odd number
	}
	all := ps.sums(300, 10, nil)
	ps.checkSums(all, 0)

	leader := ps.leader()
	gone := processes{leader, ps.without(leader)[1]}
	rest := ps.without(gone...)
	for _, p := range gone {
		p.kill()
	}
	for i, p := range gone {
		p.remove(t, rest[i], i == 0)
	}
	for _, p := range rest {
		eventually(t, 10*time.Second, p.name+" forgets the removed nodes", func() error {
			members, err := p.members()
			if err == nil && len(members) != len(rest) {
				err = fmt.Errorf("got %d members, want %d", len(members), len(rest))
			}
			return err
		})
	}
	rest.waitVoters(3)

	ids := map[string]string{}
	for name, m := range rest.mustMembers() {
		ids[name] = m.ID
	}
	for _, p := range rest {
		p.stop()
		p.newPorts()
	}
	for _, p := range rest {
		p.flags = rest.joinFlags()
		p.start()
	}
	rest.ready()
	rest.leader()
	rest.waitVoters(3)
	for name, m := range rest.mustMembers() {
		if m.ID != ids[name] {
			t.Errorf("%s came back as node %s, want %s", name, m.ID, ids[name])
		}
	}
	rest.checkSums(all, 0)
	rest[0].succeeded(rest[0].submit((&sum{number: 7}).body()), 10*time.Second)
}

// remove has a node removed for good through another one, by its name: over the API, or
// by the command line.
func (p *process) remove(t *testing.T, through *process, api bool) {
	t.Helper()
	eventually(t, 20*time.Second, p.name+" is removed", func() error {
		if api {
			a, err := send(through, http.MethodDelete, "/nodes/"+p.name, "", bearer(client.ReadLocalToken(client.LocalTokenDir(os.Getenv), through.http))...)
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%v", a)
			}
			return err
		}
		code, out := command(t, "node", "rm", "--addr", through.http, p.name)
		if code != 0 {
			return errors.New(out)
		}
		return nil
	})
}

// waitStatus waits until every node sees some others in a status.
func (ps processes) waitStatus(want string, others ...*process) {
	t := ps[0].t
	t.Helper()
	for _, p := range ps {
		for _, other := range others {
			eventually(t, 30*time.Second, fmt.Sprintf("%s sees %s as %s", p.name, other.name, want), func() error {
				members, err := p.members()
				if got := members[other.name].Status; err == nil && got != want {
					err = fmt.Errorf("got %q", got)
				}
				return err
			})
		}
	}
}

// waitVoters waits until every node that runs sees so many voters.
func (ps processes) waitVoters(want int) {
	t := ps[0].t
	t.Helper()
	for _, p := range ps.up() {
		eventually(t, 20*time.Second, fmt.Sprintf("%s sees %d voters", p.name, want), func() error {
			members, err := p.members()
			if err != nil {
				return err
			}
			voters := 0
			for _, m := range members {
				if m.Role == "voter" {
					voters++
				}
			}
			if voters != want {
				return fmt.Errorf("got %d of %d members", voters, len(members))
			}
			return nil
		})
	}
}

// mustMembers returns the members as the first node sees them.
func (ps processes) mustMembers() map[string]client.Member {
	ps[0].t.Helper()
	members, err := ps[0].members()
	if err != nil {
		ps[0].t.Fatal(err)
	}
	return members
}

// TestProcessClusterStatus: a cluster says in words how it is, when it is whole and when it is not.
func TestProcessClusterStatus(t *testing.T) {
	ps := startCluster(t, 3)
	leader := ps.leader()
	out, err := leader.tool("cluster", "status")
	if err != nil || !strings.Contains(out, leader.name+" leads.") || !strings.Contains(out, "goes on when one more node fails") {
		t.Errorf("whole: %v: %s", err, out)
	}
	rest := ps.without(leader)
	rest[0].kill()
	eventually(t, 20*time.Second, "one is down", func() error {
		if out, err := leader.tool("cluster", "status"); err == nil || !strings.Contains(out, "no further node may fail: 2 of 3") || !strings.Contains(out, "pytasks node rm "+rest[0].name) {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
	rest[1].kill()
	eventually(t, 20*time.Second, "the majority is lost", func() error {
		// Gossip takes a while to find the second one dead, and there is no leader to say so.
		if out, err := leader.tool("cluster", "status"); err == nil || !strings.Contains(out, "there is no leader") {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
}
