package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProcessPacks is the life of packs of the reference's format in a cluster: installed at one
// node, run through the others, on a node that joins later too; releases side by side; rolled back,
// and removed.
func TestProcessPacks(t *testing.T) {
	needPython(t)
	ps := startCluster(t, 3, "--slots", "2")
	ps.workersReady()
	out := ps[0].tools("pack", "install", filepath.Join("testdata", "packs", "classic"))
	for _, want := range []string{"classic 1.0 is installed", "classic.main.add", "n1 ready", "n2 ready", "n3 ready"} {
		if !strings.Contains(out, want) {
			t.Errorf("install printed %q, want %q in it", out, want)
		}
	}
	ps[1].gives("classic.main.add", `{"x":36028797018963969,"y":1}`, "36028797018963970")
	ps[2].gives("classic.main.hypot", `{"x":3,"y":4}`, "5.0")
	ps[1].gives("classic.main.area", `{"r":2}`, "12.0")

	t.Run("described", func(t *testing.T) { // with an operation for each of its tasks, which works, and on all nodes alike
		ps.within(t)
		for _, path := range []string{"/openapi.json", "/swagger.json"} {
			first := ps[0].must(http.StatusOK, http.MethodGet, path, "")
			if !strings.Contains(string(first.body), `"/run/classic.main.hypot"`) {
				t.Errorf("%s does not describe classic.main.hypot", path)
			}
			for _, p := range ps {
				p.must(http.StatusNotModified, http.MethodGet, path, "", "If-None-Match", first.header.Get("ETag"))
			}
		}
		if a := ps[2].must(http.StatusOK, http.MethodPost, "/run/classic.main.hypot?wait=30s", `{"x":3,"y":4}`); !strings.Contains(string(a.body), `"result":5.0`) {
			t.Errorf("the operation is answered %v", a)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		ps.within(t)
		for body, want := range map[string]int{
			`{"type":"classic.main.add","args":{"x":1.5,"y":true,"z":1}}`: http.StatusUnprocessableEntity,
			`{"type":"classic.main.secret","args":{"x":1}}`:               http.StatusUnauthorized,
			`{"type":"classic.main.absent","args":{}}`:                    http.StatusNotFound,
		} {
			if a, err := send(ps[2], http.MethodPost, "/task", body); err != nil || a.status != want {
				t.Errorf("%s: %v, %v; want %d", body, a, err, want)
			}
		}
	})
	t.Run("a node that joins later", func(t *testing.T) {
		late := newProcess(t, "n4", ps.joinFlags()...)
		late.start()
		late.ready()
		append(ps, late).packReady("classic", 4)
		for range 40 {
			if task := ps[0].call("classic.main.add", `{"x":1,"y":2}`); task.Node == "n4" {
				late.stop()
				return
			}
		}
		t.Error("n4 was given none of 40 tasks")
	})
	t.Run("releases side by side", func(t *testing.T) {
		ps.within(t)
		old := ps[0].submit(`{"type":"classic.main.version","args":{},"delay":4}`)
		running := ps[1].submit(`{"type":"classic.main.wait","args":{"seconds":3}}`)
		ps[1].tools("pack", "install", copyPack(t, "classic", `"1.0"`, `"1.1"`))
		ps[2].gives("classic.main.version", `{}`, `"1.1"`)
		for _, id := range []string{old, running} {
			if task := ps[2].finished(id, 30*time.Second); string(task.Result) != `"1.0"` {
				t.Errorf("a task queued for 1.0 ended as %s", task.Raw)
			}
		}
		if out := ps[2].tools("pack", "rollback", "classic"); !strings.Contains(out, "run on 1.0+") {
			t.Errorf("rollback printed %q", out)
		}
		ps[2].gives("classic.main.version", `{}`, `"1.0"`)
	})
	t.Run("a restart", func(t *testing.T) {
		ps.within(t)
		for _, p := range ps {
			p.kill()
		}
		for _, p := range ps {
			p.start()
		}
		ps.ready()
		ps.packReady("classic", 3)
		ps[0].gives("classic.main.version", `{}`, `"1.0"`)
	})
	t.Run("removal", func(t *testing.T) {
		ps.within(t)
		id := ps[0].submit(`{"type":"classic.main.add","args":{"x":1,"y":2},"delay":3600}`)
		if out, err := ps[1].tool("pack", "rm", "classic"); err == nil || !strings.Contains(out, "1 unfinished task") {
			t.Errorf("removal of a pack that a task needs printed %q, %v", out, err)
		}
		ps[1].tools("pack", "rm", "classic", "--force")
		if task := ps[2].finished(id, 10*time.Second); task.Status != "FAILURE" || task.Reason != "pack_removed" {
			t.Errorf("the task that needed it ended as %s", task.Raw)
		}
		eventually(t, 5*time.Second, "a task of the removed pack is refused for good", func() error {
			a, err := send(ps[2], http.MethodPost, "/task", `{"type":"classic.main.add","args":{"x":1,"y":2}}`)
			if err == nil && a.status != http.StatusNotFound { // 503 as long as this node has not heard of it
				err = fmt.Errorf("%v", a)
			}
			return err
		})
		if a := ps[2].must(http.StatusOK, http.MethodGet, "/openapi.json", ""); strings.Contains(string(a.body), "classic.main") {
			t.Error("the removed pack is described")
		}
		for _, p := range ps {
			eventually(t, 10*time.Second, "nothing of the pack is left on "+p.name, func() error {
				if entries, err := os.ReadDir(filepath.Join(p.dir, "data", "packs")); err != nil || len(entries) > 0 {
					return fmt.Errorf("there are %v, %v", entries, err)
				}
				return nil
			})
		}
	})
}

// TestProcessPackFails: whatever code does, it ends with a message of its own, and neither the node nor
// another task suffers.
func TestProcessPackFails(t *testing.T) {
	needPython(t)
	ps := startCluster(t, 1, "--slots", "2", "--task-max-memory", "256MiB", "--max-result", "1MiB")
	p := ps[0]
	ps.workersReady()
	if n := strings.Count(p.log(), "memory of tasks is bounded"); n != 1 {
		t.Errorf("it says %d times how it bounds the memory of tasks, want once", n)
	}
	p.tools("pack", "install", filepath.Join("testdata", "packs", "modern"))
	p.gives("modern.main.scale", `{"point":{"x":1.5},"by":3}`, `{"x":4.5,"y":0.0,"unit":"m","note":null}`)
	p.gives("modern.main.later", `{"n":1}`, "2")
	for _, tt := range []struct {
		how, reason, kind, message string
	}{
		{"raise", "error", "KeyError", "absent"},
		{"exit", "error", "SystemExit", "sys.exit"},
		{"die", "crash", "WorkerDied", "status 4"},
		{"segfault", "crash", "WorkerDied", "signal 11"},
		{"nan", "error", "ResultError", `result["a"][1]`},
		{"set", "error", "ResultError", "set"},
		{"large", "error", "ResultTooLarge", "return less"},
		{"memory", "memory", "", "--task-max-memory"},
	} {
		t.Run(tt.how, func(t *testing.T) {
			ps.within(t)
			task := p.call("modern.main.fail", fmt.Sprintf(`{"how":%q}`, tt.how))
			if task.Status != "FAILURE" || task.Reason != tt.reason || task.Error == nil ||
				!strings.Contains(task.Error.Message, tt.message) || tt.kind != "" && task.Error.Type != tt.kind {
				t.Errorf("it ended as %.2000s, want FAILURE (%s) %s: %s", task.Raw, tt.reason, tt.kind, tt.message)
			}
			if out := p.tools("task", "logs", task.ID); !strings.Contains(out, "about to fail: "+tt.how) {
				t.Errorf("its log is %.300q", out)
			}
		})
	}
	t.Run("loop", func(t *testing.T) {
		ps.within(t)
		task := p.call("modern.main.fail", `{"how":"loop"}`, `"timeout":0.5`)
		if task.Status != "FAILURE" || task.Reason != "timeout" {
			t.Errorf("it ended as %s", task.Raw)
		}
	})
	t.Run("stubborn", func(t *testing.T) {
		ps.within(t)
		id := p.submit(`{"type":"modern.main.stubborn","args":{}}`)
		eventually(t, 20*time.Second, "it runs", func() error {
			if out := p.tools("task", "logs", id); out != "begun\n" {
				return fmt.Errorf("its log is %q", out)
			}
			return nil
		})
		if a, err := send(p, http.MethodPost, "/task/"+id+"/cancel", ""); err != nil || a.status != http.StatusOK {
			t.Fatalf("cancel: %v, %v", a, err)
		}
		eventually(t, 15*time.Second, "its slot is free", func() error {
			if a, err := send(p, http.MethodGet, "/metrics", ""); err != nil || !bytes.Contains(a.body, []byte("pytasks_node_slots_busy 0")) {
				return fmt.Errorf("a slot is busy, %v", err)
			}
			return nil
		})
	})
	t.Run("print", func(t *testing.T) {
		ps.within(t)
		task := p.call("modern.main.fail", `{"how":"print"}`)
		out := p.tools("task", "logs", task.ID)
		if task.Status != "SUCCESS" || len(out) > 65<<10 || !strings.Contains(out, "bytes are left out here") {
			t.Errorf("it ended as %s with a log of %d bytes, want the beginning and the end of 100 MB", task.Status, len(out))
		}
	})
	t.Run("children", func(t *testing.T) {
		ps.within(t)
		start := time.Now()
		p.gives("modern.main.fail", `{"how":"children"}`, `"left one behind"`)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %v, want it not to wait for its child", took)
		}
	})
	t.Run("surroundings", func(t *testing.T) {
		ps.within(t)
		task := p.call("modern.main.where", `{}`)
		var where struct {
			Dir   string
			Files []string
			Env   map[string]string
		}
		if err := json.Unmarshal(task.Result, &where); err != nil {
			t.Fatalf("%s: %v", task.Raw, err)
		}
		if len(where.Files) > 0 || where.Env["PYTASKS_TASK_ID"] != task.ID {
			t.Errorf("it ran in %s with %v, %v; want an empty folder and its id", where.Dir, where.Files, where.Env)
		}
		for key := range where.Env {
			if strings.HasPrefix(key, "GO") || strings.Contains(key, "SECRET") || key == "PYTASKS_ADDR" {
				t.Errorf("it was told %s of the node's environment", key)
			}
		}
	})
	p.gives("modern.main.later", `{"n":2}`, "3")
}

