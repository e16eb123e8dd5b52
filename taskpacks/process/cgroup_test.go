//go:build linux

package process

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const cgroupLimit = 512 << 20

// cgroupHost returns a Host with a limit of 512 MiB that the kernel holds, or skips the test.
func cgroupHost(t *testing.T, cfg Config) *Host {
	t.Helper()
	cfg.MaxMemory = cgroupLimit
	h := newHost(t, cfg)
	if by, err := h.MemoryBound(); by != "cgroup" {
		t.Skipf("the kernel does not bound memory here: %v", err)
	}
	return h
}

// cgroupsOf returns the cgroups of the Host in dir. h says where they are.
func cgroupsOf(t *testing.T, h *Host, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(h.cgroups.base, cgroupPrefix(dir)+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestCgroupMemory needs a cgroup of version 2 of the test's own with the controller memory.
func TestCgroupMemory(t *testing.T) {
	h := cgroupHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	for name, a := range map[string]arg{
		"allocate and wait": {"n": cgroupLimit},
		"allocate":          {"n": 2 * cgroupLimit},
		"children allocate": {"n": cgroupLimit / 2},
		"memory error":      {},
	} {
		_, err := p.Call(t.Context(), Request{Task: name, Args: args(t, a)})
		wantLimit(t, name, err)
	}
	_, err := p.Call(t.Context(), Request{Task: "children allocate", Args: args(t, arg{"n": cgroupLimit / 2, "setsid": true})})
	wantLimit(t, "children with sessions of their own", err)

	_, err = h.Once(t.Context(), program(t, "child", "allocate", strconv.Itoa(cgroupLimit)), nil)
	wantLimit(t, "a program", err)
	_, err = h.Once(t.Context(), program(t, "once", "sh", "kill -KILL $$"), nil)
	if err == nil || !strings.Contains(err.Error(), "ended by signal 9") {
		t.Errorf("a killed program: got %v, want signal 9", err)
	}

	first := call(t, p, "pid", nil)
	call(t, p, "allocate", arg{"n": cgroupLimit / 4})
	if again := call(t, p, "pid", nil); again != first {
		t.Errorf("worker %s was replaced by %s, want that it stays: it is within the limit", first, again)
	}
	if left := cgroupsOf(t, h, h.cfg.Dir); len(left) != 1 {
		t.Errorf("cgroups %v are left, want that of the idle worker", left)
	}
	h.Close()
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("after Close the node has a child left: %d, %v", pid, err)
	}
	if left := cgroupsOf(t, h, h.cfg.Dir); len(left) != 0 {
		t.Errorf("cgroups %v are left, want none", left)
	}
}

// TestCgroupOfChildren is about processes that have left the group of their worker.
func TestCgroupOfChildren(t *testing.T) {
	h := cgroupHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	worker := call(t, p, "pid", nil)
	pid, _ := strconv.Atoi(call(t, p, "spawn", arg{"setsid": true, "argv": []string{"stubborn"}}))
	defer slay(pid)
	if pid == 0 || !gone(pid) {
		t.Errorf("the child %d of a call is alive after it", pid)
	}
	if again := call(t, p, "pid", nil); again == worker {
		t.Errorf("worker %s ran again, want that it ended with its child", worker)
	}
	once := program(t, "once", "spawn", "setsid", "stubborn")
	once.Stdout = true
	out, err := h.Once(t.Context(), once, nil)
	pid, _ = strconv.Atoi(string(out.Stdout))
	defer slay(pid)
	if err != nil || pid == 0 || !gone(pid) {
		t.Errorf("the child %d of a program is alive after it, %v", pid, err)
	}
}

// gone reports whether a process has ended, and was waited for if it is an orphan of this process's.
func gone(pid int) bool {
	if syscall.Getpid() == 1 {
		return syscall.Kill(pid, 0) != nil
	}
	return !alive(pid)
}

// TestCgroupOfKilledNode is about cgroups that nobody removes when the node's process dies of kill -9.
func TestCgroupOfKilledNode(t *testing.T) {
	h := cgroupHost(t, Config{})
	dir := t.TempDir()
	prog := program(t, "node", dir, strconv.Itoa(cgroupLimit))
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
	if before := cgroupsOf(t, h, dir); len(before) != 1 {
		t.Errorf("the node has cgroups %v, want one", before)
	}
	node.Process.Kill()
	node.Wait()
	cgroupHost(t, Config{Dir: dir})
	if left := cgroupsOf(t, h, dir); len(left) > 0 {
		t.Errorf("cgroups %v are left when the node is back, want none", left)
	}
}
