package python

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pytasks/taskpacks"
	"pytasks/taskpacks/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// needPython skips a test where there is no interpreter.
func needPython(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 on PATH")
	}
}

func newHost(t testing.TB) *process.Host {
	t.Helper()
	needPython(t)
	h, err := process.New(process.Config{
		Dir: t.TempDir(), Env: []string{"KEPT=kept"}, Soft: 5 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// folder makes a pack's folder of a name from texts by path.
func folder(t testing.TB, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// python3 returns the interpreter itself: what the PATH leads to may be a script that takes its time.
var python3 = sync.OnceValue(func() string {
	out, err := exec.Command("python3", "-I", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
})

func options(t testing.TB, dir string) Options {
	host := newHost(t)
	return Options{Dir: dir, Host: host, Envs: t.TempDir(), Python: python3(), Logger: slog.New(slog.DiscardHandler)}
}

func mustOpen(t testing.TB, dir string) *Pack {
	t.Helper()
	p, err := Open(t.Context(), options(t, dir))
	if err != nil {
		var failed *ImportError
		if errors.As(err, &failed) {
			t.Log(failed.Traceback)
		}
		t.Fatal(err)
	}
	return p
}

// call is what a call of a func tells.
type call struct {
	result string
	err    error

	mu       sync.Mutex
	log      strings.Builder // guarded by mu
	progress []string        // guarded by mu
}

func (c *call) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(p)
}

// run calls the func <pack>.main.<name>, or name if it has dots. observe sees each progress; nil = nobody.
func run(ctx context.Context, t testing.TB, p *Pack, name, args string, observe func()) *call {
	t.Helper()
	if !strings.Contains(name, ".") {
		name = p.Name + ".main." + name
	}
	registry, err := taskpacks.NewRegistry(p.Pack)
	if err != nil {
		t.Fatal(err)
	}
	fn, ok := registry.Func(name)
	if !ok {
		t.Fatalf("pack %s has no func %s", p.Name, name)
	}
	c := &call{}
	ctx = taskpacks.WithCall(ctx, taskpacks.Call{ID: "id", Attempt: 2, Node: "node", Log: c, Progress: func(f float64, text string) {
		c.mu.Lock()
		c.progress = append(c.progress, fmt.Sprint(f, " ", text))
		c.mu.Unlock()
		if observe != nil {
			observe()
		}
	}})
	result, err := fn.Call(ctx, json.RawMessage(args))
	c.result, c.err = string(result), err
	return c
}

// failure returns the error of a call that must be one of the code.
func (c *call) failure(t testing.TB) *taskpacks.Error {
	t.Helper()
	var failed *taskpacks.Error
	if !errors.As(c.err, &failed) {
		t.Fatalf("result %s, error %v; want a *taskpacks.Error", c.result, c.err)
	}
	return failed
}

// text returns the JSON string that a call returned.
func (c *call) text(t testing.TB) (text string) {
	t.Helper()
	if c.err != nil {
		t.Fatal(c.err)
	}
	if err := json.Unmarshal([]byte(c.result), &text); err != nil {
		t.Fatalf("result %s is no string", c.result)
	}
	return text
}
