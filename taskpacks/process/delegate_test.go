//go:build linux

package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// writeFiles makes files below dir, and their folders.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v, want %q", filepath.Base(path), got, err, want)
	}
}

func TestOwnCgroup(t *testing.T) {
	const (
		v1     = "32 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
		v2     = "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
		inside = `41 31 0:38 /docker/7 /sys/fs/c\040group rw - cgroup2 cgroup2 rw` + "\n"
	)
	for name, tt := range map[string]struct{ mounts, cgroup, want string }{
		"a service":        {v1 + v2, "0::/system.slice/pytasks.service\n", "/sys/fs/cgroup/system.slice/pytasks.service"},
		"version 1 beside": {v1 + v2, "4:memory:/x\n0::/\n", "/sys/fs/cgroup"},
		"a part of it":     {inside, "0::/docker/7/pytasks-node\n", "/sys/fs/c group/pytasks-node"},
		"another part":     {inside, "0::/docker/8\n", ""},
		"version 1":        {v1, "4:memory:/x\n", ""},
		"outside":          {v2, "0::/../8\n", ""},
		"mounted outside":  {strings.Replace(v2, " / ", " /.. ", 1), "0::/\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			writeFiles(t, proc, map[string]string{"self/mountinfo": tt.mounts, "self/cgroup": tt.cgroup})
			got, err := ownCgroup(proc)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// fakeCgroup returns a folder that looks like the cgroup of this process, which some processes are in, and one like /proc.
func fakeCgroup(t *testing.T, name string, pids ...int) (base, proc string) {
	t.Helper()
	root, proc := t.TempDir(), t.TempDir()
	procs := ""
	for _, pid := range pids {
		procs += fmt.Sprintln(pid)
	}
	writeFiles(t, root, map[string]string{name + "/cgroup.controllers": "cpu memory pids\n", name + "/cgroup.procs": procs})
	writeFiles(t, proc, map[string]string{
		"self/mountinfo": "41 31 0:38 / " + root + " rw - cgroup2 cgroup2 rw\n",
		"self/cgroup":    "0::/" + name + "\n",
		"8/stat":         fmt.Sprintf("8 (a b) c) S %d 8", os.Getpid()),
		"9/stat":         "9 (x) S 1 9",
	})
	return filepath.Join(root, name), proc
}

func TestSettle(t *testing.T) {
	base, proc := fakeCgroup(t, "svc", os.Getpid())
	c := &cgroups{base: base, prefix: "pytasks-ab-", limit: 4096}
	if moved, err := c.settle(proc); !moved || err != nil {
		t.Fatalf("settle: got %t, %v, want that the node has moved", moved, err)
	}
	wantFile(t, base+"/pytasks-node/cgroup.procs", strconv.Itoa(os.Getpid()))
	wantFile(t, base+"/cgroup.subtree_control", "+memory")

	g, err := c.make()
	if err != nil {
		t.Fatal(err)
	}
	defer g.started()
	if want := base + "/pytasks-ab-1"; g.path != want {
		t.Errorf("made %s, want %s", g.path, want)
	}
	wantFile(t, g.path+"/memory.max", "4096")
	wantFile(t, g.path+"/memory.swap.max", "0")
	wantFile(t, g.path+"/memory.oom.group", "1")

	c.unsettle()
	wantFile(t, base+"/cgroup.subtree_control", "-memory")
	wantFile(t, base+"/cgroup.procs", strconv.Itoa(os.Getpid()))
}

// TestSettleAgain is about a second Host, or systemd's DelegateSubgroup.
func TestSettleAgain(t *testing.T) {
	base, proc := fakeCgroup(t, "svc")
	writeFiles(t, base, map[string]string{"pytasks-node/cgroup.procs": "8\n"})
	writeFiles(t, proc, map[string]string{"self/cgroup": "0::/svc/pytasks-node\n"})
	_, err := openCgroups(proc, "/scratch", 4096)
	if err == nil || !strings.Contains(err.Error(), "start a process in a cgroup") {
		t.Errorf("got %v, want that all but the start was done", err)
	}
	wantFile(t, base+"/cgroup.subtree_control", "+memory")
	wantFile(t, base+"/pytasks-node/cgroup.procs", "8\n")
}

func TestOpenCgroups(t *testing.T) {
	for name, tt := range map[string]struct {
		base  string
		pids  []int
		files map[string]string
		want  string
	}{
		"no controller": {"svc", nil, map[string]string{"cgroup.controllers": "cpu pids\n"}, "does not have the controller memory"},
		"a stranger":    {"svc", []int{os.Getpid(), 9}, nil, "process 9 is in it: start the node in one of its own"},
		"not visible":   {"svc", []int{0}, nil, "process 0 is in it"},
		"a file":        {"svc", []int{os.Getpid()}, map[string]string{"pytasks-node": ""}, "move the node to a cgroup"},
		"no right":      {"svc", []int{os.Getpid()}, map[string]string{"cgroup.subtree_control/x": ""}, "have limits of memory below"},
		"no cgroup":     {"svc", []int{os.Getpid()}, nil, "start a process in a cgroup"},
		"no unit":       {"x.service.d", []int{8}, nil, "start a process in a cgroup"},
	} {
		t.Run(name, func(t *testing.T) {
			base, proc := fakeCgroup(t, tt.base, tt.pids...)
			writeFiles(t, base, tt.files)
			_, err := openCgroups(proc, "/scratch", 4096)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestDelegated(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can write to what is not delegated")
	}
	base, _ := fakeCgroup(t, "pytasks.service")
	if err := delegated(base); err == nil || !strings.Contains(err.Error(), "systemd has not delegated the cgroup") {
		t.Errorf("a unit: got %v, want that it is not delegated", err)
	}
	if err := unix.Setxattr(base, "trusted.delegate", []byte("1"), 0); err != nil {
		t.Skipf("the file system keeps no attributes: %v", err)
	}
	if err := delegated(base); err != nil {
		t.Errorf("a delegated unit: got %v, want none", err)
	}
}

func TestRemoveLeft(t *testing.T) {
	base, _ := fakeCgroup(t, "svc")
	writeFiles(t, base, map[string]string{"pytasks-ab-1/cgroup.kill": "", "pytasks-ab-22/cgroup.kill": "", "pytasks-abc-1/cgroup.kill": ""})
	(&cgroups{base: base, prefix: "pytasks-ab-"}).removeLeft()
	for name, want := range map[string]string{"pytasks-ab-1": "1", "pytasks-ab-22": "1", "pytasks-abc-1": ""} {
		wantFile(t, filepath.Join(base, name, "cgroup.kill"), want)
	}
}

func TestFull(t *testing.T) {
	for name, tt := range map[string]struct {
		events string
		want   bool
	}{
		"nothing":    {"low 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n", false},
		"the limit":  {"low 0\nmax 31\noom 1\noom_kill 2\noom_group_kill 1\n", true},
		"reclaimed":  {"max 31\noom 0\noom_kill 0\n", false},
		"the system": {"max 0\noom 0\noom_kill 1\noom_group_kill 1\n", false},
	} {
		dir := t.TempDir()
		writeFiles(t, dir, map[string]string{"memory.events": tt.events})
		if got := (&cgroup{path: dir}).full(); got != tt.want {
			t.Errorf("%s: got %t, want %t", name, got, tt.want)
		}
	}
}

func TestIsOwn(t *testing.T) {
	child := exec.Command("/proc/self/exe", "sleep")
	child.Env = []string{roleKey + "=child"}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	for pid, want := range map[int]bool{os.Getpid(): true, child.Process.Pid: true, os.Getppid(): false, 0: false} {
		if got := isOwn("/proc", pid); got != want {
			t.Errorf("isOwn(%d) = %t, want %t", pid, got, want)
		}
	}
}
