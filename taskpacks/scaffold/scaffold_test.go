package scaffold

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"pytasks/taskpacks"
	"pytasks/taskpacks/packdir"
	"pytasks/taskpacks/process"
	"pytasks/taskpacks/wasm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scaffold writes a pack called hello.
func scaffold(t *testing.T, kind string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "hello")
	if err := Write(dir, "hello", kind); err != nil {
		t.Fatal(err)
	}
	return dir
}

// open opens a pack as a node does.
func open(t *testing.T, dir string) (*packdir.Opened, error) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	processes, err := process.New(process.Config{Dir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { processes.Close() })
	modules, err := wasm.New(wasm.Config{Dir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { modules.Close() })
	p, err := packdir.Open(t.Context(), packdir.Options{Dir: dir, Process: processes, WASM: modules, Envs: t.TempDir(), Logger: log})
	if err == nil {
		t.Cleanup(func() { p.Close() })
	}
	return p, err
}

// check opens a pack and calls its funcs. calls are a func and arguments, then the result.
func check(t *testing.T, dir string, calls map[string]string) *packdir.Opened {
	t.Helper()
	p, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := taskpacks.NewRegistry(p.Pack)
	if err != nil {
		t.Fatal(err)
	}
	for call, want := range calls {
		name, args, _ := strings.Cut(call, " ")
		fn, ok := r.Func("hello.main." + name)
		if !ok {
			t.Fatalf("the pack has no func %s", name)
		}
		if got, err := fn.Call(t.Context(), json.RawMessage(args)); string(got) != want || err != nil {
			t.Errorf("%s = %s, %v, want %s", call, got, err, want)
		}
	}
	return p
}

// run runs a program of the pack's author in dir.
func run(t *testing.T, dir string, env []string, argv ...string) {
	t.Helper()
	program, err := exec.LookPath(argv[0])
	if err != nil {
		t.Skipf("no %s on PATH", argv[0])
	}
	cmd := exec.CommandContext(t.Context(), program, argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

func TestPython(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 on PATH")
	}
	p := check(t, scaffold(t, taskpacks.PackPython), map[string]string{
		`greet {"name": "Ada"}`:         `"Hello, Ada!"`,
		`greet {}`:                      `"Hello, World!"`,
		`average {"values": [1, 2, 6]}`: `{"mean":3.0,"weight":3.0}`,
	})
	var out strings.Builder
	if err := p.Test(t.Context(), &out); err != nil || !strings.Contains(out.String(), "Ran 3 tests") {
		t.Errorf("its tests: %v\n%s", err, &out)
	}
}

func TestCommand(t *testing.T) {
	dir := scaffold(t, taskpacks.PackCommand)
	check(t, dir, map[string]string{
		`greet {"name": "Ada \" $x"}`:   `"Hello, Ada \" $x!"`,
		`greet {}`:                      `"Hello, World!"`,
		`total {"values": [1, 2.5, 1]}`: `{"total": 4.5, "count": 3}`,
	})
	run(t, dir, nil, "sh", "test.sh")
}

// TestC builds the program in C and makes it a task, as the Makefile says.
func TestC(t *testing.T) {
	dir := scaffold(t, taskpacks.PackCommand)
	for _, tool := range []string{"cc", "uname"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on PATH", tool)
		}
	}
	run(t, dir, nil, "make")
	text, err := os.ReadFile(filepath.Join(dir, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	task, _, _ := strings.Cut(string(text), "#\n# make test")
	task = strings.ReplaceAll(task[strings.Index(task, `"hypot"`):], "#", "")
	manifest := `{"name": "hello", "kind": "command", "tasks": {` + task + `}}`
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, dir, map[string]string{`hypot {"x": 3, "y": 4}`: `5`})
}

func TestWASM(t *testing.T) {
	dir := scaffold(t, taskpacks.PackWASM)
	if _, err := open(t, dir); err == nil || !strings.Contains(err.Error(), "main.wasm is not there: build it") {
		t.Errorf("before the module is built: got %v, want an error that says so", err)
	}
	run(t, dir, []string{"GOFLAGS=", "GOWORK=off"}, "go", "test", "./...")
	run(t, dir, []string{"GOFLAGS=", "GOWORK=off", "GOOS=wasip1", "GOARCH=wasm"}, "go", "build", "-o", "main.wasm", ".")
	if underRace() {
		t.Skip("the module was built; its compiler takes too long under the race detector")
	}
	check(t, dir, map[string]string{
		`greet {"name": "Ada"}`:         `"Hello, Ada!"`,
		`greet {}`:                      `"Hello, World!"`,
		`total {"values": [1, 2.5, 1]}`: `{"total":4.5,"count":3}`,
	})
}

// underRace reports whether the race detector is on, which makes the compiler of modules take tens of seconds for one of Go.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// TestNoTemplate looks for what was not replaced.
func TestNoTemplate(t *testing.T) {
	for _, kind := range []string{taskpacks.PackPython, taskpacks.PackCommand, taskpacks.PackWASM} {
		dir := scaffold(t, kind)
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), "{{") || strings.HasSuffix(path, suffix) {
				t.Errorf("%s is still a template", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ dir, name, kind, want string }{
		{full, "hello", "python", "is there and not empty"},
		{filepath.Join(full, "mine"), "hello", "python", "not a directory"},
		{filepath.Join(full, "new"), "my-pack", "python", `pack "my-pack": use a name of at most 64 letters, digits and underscores`},
		{filepath.Join(full, "new"), "", "python", `pack "": use a name`},
		{filepath.Join(full, "new"), "hello", "perl", `kind "perl": use "python", "command" or "wasm"`},
	}
	for _, tt := range tests {
		if err := Write(tt.dir, tt.name, tt.kind); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Write(%s, %s, %s) = %v, want an error with %q in it", tt.dir, tt.name, tt.kind, err, tt.want)
		}
	}
	if there, err := os.ReadDir(full); len(there) != 1 || err != nil {
		t.Errorf("the folder has %v, %v, want what was in it before", there, err)
	}
	if err := Write(t.TempDir(), "hello", "python"); err != nil {
		t.Errorf("into an empty folder: %v", err)
	}
}
