package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups makes a cgroup for each process group of a Host, in which the kernel bounds their memory. A nil one makes none.
type cgroups struct {
	base   string // the folder that they are made in
	prefix string // of their names: another Host may use the same base
	limit  int64  // bytes
	made   atomic.Uint64
}

// cgroup is where the processes of one group are, also those that have made a session of their own. A nil one has none.
type cgroup struct {
	path string
	dir  *os.File // until the process has started
}

// make returns a new cgroup. Its started must be called.
func (c *cgroups) make() (*cgroup, error) {
	if c == nil {
		return nil, nil
	}
	g := &cgroup{path: filepath.Join(c.base, c.prefix+strconv.FormatUint(c.made.Add(1), 10))}
	err := os.Mkdir(g.path, 0o755)
	if err == nil {
		err = g.bound(c.limit)
	}
	if err == nil {
		g.dir, err = os.Open(g.path)
	}
	if err != nil {
		g.remove()
		return nil, fmt.Errorf("bound the memory of a process: %w", err)
	}
	return g, nil
}

func (g *cgroup) bound(limit int64) error {
	if err := g.write("memory.max", strconv.FormatInt(limit, 10)); err != nil {
		return err
	}
	if err := g.write("memory.oom.group", "1"); err != nil {
		return err
	}
	// A kernel without swap has no such file.
	err := g.write("memory.swap.max", "0")
	if _, absent := os.Stat(filepath.Join(g.path, "memory.swap.max")); errors.Is(absent, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (g *cgroup) write(file, text string) error {
	return os.WriteFile(filepath.Join(g.path, file), []byte(text), 0o644)
}

// join makes a process start in the cgroup: there is no moment in which it is elsewhere.
func (g *cgroup) join(attr *syscall.SysProcAttr) {
	if g != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.dir.Fd())
	}
}

// started tells that the process was started, or could not be.
func (g *cgroup) started() {
	if g != nil {
		g.dir.Close()
	}
}

// kill ends all processes. Their number may grow meanwhile: the kernel sees to that.
func (g *cgroup) kill() {
	if g != nil {
		g.write("cgroup.kill", "1")
	}
}

// procs returns the processes that are alive.
func (g *cgroup) procs() []int {
	if g == nil {
		return nil
	}
	pids, _ := readProcs(g.path)
	return pids
}

// full reports whether the kernel has killed the processes because they had reached their limit. That it killed one is not
// enough: so it does when the machine, or the whole node, has no memory left.
func (g *cgroup) full() bool {
	if g == nil {
		return false
	}
	f, err := os.Open(filepath.Join(g.path, "memory.events"))
	if err != nil {
		return false
	}
	defer f.Close()
	events := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, count, _ := strings.Cut(lines.Text(), " ")
		events[name] = count != "0"
	}
	return events["oom"] && (events["oom_kill"] || events["oom_group_kill"])
}

// remove removes the cgroup, with those that its processes may have made in it. It reports whether it is done with: false says
// that there are processes yet.
func (g *cgroup) remove() bool { return g == nil || !errors.Is(removeCgroup(g.path), unix.EBUSY) }

func removeCgroup(path string) error {
	err := unix.Rmdir(path)
	if err != unix.EBUSY {
		return err
	}
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if e.IsDir() {
			removeCgroup(filepath.Join(path, e.Name()))
		}
	}
	return unix.Rmdir(path)
}

// buried waits for orphans from the removed cgroup, where the node is the first process of its container: nobody else does, and
// those with sessions of their own are found by nothing else. It reports whether there are no more.
func (g *cgroup) buried() bool {
	if g == nil || os.Getpid() != 1 {
		return true
	}
	name := []byte("/" + filepath.Base(g.path))
	none := true
	eachProcess(func(pid int) {
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
		_, rest, ok := bytes.Cut(text, name)
		if !ok || rest[0] >= '0' && rest[0] <= '9' {
			return
		}
		if _, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); err == nil {
			none = false // it is about to end, or has ended and left children of its own
		}
	})
	return none
}

// removeLeft kills what is in the cgroups that a Host with the same prefix has left, and removes them.
func (c *cgroups) removeLeft() {
	paths, _ := filepath.Glob(filepath.Join(c.base, c.prefix+"*"))
	for _, path := range paths {
		g := &cgroup{path: path}
		g.kill()
		for range patience {
			if g.remove() {
				break
			}
			time.Sleep(10 * time.Millisecond) // there is no event to wait for
		}
	}
}

// readProcs returns the processes of the cgroup in a folder. 0 stands for each that this one cannot see.
func readProcs(path string) (pids []int, err error) {
	text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
	for _, line := range strings.Fields(string(text)) {
		pid, _ := strconv.Atoi(line)
		pids = append(pids, pid)
	}
	return pids, err
}
