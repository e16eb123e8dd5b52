//go:build linux

package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pytasks/taskpacks"
)

func TestOnce(t *testing.T) {
	h := newHost(t, Config{})
	o := observe(t.Context())
	prog := program(t, "once", "copy")
	prog.Stdout = true
	out, err := h.Once(o, prog, []byte("input"))
	if err != nil || out.Exit != 0 || string(out.Stdout) != "input" || string(out.FD4) != "four" || string(out.Stderr) != "said" {
		t.Errorf("got %d %q %q %q, %v", out.Exit, out.Stdout, out.FD4, out.Stderr, err)
	}
	if got := o.printed(); got != "said" {
		t.Errorf("log %q, want standard error", got)
	}
	o = observe(t.Context())
	if out, err := h.Once(o, program(t, "once", "copy"), []byte("input")); err != nil || out.Stdout != nil {
		t.Errorf("got %q, %v, want no standard output", out.Stdout, err)
	}
	if got := o.printed(); got != "inputsaid" {
		t.Errorf("log %q, want standard output and error", got)
	}
}

func TestOnceExit(t *testing.T) {
	h := newHost(t, Config{})
	out, err := h.Once(t.Context(), program(t, "once", "exit", strings.Repeat("x", 5000)+"end"), nil)
	if err != nil || out.Exit != 3 || len(out.Stderr) != 4096 || !strings.HasSuffix(string(out.Stderr), "end") {
		t.Errorf("got %d %d bytes, %v, want 3 and the last 4096", out.Exit, len(out.Stderr), err)
	}
}

func TestOnceFolder(t *testing.T) {
	h := newHost(t, Config{})
	prog := program(t, "once", "env")
	prog.Stdout = true
	out, err := h.Once(t.Context(), prog, nil)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(out.Stdout)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[key] = value
	}
	if env["HOME"] != env["cwd"] || env["TMPDIR"] != env["cwd"] || filepath.Dir(env["cwd"]) != h.cfg.Dir {
		t.Errorf("folders %v, want one below %s", env, h.cfg.Dir)
	}
	if _, err := os.Stat(env["cwd"]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder afterwards: %v, want that it does not exist", err)
	}
}

func TestOnceChildren(t *testing.T) {
	h := newHost(t, Config{})
	for _, how := range []string{"group", "setsid"} {
		prog := program(t, "once", "spawn", how, "sleep")
		prog.Stdout = true
		out, err := h.Once(t.Context(), prog, nil)
		pid, _ := strconv.Atoi(string(out.Stdout))
		defer slay(pid)
		if err != nil || pid == 0 || alive(pid) != (how == "setsid") {
			t.Errorf("%s: child %q, %v, alive %v", how, out.Stdout, err, alive(pid))
		}
	}
}

func TestOnceTooLong(t *testing.T) {
	h := newHost(t, Config{MaxResult: 1000})
	prog := program(t, "once", "endless")
	prog.Stdout = true
	_, err := h.Once(t.Context(), prog, nil)
	if !taskpacks.IsPermanent(err) || !strings.Contains(err.Error(), "may have 1000") {
		t.Errorf("got %v, want that 1000 bytes are allowed", err)
	}
}

func TestOnceStops(t *testing.T) {
	h := newHost(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ctx = taskpacks.WithCall(ctx, taskpacks.Call{Log: writerFunc(func([]byte) { cancel() })})
	_, err := h.Once(ctx, program(t, "once", "wait"), nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestOnceSignal(t *testing.T) {
	h := newHost(t, Config{})
	_, err := h.Once(t.Context(), program(t, "once", "sh", "echo bye; kill -KILL $$"), nil)
	var got *taskpacks.Error
	if !errors.As(err, &got) || got.Reason != taskpacks.ReasonCrash || !strings.Contains(got.Message, "signal 9 (killed") || got.Traceback != "bye\n" {
		t.Errorf("got %#v, want a crash by signal 9", err)
	}
}
