package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pytasks/httpapi"
)

// buildCommand copies a pack of programs to a fresh folder and builds it there.
func buildCommand(t *testing.T, source string) string {
	t.Helper()
	for _, tool := range []string{"make", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on the PATH", tool)
		}
	}
	dir := freshCopy(t, source)
	if out, err := exec.CommandContext(t.Context(), "make", "-B", "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	return dir
}

// buildModule copies a pack in Go to a fresh folder and builds its module there.
func buildModule(t *testing.T, source string) string {
	t.Helper()
	if raceDetected() {
		t.Skip("the compiler of modules takes too long under the race detector")
	}
	dir := freshCopy(t, source)
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "main.wasm"), ".")
	build.Dir = source
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

func freshCopy(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// givesAt sends tasks until a node has run one, and checks all results.
func (ps processes) givesAt(p *process, kind, args, want string) {
	ps[0].t.Helper()
	body := fmt.Sprintf(`{"type":%q,"args":%s}`, kind, args)
	eventually(ps[0].t, 20*time.Second, p.name+" runs "+kind, func() error {
		there := false
		for _, task := range ps.runAll(repeat(body, 8), 8) {
			if string(task.Result) != want {
				ps[0].t.Fatalf("%s(%s) ended as %s, want the result %s", kind, args, task.Raw, want)
			}
			there = there || task.Node == p.name
		}
		if !there {
			return fmt.Errorf("it was given none of 8 tasks")
		}
		return nil
	})
}

// TestProcessPackKinds: packs of programs, of modules and in Go, on one cluster: each installed at one
// node and run through another, also by a node that joins later; what their code may do wrong; and a
// pack that most nodes cannot run.
func TestProcessPackKinds(t *testing.T) {
	ps := startCluster(t, 3, "--slots", "2")
	ps.workersReady()
	kinds := []struct {
		name, source     string // "" = compiled in
		build            func(t *testing.T, source string) string
		kind, args, want string
	}{
		{"test", "", nil, "test.main.hypot", `{"x":3,"y":4}`, "5.0"},
		{"inc", "../taskpacks/command/example", buildCommand, "inc.main.hypot", `{"x":3,"y":4}`, "5"},
		{"numbers", "../taskpacks/wasm/example", buildModule, "numbers.main.sentence", `{"values":[1,2,3.5]}`, `"3 values from 1.00 to 3.50\n"`},
	}
	installed := map[string]bool{"test": true}
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			ps.within(t)
			if k.build != nil {
				ps[i].tools("pack", "install", k.build(t, k.source))
				installed[k.name] = true
			}
			ps.packReady(k.name, 3)
			ps[(i+1)%3].gives(k.kind, k.args, k.want)
			for _, p := range ps {
				ps.givesAt(p, k.kind, k.args, k.want)
			}
		})
	}
	late := newProcess(t, "n4", ps.joinFlags()...)
	late.env = append(late.env, "PATH="+onPath(t, "surely-elsewhere", "#!/bin/sh\necho '\"here\"'\n")+":"+os.Getenv("PATH"))
	all := append(ps, late)
	late.start()
	late.ready()
	t.Run("a node that joins later", func(t *testing.T) {
		all.within(t)
		for _, k := range kinds {
			if installed[k.name] {
				all.packReady(k.name, 4)
				ps.givesAt(late, k.kind, k.args, k.want)
			}
		}
	})
	t.Run("programs that fail", func(t *testing.T) {
		if all.within(t); !installed["inc"] {
			t.Skip("the pack was not built")
		}
		failStory(t, ps)
	})
	t.Run("wild modules", func(t *testing.T) {
		all.within(t)
		ps[1].tools("pack", "install", buildModule(t, filepath.Join("testdata", "packs", "wild")))
		wildStory(t, ps)
	})
	t.Run("not for every node", func(t *testing.T) {
		all.within(t)
		ineligibleStory(t, ps, late)
	})
}

// TestProcessBenchInstall: a local cluster for a measurement can be given a pack.
func TestProcessBenchInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := onPath(t, "one", "#!/bin/sh\necho 1\n")
	text := `{"name":"tiny","version":"1.0","kind":"command","tasks":{"one":{"argv":["./one"]}}}`
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := command(t, "bench", "--local", "1", "--slots", "1", "--install", dir, "--type", "tiny.main.one",
		"--tasks", "5", "--connections", "1", "--wait")
	if code != 0 || !strings.Contains(out, "n1 ready") || !strings.Contains(out, "5 of tiny.main.one") || !strings.Contains(out, "0 (5 read again)") {
		t.Errorf("got exit code %d, %s, want 5 tasks of the pack", code, out)
	}
	if code, out := command(t, "bench", "--local", "1", "--install", filepath.Join(dir, "absent")); code == 0 || !strings.Contains(out, "absent") {
		t.Errorf("of no pack: got exit code %d, %s", code, out)
	}
}

