package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pytasks/node/client"
)

// TestProcessRecover: of three nodes two are lost for good. The third is made a cluster of its own, with everything that it had
// acknowledged; what the lost ones were running is run again, new nodes are taken in, and an old one that comes back is not.
func TestProcessRecover(t *testing.T) {
	ps := startCluster(t, 3, "--slots", "2")
	ps.workersReady()
	survivor, lost := ps[0], ps[1:]
	ids := ps.submitAll(repeat(`{"type":"test.main.add","args":{"x":1,"y":2}}`, 50), 3)
	ps.allSucceed(ids)
	args := echoArgs(1, 200<<10)
	large := ps[1].echo(args)
	survivor.holds(args, 10*time.Second)
	ps.echoed(large, args)
	running := ps.submitAll(repeat(sleepFor(60*time.Second, `"timeout":90`), 6), 3)
	var at []string // what the lost nodes run
	for _, id := range running {
		eventually(t, 10*time.Second, "the survivor knows who runs what", func() error {
			var task client.Task
			if err := survivor.read("/task/"+id+"?consistency=stale", &task); err != nil {
				return err
			}
			if task.Status != "STARTED" {
				return errors.New(task.Status)
			}
			if task.Node != survivor.name {
				at = append(at, id)
			}
			return nil
		})
	}
	if len(at) == 0 {
		t.Fatal("none of 6 tasks runs at the nodes that will be lost, want 4")
	}
	former := ps.clusterID()
	if out := pytasks(t, 1, "cluster", "recover", "--data-dir", survivor.data(), "--yes"); !strings.Contains(out, "is used by another process") {
		t.Errorf("of a node that runs: got %s", out)
	}
	for _, p := range ps {
		p.kill()
	}

	out := pytasks(t, 0, "cluster", "recover", "--data-dir", survivor.data())
	holds(t, out, former, "last entry  index ", "this node", "n2 ("+lost[0].cluster+")", "n3 ("+lost[1].cluster+")",
		"only if 2 of the 3 voting nodes are lost for good", "Nothing was changed. Give --yes to do it.")
	var found struct {
		Cluster   string
		Recovered bool
		Last      uint64 `json:"last_index"`
		Voters    []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(pytasks(t, 0, "cluster", "recover", "--data-dir", survivor.data(), "--json")), &found); err != nil ||
		found.Cluster != former || found.Recovered || len(found.Voters) != 3 || found.Last < 50 {
		t.Errorf("as JSON it is %+v, %v", found, err)
	}
	holds(t, pytasks(t, 0, "cluster", "recover", "--data-dir", survivor.data(), "--yes"), "is the only one of the cluster", "--join")

	survivor.start() // with the flags that it had
	survivor.ready()
	if id := (processes{survivor}).clusterID(); id == former {
		t.Errorf("the cluster still has the id %s", id)
	}
	back := lost[0]
	back.start()
	if code := back.exit(20 * time.Second); code != 1 || !strings.Contains(back.log(), "the nodes of the old one have to stop, and to start with empty data directories") {
		t.Errorf("an old node ended with %d, want 1 and that it is told what to do", code)
	}
	now := processes{survivor}
	for _, name := range []string{"n4", "n5"} {
		p := newProcess(t, name, append(processes{survivor}.joinFlags(), "--slots", "4")...)
		p.start()
		now = append(now, p)
	}
	now.ready()
	now.waitVoters(3)
	for _, id := range ids {
		if task := now[1].succeeded(id, 10*time.Second); string(task.Result) != "3" {
			t.Errorf("a task that had ended is %s", task.Raw)
		}
	}
	now.echoed(large, args)
	for _, id := range at {
		eventually(t, 30*time.Second, "what a lost node ran is run again", func() error {
			task, err := now[2].task(id)
			if err == nil && (task.Status != "STARTED" || task.Attempt != 2 || task.Node == "n2" || task.Node == "n3" || task.Attempts[0].Reason != "worker_lost") {
				err = fmt.Errorf("%s", task.Raw)
			}
			return err
		})
	}
	for _, name := range []string{"n2", "n3"} { // so that a change of the secret does not wait for them
		now[1].tools("node", "rm", name)
	}
	for _, id := range running {
		now[0].tools("task", "cancel", id)
	}
	now[2].gives("test.main.add", `{"x":20,"y":22}`, "42")
}