// TestProcessPackWatched: what a task prints and how far it is can be seen from every node while it runs.
func TestProcessPackWatched(t *testing.T) {
	needPython(t)
	ps := startCluster(t, 3)
	ps.workersReady()
	ps[0].tools("pack", "install", filepath.Join("testdata", "packs", "modern"))
	id := ps[0].submit(`{"type":"modern.main.steps","args":{"n":10,"pause":0.3}}`)
	logs := make(chan string, len(ps))
	for _, p := range ps {
		go func() {
			out, err := p.tool("task", "logs", "-f", id)
			if err != nil {
				out = err.Error()
			}
			logs <- out
		}()
	}
	for _, p := range ps {
		eventually(t, 20*time.Second, p.name+" shows progress", func() error {
			var view struct {
				Status   string
				Progress struct {
					Fraction float64
					Text     string
				}
			}
			if err := p.read("/task/"+id, &view); err != nil {
				return err
			}
			if view.Status != "STARTED" || view.Progress.Fraction <= 0 || !strings.HasPrefix(view.Progress.Text, "step ") {
				return fmt.Errorf("it shows %+v", view)
			}
			return nil
		})
	}
	ps[2].succeeded(id, 30*time.Second)
	want := ""
	for i := range 10 {
		want += fmt.Sprintf("step %d\n", i)
	}
	for range ps {
		if got := <-logs; got != want {
			t.Errorf("a follower was given %q, want %q", got, want)
		}
	}
	for _, p := range ps {
		if got := p.tools("task", "logs", id); got != want {
			t.Errorf("afterwards %s gives %q, want %q", p.name, got, want)
		}
	}
}

