//go:build linux

package process

import (
	"errors"
	"runtime/debug"
	"slices"
	"testing"

	"pytasks/taskpacks"
)

func TestMemory(t *testing.T) {
	if raceDetector() {
		t.Skip("the race detector's own memory is beyond the limit")
	}
	const limit = 512 << 20
	h := openHost(t, Config{MaxMemory: limit}, t.TempDir())
	p := h.NewPool(program(t, "worker"))
	for task, n := range map[string]int{
		"allocate and wait": limit,
		"children allocate": limit / 2, // each
		"memory error":      0,         // Python's
	} {
		_, err := p.Call(t.Context(), Request{Task: task, Args: args(t, arg{"n": n})})
		wantLimit(t, task, err)
	}
	_, err := h.NewPool(program(t, "no memory")).Call(t.Context(), Request{})
	if got := (*taskpacks.Error)(nil); !errors.As(err, &got) || got.Reason != taskpacks.ReasonMemory || got.Traceback != "line 1" {
		t.Errorf("an import without memory: got %#v, want the limit", err)
	}
	_, err = p.Call(t.Context(), Request{Task: "allocate", Args: args(t, arg{"n": 8 * limit})})
	var got *taskpacks.Error
	if !errors.As(err, &got) || got.Traceback != "cannot allocate memory\n" {
		t.Errorf("8 times the limit at once: got %#v, want that the allocation failed", err)
	}
}

// wantLimit checks the error of a call that took more than 512 MiB.
func wantLimit(t *testing.T, what string, err error) {
	t.Helper()
	var got *taskpacks.Error
	if !errors.As(err, &got) || got.Reason != taskpacks.ReasonMemory || got.Type != "MemoryLimit" ||
		got.Message != "the task took more than 512 MiB of memory (--task-max-memory)" {
		t.Errorf("%s: got %#v, want the limit", what, err)
	}
}

func TestMemoryBound(t *testing.T) {
	if by, err := newHost(t, Config{}).MemoryBound(); by != "" || err != nil {
		t.Errorf("without a limit: got %q, %v, want none", by, err)
	}
	if by, err := openHost(t, Config{MaxMemory: 1 << 30}, t.TempDir()).MemoryBound(); by != "polling" || err == nil {
		t.Errorf("without cgroups: got %q, %v, want polling, and why", by, err)
	}
}

func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestGrownWorkerIsReplaced(t *testing.T) {
	h := newHost(t, Config{MaxRSS: 512 << 20})
	p := h.NewPool(program(t, "worker"))
	first := call(t, p, "pid", nil)
	if again := call(t, p, "pid", nil); again != first {
		t.Errorf("worker %s was replaced by %s, want that a small one stays", first, again)
	}
	call(t, p, "allocate", arg{"n": 512 << 20})
	if again := call(t, p, "pid", nil); again == first {
		t.Errorf("worker %s with more than 512 MiB ran again", first)
	}
}

func TestByteText(t *testing.T) {
	for n, want := range map[int64]string{512 << 20: "512 MiB", 1 << 30: "1 GiB", 1536 << 20: "1536 MiB", 1001: "1001 bytes"} {
		if got := byteText(n); got != want {
			t.Errorf("byteText(%d) = %s, want %s", n, got, want)
		}
	}
}
