package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pytasks/node/client"
	"pytasks/taskpacks"
)

// Execute runs a command line in this process, with a cache folder of its own.
func execute(t *testing.T, want int, args ...string) string {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var out strings.Builder
	c := &cli{in: strings.NewReader(""), out: &out, err: &out, getenv: func(string) string { return "" }}
	if got := c.execute(t.Context(), args); got != want {
		t.Errorf("pytasks %s: got exit code %d, want %d\n%s", strings.Join(args, " "), got, want, out.String())
	}
	return out.String()
}

func wantIn(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("got %q, want %q in it", text, part)
		}
	}
}

// TestPackInit: what is printed leads to a result.
func TestPackInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hello")
	wantIn(t, execute(t, ExitOK, "pack", "init", dir, "--kind", "wasm"),
		"hello is a pack of kind wasm", "go build -o main.wasm", "pytasks pack install "+dir, "pytasks run hello.main.greet name=Ada")
	wantIn(t, execute(t, ExitFailed, "pack", "init", dir), "is there and not empty")
	wantIn(t, execute(t, ExitFailed, "pack", "init", filepath.Join(dir, "my-pack")), "such as my_pack")
}

// TestPackTest opens packs, runs tasks of them and their tests, without a node.
func TestPackTest(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 on the PATH")
	}
	dir := filepath.Join(t.TempDir(), "hello")
	execute(t, ExitOK, "pack", "init", dir)
	out := execute(t, ExitOK, "pack", "test", dir)
	wantIn(t, out, "hello 0.1 (python) has 2 tasks:", `hello.main.greet(name: str = "World")`, "weights: Optional[list[float]] = null)", "OK")
	if runners, err := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "pytasks", "envs", "runner-*.py")); err != nil || len(runners) != 1 {
		t.Errorf("the cache holds %v, %v, want what packs share", runners, err)
	}
	wantIn(t, execute(t, ExitOK, "pack", "test", dir, "hello.main.greet", "name=Ada"), `"Hello, Ada!"`)
	out = execute(t, ExitFailed, "pack", "test", dir, "hello.main.average", "values=[]")
	wantIn(t, out, "pass values, and weights above 0\nTraceback", `File "hello/main.py", line`)
	if strings.HasSuffix(out, "\n\n") {
		t.Errorf("got %q, want no empty line at its end", out)
	}
	wantIn(t, execute(t, ExitUsage, "pack", "test", dir, "hello.main.gret"), `did you mean "hello.main.greet"?`)

	dir = filepath.Join(t.TempDir(), "tools")
	execute(t, ExitOK, "pack", "init", dir, "--kind", "command")
	wantIn(t, execute(t, ExitOK, "pack", "test", dir), "tools 0.1 (command) has 2 tasks:", "pytasks pack test "+dir+" tools.main.greet")
}

func TestSignature(t *testing.T) {
	s := &taskpacks.Spec{Name: "shapes.main.area", Timeout: time.Second, Params: []taskpacks.Param{
		{Name: "p", Type: taskpacks.Type{Kind: taskpacks.KindObject, Text: "<class 'tasks.packs.shapes.main.Point'>"}, Required: true},
		{Name: "c", Type: taskpacks.Type{Kind: taskpacks.KindLiteral, Text: "<enum 'Color'>"}, Required: true},
		{Name: "n", Type: taskpacks.Type{Kind: taskpacks.KindOptional, Of: &taskpacks.Type{Kind: taskpacks.KindInt}, Text: "typing.Optional[int]"}},
	}}
	if got, want := signature(s), "p: main.Point, c: Color, n: Optional[int] = ..."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestShowTask: a running task is shown with its release and how far it is.
func TestShowTask(t *testing.T) {
	var out strings.Builder
	c := &cli{out: &out}
	err := c.showTask(&client.Task{ID: "1", Status: "STARTED", Release: "1.0+ab", Attempt: 1, Node: "n1", Progress: &client.Progress{Fraction: 0.254, Text: "step 2"}})
	if err != nil {
		t.Fatal(err)
	}
	wantIn(t, out.String(), "release   1.0+ab\n", "progress  25% step 2\n")
}
