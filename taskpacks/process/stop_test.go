//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pytasks/taskpacks"
)

func TestSoftStop(t *testing.T) {
	h := newHost(t, Config{Soft: time.Hour})
	p := h.NewPool(program(t, "worker"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := observe(ctx)
	go func() {
		<-o.progress
		cancel()
	}()
	_, err := p.Call(o, Request{Task: "wait"})
	var said *taskpacks.Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &said) || said.Traceback != "line 3" {
		t.Errorf("got %v, want ctx's error, and where the code was", err)
	}
}

func TestHardStop(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := observe(ctx)
	pids := make(chan string, 1)
	go func() {
		pids <- <-o.progress
		cancel()
	}()
	_, err := p.Call(o, Request{Task: "stubborn"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	pid, _ := strconv.Atoi(strings.TrimPrefix(<-pids, "0 "))
	if pid == 0 || alive(pid) {
		t.Errorf("the child %d of a stopped call is alive when the call returns", pid)
	}
}

func TestCallAfterItsEnd(t *testing.T) {
	h := newHost(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.NewPool(Program{}).Call(ctx, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestLeftChildrenEnd(t *testing.T) {
	for name, argv := range map[string][]string{
		"child": {"sleep"}, "orphan": {"orphan"}, "bomb": {"bomb", "..."},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, Config{})
			p := h.NewPool(program(t, "worker"))
			worker, err := strconv.Atoi(call(t, p, "pid", nil))
			if err != nil {
				t.Fatal(err)
			}
			call(t, p, "spawn", arg{"argv": argv})
			if left := members(worker); len(left) > 0 {
				t.Errorf("after the call processes %v of the group %d are alive, want none", left, worker)
			}
			call(t, p, "pid", nil)
		})
	}
}

func TestWaitedForChildrenDoNotMatter(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	first := call(t, p, "pid", nil)
	call(t, p, "spawn", arg{"argv": []string{"nothing"}})
	if again := call(t, p, "pid", nil); again != first {
		t.Errorf("worker %s was replaced by %s, want that it stays: its child has ended", first, again)
	}
}

// TestNodeIsKilled is about what runs when the node's process dies of kill -9.
func TestNodeIsKilled(t *testing.T) {
	dir := t.TempDir()
	prog := program(t, "node", dir)
	node := exec.Command(prog.Argv[0], prog.Argv[1:]...)
	node.Env = prog.Env
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	var worker int
	if _, err := fmt.Fscan(out, &worker); err != nil || worker <= 1 {
		t.Fatalf("no worker: %d, %v", worker, err)
	}
	defer slay(worker)
	fd, err := unix.PidfdOpen(worker, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	node.Process.Kill()
	node.Wait()
	ends := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(ends, 10_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			t.Errorf("the worker %d is alive after the node was killed: %d, %v", worker, n, err)
		}
		break
	}
	if left := members(worker); len(left) != 1 {
		t.Errorf("processes %v are alive after the node was killed, want the worker's child", left)
	}
	newHost(t, Config{Dir: dir})
	if left := members(worker); len(left) > 0 {
		t.Errorf("processes %v are alive when the node is back, want none", left)
	}
}

func TestSetsidChildIsLeft(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	o := observe(t.Context())
	_, err := p.Call(o, Request{Task: "spawn and exit", Args: args(t, arg{"n": 4, "setsid": true, "argv": []string{"chatter"}})})
	pid, _ := strconv.Atoi(strings.TrimPrefix(<-o.progress, "0 "))
	defer slay(pid)
	if err == nil || !strings.Contains(err.Error(), "exited with status 4") {
		t.Errorf("got %v, want that it exited with status 4", err)
	}
	if !alive(pid) {
		t.Errorf("the child %d with a session of its own is gone, want that it is left alone", pid)
	}
}

func TestWorkers(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	want := func(what string, idle, busy int) {
		t.Helper()
		if i, b := p.Workers(); i != idle || b != busy {
			t.Errorf("%s: %d idle and %d busy workers, want %d and %d", what, i, b, idle, busy)
		}
	}
	want("before the first call", 0, 0)
	call(t, p, "pid", nil)
	want("after a call", 1, 0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o, ended := observe(ctx), make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = p.Call(o, Request{Task: "wait"})
	}()
	<-o.progress
	want("in a call", 0, 1)
	cancel()
	<-ended
	want("after a call that was ended", 0, 0)
	call(t, p, "pid", nil)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	want("after Close", 0, 0)
}
