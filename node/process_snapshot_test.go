package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// feed sends tasks to all nodes, one after the other at each, until it is told to stop.
type feed struct {
	mu   sync.Mutex
	ids  []string // that were acknowledged; guarded by mu
	stop atomic.Bool
	wg   sync.WaitGroup
}

func (ps processes) feed() *feed {
	f := &feed{}
	for c, p := range ps {
		f.wg.Go(func() {
			for i := 0; !f.stop.Load(); i++ {
				a, err := send(p, http.MethodPost, "/task", fmt.Sprintf(`{"type":"test.main.add","args":{"x":%d,"y":%d},"tags":["fed"]}`, c, i))
				if err == nil && a.status == http.StatusOK {
					f.mu.Lock()
					f.ids = append(f.ids, member(a.body, "id"))
					f.mu.Unlock()
				}
			}
		})
	}
	return f
}

// acknowledged returns the ids so far.
func (f *feed) acknowledged() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.ids...)
}

func (f *feed) end() { f.stop.Store(true); f.wg.Wait() }

// data is the node's data directory.
func (p *process) data() string { return filepath.Join(p.dir, "data") }

// old is what a cluster has before it is saved.
type old struct {
	acknowledged, running []string
	done, large, waiting  string // ids
	largeArgs             string
	keyed                 string // the answer to a request with an Idempotency-Key
	password              string // of the user bob
	cluster               string // id
}

const keyedTask = `{"type":"test.main.add","args":{"x":7,"y":8}}`

// fill gives a cluster something of everything.
func (ps processes) fill(t *testing.T) *old {
	t.Helper()
	pack := filepath.Join(t.TempDir(), "tools")
	ps[0].tools("pack", "init", pack, "--kind", "command")
	ps[0].tools("pack", "install", pack)
	o := &old{largeArgs: echoArgs(1, 300<<10)}
	o.password = strings.TrimSpace(ps[0].tools("user", "add", "bob", "--allow", "test.main.myProtectedTask"))
	o.done = ps[1].submit(`{"type":"test.main.add","args":{"x":1,"y":2},"id":"my-own"}`)
	ps[1].succeeded(o.done, 10*time.Second)
	o.large = ps[2].echo(o.largeArgs)
	ps.echoed(o.large, o.largeArgs)
	o.waiting = ps[0].echo(echoArgs(2, 200<<10), `,"delay":3600`)
	o.keyed = member(ps[0].must(http.StatusOK, http.MethodPost, "/task", keyedTask, "Idempotency-Key", "once").body, "id")
	o.cluster = ps.clusterID()
	return o
}

func (ps processes) clusterID() string {
	ps[0].t.Helper()
	return member(ps[0].must(http.StatusOK, http.MethodGet, "/cluster", "").body, "id")
}

// TestProcessSnapshot: a cluster at work is saved at a follower; what is restored from the file is a new cluster of three, which has
// every task that was acknowledged before and goes on with it; nodes of the old one do not get in.
func TestProcessSnapshot(t *testing.T) {
	ps := startCluster(t, 3, "--slots", "4")
	o := ps.fill(t)
	file := filepath.Join(t.TempDir(), "cluster.snapshot")
	follower := ps.without(ps.leader())[0]

	f := ps.feed()
	eventually(t, 20*time.Second, "some tasks are acknowledged", func() error {
		if n := len(f.acknowledged()); n < 100 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	o.running = ps.submitAll(repeat(sleepFor(4*time.Second, `"retry":{"max_attempts":1}`), 3), 3)
	for _, id := range o.running {
		ps[0].started(id)
	}
	o.acknowledged = f.acknowledged()
	said := follower.tools("snapshot", "save", file)
	after := len(f.acknowledged())
	f.end()
	holds(t, said, file+" holds the cluster as it was at log index ")
	if after == len(o.acknowledged) {
		t.Error("nothing was acknowledged while the cluster was saved: it stood still")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v; want it to be there with the mode 0600", file, info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(ps[0].data(), "work", "snapshot-*")); len(left) > 0 {
		t.Errorf("%v were left behind", left)
	}
	if out, err := follower.tool("snapshot", "save", file); err == nil || !strings.Contains(out, "--force to overwrite") {
		t.Errorf("saved again: got %s, %v; want a refusal", out, err)
	}
	t.Run("standard output", func(t *testing.T) { ps.within(t); toStdout(t, follower) })
	t.Run("inspect", func(t *testing.T) { inspectFile(t, file, o) })
	for _, p := range ps {
		p.kill()
	}
	t.Run("damage", func(t *testing.T) { damageFile(t, file) })
	t.Run("restore", func(t *testing.T) { restoreFile(t, file, o, ps) })
}

// toStdout saves into the standard output of the program.
func toStdout(t *testing.T, p *process) {
	file := filepath.Join(t.TempDir(), "piped")
	out, err := p.tool("snapshot", "save", "-") // with the standard error, on which nothing is said
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	holds(t, pytasks(t, 0, "snapshot", "inspect", file), "All checksums are right.")
}

// inspectFile looks at a file without a node.
func inspectFile(t *testing.T, file string, o *old) {
	var in struct {
		Format, Users, Blobs, Nodes int
		Cluster, Node               string
		Index, Term, Size           int64
		Tasks                       map[string]int
		Packs                       map[string]string
		Missing                     int `json:"missing_blobs"`
	}
	if err := json.Unmarshal([]byte(pytasks(t, 0, "snapshot", "inspect", file, "--json")), &in); err != nil {
		t.Fatal(err)
	}
	all := 0
	for _, n := range in.Tasks {
		all += n
	}
	if in.Format != 1 || in.Cluster != o.cluster || in.Users != 2 || in.Blobs != 4 || in.Missing != 0 || in.Nodes != 3 || in.Index == 0 || in.Term == 0 ||
		all < len(o.acknowledged)+7 || in.Tasks["SCHEDULED"] != 1 || in.Packs["tools"] == "" {
		t.Errorf("inspect says %+v; want all of what was made, and at least %d tasks", in, len(o.acknowledged)+7)
	}
	holds(t, pytasks(t, 0, "snapshot", "inspect", file), o.cluster, "tools 0.1+", "blobs    4, ", "All checksums are right.")
}

// damageFile checks that no damaged file is taken for good, and that it leaves nothing behind.
func damageFile(t *testing.T, file string) {
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, content := range map[string][]byte{
		"cut": whole[:len(whole)-40], "flipped": flipped, "longer": append(bytes.Clone(whole), 'x'), "empty": {}, "of something else": []byte("PK\x03\x04"),
	} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, content, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "data")
		want := "the file is damaged at byte "
		if len(content) < 10 {
			want = "the file is no snapshot of a cluster"
		}
		holds(t, pytasks(t, 1, "snapshot", "inspect", bad), want)
		holds(t, pytasks(t, 1, "snapshot", "restore", bad, "--data-dir", dir), "is not restored: ", want)
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: %s was left behind", name, dir)
		}
	}
	holds(t, pytasks(t, 1, "snapshot", "restore", file, "--data-dir", filepath.Dir(file)), "is not empty: a snapshot is restored into an empty data directory")
}

