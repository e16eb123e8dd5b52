package node

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestProcessLabels: tasks that ask for labels run on nodes that have them and wait where there is none, also after those
// nodes were restarted and others have led. What a node is given while it runs wins over what it is started with.
func TestProcessLabels(t *testing.T) {
	ps := startMixed(t, []string{"--label", "zone=eu,disk=ssd"}, []string{"--label", "zone=us"}, nil)
	ps.workersReady()
	ran := func(where string) map[string]bool {
		t.Helper()
		on := map[string]bool{}
		for _, task := range ps.runAll(repeat(sleepFor(10*time.Millisecond, `"where":`+where), 24), 24) {
			on[task.Node] = true
		}
		return on
	}
	only := func(where string, names ...string) {
		t.Helper()
		want := map[string]bool{}
		for _, name := range names {
			want[name] = true
		}
		if got := ran(where); !maps.Equal(got, want) {
			t.Errorf("tasks for %s ran on %v, want %v", where, got, want)
		}
	}
	only(`{"zone":"eu"}`, "n1")
	only(`{"zone":"us"}`, "n2")

	waits := ps[0].submit(sleepFor(0, `"where":{"gpu":"yes","zone":"eu"}`))
	a := ps[1].must(http.StatusAccepted, http.MethodGet, "/task/"+waits+"?wait=300ms", "")
	if got := member(a.body, "status"); got != "PENDING" || !strings.Contains(string(a.body), `"where":{"gpu":"yes","zone":"eu"}`) {
		t.Errorf("a task that no node fits: %s, want it PENDING, with what it asks for", a.body)
	}
	if out := ps[2].tools("task", "get", waits); !strings.Contains(out, "gpu=yes,zone=eu") {
		t.Errorf("task get printed %s", out)
	}
	if out := ps[0].tools("node", "label", "n3", "gpu=yes", "zone=eu"); !strings.Contains(out, "n3 is labelled") {
		t.Errorf("label printed %q", out)
	}
	if task := ps[2].succeeded(waits, 10*time.Second); task.Node != "n3" {
		t.Errorf("it ran on %s, want n3", task.Node)
	}
	ps[0].tools("node", "label", "n1", "zone=asia", "disk-")
	only(`{"zone":"eu"}`, "n3")
	only(`{"zone":"asia"}`, "n1")

	// Restarted, and led by another one.
	ps[0].stop()
	ps[0].start()
	ps[0].ready()
	leader := ps.leader()
	leader.tools("cluster", "stepdown")
	eventually(t, 10*time.Second, "another one leads", func() error {
		if ps.leader() == leader {
			return errors.New("not yet")
		}
		return nil
	})
	ps.workersReady()
	only(`{"zone":"asia"}`, "n1")
	labelled := func(want map[string]string) {
		t.Helper()
		for _, p := range ps {
			eventually(t, 5*time.Second, p.name+" knows the labels of n1", func() error {
				if got := p.mustBe("n1").Labels; !maps.Equal(got, want) {
					return fmt.Errorf("got %v, want %v", got, want)
				}
				return nil
			})
		}
	}
	labelled(map[string]string{"zone": "asia"})
	if out := ps[2].tools("node", "ls"); !strings.Contains(out, "gpu=yes,zone=eu") {
		t.Errorf("node ls printed %s", out)
	}
	ps[1].tools("node", "label", "n1", "--forget", "rack=7")
	labelled(map[string]string{"zone": "eu", "disk": "ssd", "rack": "7"})
	if out := ps[0].tools("audit"); !strings.Contains(out, `"action":"node.label","target":"n3","code":"OK","detail":"gpu=yes zone=eu"`) {
		t.Errorf("who labelled n3 is not told: %s", out)
	}
	if out := ps[2].tools("run", "test.main.add", "x=1", "y=2", "--where", "rack=7,disk=ssd", "--wait", "--json"); !strings.Contains(out, `"node":"n1"`) {
		t.Errorf("run --where printed %s", out)
	}
	ps[0].must(http.StatusUnprocessableEntity, http.MethodPost, "/task", sleepFor(0, `"where":{"zone":["eu"]}`))
}