// TestProcessPackBroken: a pack that cannot be imported is refused with its traceback, and nothing of it
// stays.
func TestProcessPackBroken(t *testing.T) {
	needPython(t)
	p := startCluster(t, 1)[0]
	dir := copyPack(t, "modern", "import os\n", "import os\nimport surely_absent\n")
	out, err := p.tool("pack", "install", dir)
	if err == nil || !strings.Contains(out, "surely_absent") || !strings.Contains(out, "main.py") {
		t.Errorf("install printed %q, %v; want the traceback", out, err)
	}
	if out := p.tools("pack", "ls"); strings.Contains(out, "modern") {
		t.Errorf("the packs are %q", out)
	}
	eventually(t, 10*time.Second, "no pack is left", func() error {
		if entries, err := os.ReadDir(filepath.Join(p.dir, "data", "packs")); err != nil || len(entries) > 0 {
			return fmt.Errorf("there are %v, %v", entries, err)
		}
		return nil
	})
}

// TestProcessPackLeaderKilled: an install during which the leader is killed ends either everywhere or
// not at all, and what was answered is so.
func TestProcessPackLeaderKilled(t *testing.T) {
	needPython(t)
	ps := startCluster(t, 3)
	for round := range 3 {
		leader := ps.leader()
		at := ps.without(leader)[0]
		name := fmt.Sprintf("round%d", round)
		dir := copyPack(t, "modern", `"name": "modern"`, fmt.Sprintf(`"name": %q`, name))
		done := make(chan error, 1)
		go func() {
			_, err := at.tool("pack", "install", dir)
			done <- err
		}()
		time.Sleep(time.Duration(round) * 150 * time.Millisecond) // another moment of the install each time
		leader.kill()
		err := <-done
		leader.start()
		ps.ready()
		if err == nil {
			ps.packReady(name, 3)
			ps[round%3].gives(name+".main.later", `{"n":1}`, "2")
			continue
		}
		t.Logf("round %d: %v", round, err)
		states := map[int]bool{}
		for _, p := range ps {
			a, err := send(p, http.MethodGet, "/packs/"+name, "")
			if err != nil {
				t.Fatal(err)
			}
			states[a.status] = true
		}
		if len(states) != 1 {
			t.Errorf("round %d: some nodes have the pack and some do not: %v", round, states)
		}
	}
}
