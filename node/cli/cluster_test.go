package cli

import (
	"strings"
	"testing"

	"pytasks/node/client"
)

func TestJudgeCluster(t *testing.T) {
	node := func(name, role, status, version string) client.Member {
		return client.Member{Name: name, Role: role, Status: status, Version: version}
	}
	voter := func(name string) client.Member { return node(name, "voter", "alive", "v1") }
	lost := func(name string) client.Member { return node(name, "voter", "failed", "v1") }
	for name, c := range map[string]struct {
		leader string
		nodes  []client.Member
		checks []string
		says   []string
		wrong  []string
	}{
		"one": {"a", []client.Member{voter("a")}, nil, []string{"1 node, 1 of them voting: a.", "a leads.", "its disk has the only copy"}, nil},
		"two": {"a", []client.Member{voter("a"), voter("b")}, nil, []string{"Two voting nodes tolerate no failure"}, nil},
		"three": {"b", []client.Member{voter("a"), voter("b"), voter("c")}, []string{"[+]leader ok", "[+]disk ok"},
			[]string{"b leads.", "goes on when one more node fails."}, nil},
		"five, and one that does not vote": {"b", []client.Member{voter("a"), voter("b"), voter("c"), voter("d"), voter("e"), node("f", "nonvoter", "alive", "v1")}, nil,
			[]string{"6 nodes, 5 of them voting", "goes on when 2 more nodes fail."}, nil},
		"one of three down": {"a", []client.Member{voter("a"), voter("b"), lost("c")}, nil, []string{"a leads."},
			[]string{"no further node may fail: 2 of 3", "node c is down", "pytasks node rm c"}},
		"two of three down": {"", []client.Member{voter("a"), lost("b"), lost("c")}, []string{"[-]leader failed: no leader is known"}, nil,
			[]string{"no leader, as 1 of 3 voting nodes are up and 2 are needed", "node b is down", "node c is down"}},
		"electing": {"", []client.Member{voter("a"), voter("b"), voter("c")}, nil, nil, []string{"elect one within seconds"}},
		"versions": {"a", []client.Member{voter("a"), voter("b"), node("c", "voter", "alive", "v2")}, nil, nil, []string{"a, b run v1; c runs v2"}},
		"drained": {"a", []client.Member{voter("a"), {Name: "b", Role: "voter", Status: "alive", Version: "v1", Draining: true, Lasting: true, Running: 2},
			{Name: "c", Role: "voter", Status: "alive", Version: "v1", Draining: true, Lasting: true, Drained: true}, {Name: "d", Role: "voter", Status: "alive", Version: "v1", Draining: true}}, nil,
			[]string{"b is being drained: 2 tasks given to it", "c is drained: it takes no tasks and may be stopped", "pytasks node resume c", "d takes no new tasks: it is draining, as it stops"}, nil},
		"all drained": {"a", []client.Member{{Name: "a", Role: "voter", Status: "alive", Draining: true, Lasting: true, Drained: true}}, nil,
			nil, []string{"no node takes tasks: pytasks node resume a"}},
		"disk": {"a", []client.Member{voter("a"), voter("b"), voter("c")}, []string{"[+]disk ok, but new tasks are refused", "[-]sync failed: the state is behind"}, nil,
			[]string{"node n: new tasks are refused", "node n is not ready: sync failed: the state is behind"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := judgeCluster(&client.Cluster{Leader: c.leader, Nodes: c.nodes, Tasks: map[string]int{"PENDING": 1}})
			h.judgeChecks("n", c.checks)
			said, wrong := strings.Join(h.said, "\n"), strings.Join(h.wrong, "\n")
			for _, want := range append(c.says, "1 task waits") {
				if !strings.Contains(said, want) {
					t.Errorf("says\n%s\nwant %q in it", said, want)
				}
			}
			for _, want := range c.wrong {
				if !strings.Contains(wrong, want) {
					t.Errorf("finds wrong\n%s\nwant %q in it", wrong, want)
				}
			}
			if len(c.wrong) == 0 && len(h.wrong) > 0 {
				t.Errorf("finds wrong\n%s\nwant nothing", wrong)
			}
		})
	}
}