// restoreFile makes a cluster of three of a file.
func restoreFile(t *testing.T, file string, o *old, former processes) {
	kept := filepath.Join(t.TempDir(), "backups")
	first := newProcess(t, "r1", "--slots", "4", "--backup-every", "1h", "--backup-dir", kept)
	holds(t, pytasks(t, 0, "snapshot", "restore", file, "--data-dir", first.data()),
		"is the first node of the new cluster", "of which", "1 pack, 2 users, 4 blobs", "pytasks start --data-dir "+first.data())
	first.start()
	first.ready()
	ps := processes{first}
	for _, name := range []string{"r2", "n3"} { // the second has the name of an old node
		p := newProcess(t, name, append(processes{first}.joinFlags(), "--slots", "4")...)
		p.start()
		ps = append(ps, p)
	}
	ps.ready()
	ps.waitVoters(3)
	eventually(t, 20*time.Second, "a backup is written by itself", func() error {
		found, err := filepath.Glob(filepath.Join(kept, "r1-*Z.snapshot"))
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("there are %v", found)
		}
		if err == nil {
			holds(t, pytasks(t, 0, "snapshot", "inspect", found[0]), "by node r1", "All checksums are right.")
		}
		return err
	})
	if a := first.must(http.StatusOK, http.MethodGet, "/metrics", ""); !bytes.Contains(a.body, []byte("\npytasks_backup_last_success_timestamp_seconds 1.")) {
		t.Error("the metrics do not tell of the backup")
	}
	if id := ps.clusterID(); id == o.cluster {
		t.Errorf("the new cluster has the id %s of the old one", id)
	}

	for _, id := range o.running {
		task := ps[1].succeeded(id, 20*time.Second)
		if task.Attempt != 2 || len(task.Attempts) != 1 || task.Attempts[0].Reason != "restored" || !strings.HasPrefix(task.Attempts[0].Node, "n") {
			t.Errorf("a task that ran when the cluster was saved ended as %s", task.Raw)
		}
	}
	for _, id := range o.acknowledged {
		ps[0].succeeded(id, 20*time.Second)
	}
	if task := ps[2].succeeded("my-own", time.Second); task.Attempt != 1 || string(task.Result) != "3" {
		t.Errorf("a task that had ended is now %s", task.Raw)
	}
	ps.echoed(o.large, o.largeArgs)
	if task, err := ps[1].task(o.waiting); err != nil || task.Status != "SCHEDULED" || string(task.Args) != echoArgs(2, 200<<10) {
		t.Errorf("a large task that waits: %v, %s with %d bytes of args", err, task.Status, len(task.Args))
	}
	if id := member(ps[2].must(http.StatusOK, http.MethodPost, "/task", keyedTask, "Idempotency-Key", "once").body, "id"); id != o.keyed {
		t.Errorf("the Idempotency-Key gives task %s, want %s as before", id, o.keyed)
	}
	ps.packReady("tools", 3)
	for _, p := range ps {
		p.gives("tools.main.greet", `{"name":"Ada"}`, `"Hello, Ada!"`)
	}
	a := ps[1].must(http.StatusOK, http.MethodPost, "/task?wait=10s", `{"type":"test.main.myProtectedTask","args":{"x":20,"y":22}}`, bearer(ps[1].login("bob", o.password))...)
	if member(a.body, "status") != "SUCCESS" {
		t.Errorf("bob's protected task: %v", a)
	}

	back := former[0]
	back.flags = ps.joinFlags()
	back.start()
	if code := back.exit(20 * time.Second); code != 1 || !strings.Contains(back.log(), "the nodes of the old one have to stop, and to start with empty data directories") {
		t.Errorf("a node of the old cluster ended with %d, want 1 and that it is told what to do", code)
	}
	again := filepath.Join(t.TempDir(), "again")
	ps[2].tools("snapshot", "save", again)
	holds(t, pytasks(t, 0, "snapshot", "inspect", again), ps.clusterID(), "All checksums are right.")
}
