//go:build linux

package process

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pytasks/taskpacks"
)

// newHost returns a Host that gives up soon.
func newHost(t testing.TB, cfg Config) *Host {
	t.Helper()
	return openHost(t, cfg, "/proc")
}

// openHost is newHost, for a system that tells of its processes in the folder proc.
func openHost(t testing.TB, cfg Config, proc string) *Host {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Soft == 0 {
		cfg.Soft, cfg.Term = 50*time.Millisecond, 50*time.Millisecond
	}
	cfg.Env = append(cfg.Env, "GORACE=atexit_sleep_ms=0") // or each process lasts a second longer under -race
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := open(cfg, proc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		entries, err := os.ReadDir(cfg.Dir)
		if err != nil || len(entries) > 0 {
			t.Errorf("scratch folder holds %v, %v, want nothing", entries, err)
		}
	})
	return h
}

// program returns the test's own program in a role.
func program(t testing.TB, role string, args ...string) Program {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Program{Argv: append([]string{exe}, args...), Env: []string{roleKey + "=" + role}}
}

// observed is a context of a call, and what the call tells.
type observed struct {
	context.Context
	progress chan string

	mu  sync.Mutex
	log strings.Builder // guarded by mu
}

func observe(ctx context.Context) *observed {
	o := &observed{progress: make(chan string, 8)}
	o.Context = taskpacks.WithCall(ctx, taskpacks.Call{
		Log: o, Progress: func(f float64, text string) { o.progress <- fmt.Sprintf("%g %s", f, text) },
	})
	return o
}

func (o *observed) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log.Write(p)
}

func (o *observed) printed() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log.String()
}

func args(t testing.TB, v any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

type arg map[string]any

// call makes a call that must succeed.
func call(t testing.TB, p *Pool, task string, a arg) string {
	t.Helper()
	result, err := p.Call(t.Context(), Request{Task: task, Args: args(t, a)})
	if err != nil {
		t.Fatalf("%s: %v", task, err)
	}
	return string(result)
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil && !isZombie(pid) }

// slay ends a process that was left alone.
func slay(pid int) {
	if pid > 1 { // 0 would be the test itself
		syscall.Kill(pid, syscall.SIGKILL)
	}
}