// onPath returns a folder with a program in it.
func onPath(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// failStory: the status 75 asks for another try, others do not; what the program said stands in the
// error and in the log.
func failStory(t *testing.T, ps processes) {
	for status, attempts := range map[int]int{1: 1, 3: 1, 75: 3} {
		task := ps[0].call("inc.main.fail", fmt.Sprintf(`{"status":%d,"message":"first line\nthe last one"}`, status),
			`"retry":{"max_attempts":3,"initial":"50ms"}`)
		want := fmt.Sprintf("fail exited with status %d: the last one", status)
		if task.Status != "FAILURE" || task.Attempt != attempts || task.Error == nil || task.Error.Message != want ||
			task.Error.Traceback != "first line\nthe last one\n" {
			t.Errorf("it ended as %s, want a failure after %d attempts: %s", task.Raw, attempts, want)
		}
		if out := ps[1].tools("task", "logs", task.ID); out != "first line\nthe last one\n" {
			t.Errorf("its log is %q", out)
		}
	}
}

// wildStory: what a module does, it ends with a reason, and the node goes on.
func wildStory(t *testing.T, ps processes) {
	for _, id := range ps.submitAll(repeat(`{"type":"wild.main.loop","args":{}}`, 9), 9) { // more than there are slots
		if task := ps[0].finished(id, 20*time.Second); task.Status != "FAILURE" || task.Reason != "timeout" {
			t.Errorf("loop ended as %s, want it to end at its timeout", task.Raw)
		}
	}
	task := ps[1].call("wild.main.hog", `{}`)
	if task.Status != "FAILURE" || task.Reason != "memory" || task.Error == nil || !strings.Contains(task.Error.Message, "67108864 bytes of memory") {
		t.Errorf("hog ended as %s, want it to be refused memory", task.Raw)
	}
	if out := ps[2].tools("task", "logs", task.ID); !strings.Contains(out, "MiB held: 10\n") || strings.Contains(out, "MiB held: 64\n") {
		t.Errorf("its log is %.2000q, want it to have held more than 10 MiB and less than 64", out)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	ps[2].gives("wild.main.outside", fmt.Sprintf(`{"files":[%q,%q,"/etc/passwd","../../../../etc/passwd","/proc/self/environ"]}`,
		secret, ".."+secret), `[]`)
	if text, err := os.ReadFile(secret); string(text) != "kept" {
		t.Errorf("a file of the machine was written to: %q, %v", text, err)
	}
}

// ineligibleStory: a pack whose program only the late node has. The others say why they cannot run it,
// and its tasks wait for that node.
func ineligibleStory(t *testing.T, ps processes, late *process) {
	dir := t.TempDir()
	write := func(argv string) {
		t.Helper()
		text := fmt.Sprintf(`{"name":"elsewhere","version":"1.0","kind":"command","tasks":{"where":{"argv":[%q]}}}`, argv)
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("bin/plan9-{arch}/where")
	if out, err := ps[0].tool("pack", "install", dir); err == nil || !strings.Contains(out, "is not in the pack") {
		t.Errorf("install of a pack without its program printed %q, %v", out, err)
	}
	write("surely-elsewhere")
	const why = "the program surely-elsewhere is not on the PATH of this node"
	if out, err := ps[0].tool("pack", "install", dir); err == nil || !strings.Contains(out, why) {
		t.Errorf("install at a node that cannot run the pack printed %q, %v", out, err)
	}
	late.tools("pack", "install", dir)
	eventually(t, 20*time.Second, "the nodes say whether they can run it", func() error { return ps.told("elsewhere", why, late.name) })
	if task := ps[1].call("elsewhere.main.where", `{}`); task.Node != late.name || string(task.Result) != `"here"` {
		t.Errorf("it ended as %s, want it to run on %s", task.Raw, late.name)
	}
	late.stop()
	id := ps[2].submit(`{"type":"elsewhere.main.where","args":{}}`)
	for _, p := range ps { // others run, beside it
		ps.givesAt(p, "test.main.hypot", `{"x":3,"y":4}`, "5.0")
		if task, err := p.task(id); err != nil || task.Status != "PENDING" || task.Attempt > 0 {
			t.Errorf("%s shows %+v, %v; want it to wait for a node that can run it", p.name, task, err)
		}
	}
	eventually(t, 20*time.Second, "the nodes that are left say why", func() error { return ps.told("elsewhere", why, "") })
	late.start()
	if task := ps[0].succeeded(id, 30*time.Second); task.Node != late.name {
		t.Errorf("it ended as %s, want it to run on %s", task.Raw, late.name)
	}
}

// told returns nil if every node is shown as ineligible for a pack, for that reason, but one at most
// that is ready.
func (ps processes) told(pack, why, ready string) error {
	for _, p := range ps {
		var view struct {
			Nodes []struct{ Name, Status, Error string }
		}
		if err := p.read("/packs/"+pack, &view); err != nil {
			return err
		}
		want := len(ps)
		if ready != "" {
			want++
		}
		if len(view.Nodes) != want {
			return fmt.Errorf("%s shows %+v, want %d nodes", p.name, view.Nodes, want)
		}
		for _, n := range view.Nodes {
			if n.Name == ready && n.Status != httpapi.PackReady || n.Name != ready && (n.Status != httpapi.PackIneligible || !strings.Contains(n.Error, why)) {
				return fmt.Errorf("%s shows %+v", p.name, n)
			}
		}
	}
	return nil
}
