package process

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// nodeCgroup is the name of the cgroup that the node moves itself to: one that has processes cannot bound those below it.
const nodeCgroup = "pytasks-node"

// openCgroups prepares the cgroup that this process is in, if it is the node's alone: the process moves to one below it. What
// a Host with the same scratch folder has left there is removed. proc is where the kernel tells of processes, "/proc". The error
// says what of it the node may not do.
func openCgroups(proc, scratch string, limit int64) (*cgroups, error) {
	base, err := ownCgroup(proc)
	if err != nil {
		return nil, err
	}
	if filepath.Base(base) == nodeCgroup { // another Host was here, or the node was started there
		base = filepath.Dir(base)
	}
	if err := delegated(base); err != nil {
		return nil, err
	}
	c := &cgroups{base: base, prefix: cgroupPrefix(scratch), limit: limit}
	moved, err := c.settle(proc)
	if err == nil {
		c.removeLeft()
		err = c.try()
	}
	if err != nil {
		if moved {
			c.unsettle()
		}
		return nil, err
	}
	return c, nil
}

// cgroupPrefix begins the names of the cgroups of a Host, which is known by its scratch folder.
func cgroupPrefix(scratch string) string {
	sum := sha256.Sum256([]byte(scratch))
	return fmt.Sprintf("pytasks-%x-", sum[:4])
}

// ownCgroup returns the folder of this process's cgroup.
func ownCgroup(proc string) (string, error) {
	text, err := os.ReadFile(filepath.Join(proc, "self/cgroup"))
	if err != nil {
		return "", fmt.Errorf("find the node's cgroup: %w", err)
	}
	mounts, err := os.ReadFile(filepath.Join(proc, "self/mountinfo"))
	if err != nil {
		return "", fmt.Errorf("find the node's cgroup: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		own, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		for mount := range strings.Lines(string(mounts)) {
			// "31 23 0:28 /root /mount/point options [optional...] - type source options"
			fields, rest, _ := strings.Cut(mount, " - ")
			f := strings.Fields(fields)
			if len(f) < 5 || !strings.HasPrefix(rest, "cgroup2 ") || strings.Contains(f[3]+own+"/", "/../") {
				continue // ".." leads out of what this process can see
			}
			below, err := filepath.Rel(unescape(f[3]), own)
			if err == nil && filepath.IsLocal(below) {
				return filepath.Join(unescape(f[4]), below), nil
			}
		}
	}
	return "", errors.New("no cgroup of version 2 is mounted that the node is in")
}

// unescape undoes what the kernel does to blanks in paths.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// delegated returns an error unless the memory of what is below a cgroup is the node's to bound.
func delegated(base string) error {
	controllers, err := os.ReadFile(filepath.Join(base, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("look at the node's cgroup: %w", err)
	}
	if !slices.Contains(strings.Fields(string(controllers)), "memory") {
		return fmt.Errorf("the cgroup %s does not have the controller memory: delegate it to the node (systemd: Delegate=memory)", base)
	}
	// Root may write everywhere. But from a unit that is not delegated systemd takes controllers when it likes, and with them the
	// limits. Others may only write to what is theirs.
	isUnit := slices.Contains([]string{".service", ".scope", ".slice"}, filepath.Ext(base))
	if os.Geteuid() != 0 || !isUnit {
		return nil
	}
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		var value [1]byte
		if n, err := unix.Getxattr(base, name, value[:]); err == nil && string(value[:n]) == "1" {
			return nil
		}
	}
	return fmt.Errorf("systemd has not delegated the cgroup %s: write Delegate=memory in the unit of the node", base)
}

// settle moves the node out of the base, which must be its own, and lets the cgroups there have limits of memory.
func (c *cgroups) settle(proc string) (moved bool, err error) {
	leaf := &cgroup{path: filepath.Join(c.base, nodeCgroup)}
	for range patience {
		var pids []int
		if pids, err = readProcs(c.base); err != nil {
			return moved, fmt.Errorf("look at the node's cgroup: %w", err)
		}
		for _, pid := range pids {
			if !isOwn(proc, pid) {
				return moved, fmt.Errorf("the cgroup %s is not the node's alone, process %d is in it: start the node in one of its own", c.base, pid)
			}
		}
		if len(pids) > 0 {
			if err := os.Mkdir(leaf.path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return moved, fmt.Errorf("move the node to a cgroup: %w", err)
			}
			moved = true
		}
		for _, pid := range pids {
			if err := leaf.write("cgroup.procs", strconv.Itoa(pid)); err != nil && !errors.Is(err, unix.ESRCH) {
				return moved, fmt.Errorf("move the node to a cgroup: %w", err)
			}
		}
		err = (&cgroup{path: c.base}).write("cgroup.subtree_control", "+memory")
		if !errors.Is(err, unix.EBUSY) { // that is a process of the node which was started meanwhile
			break
		}
	}
	if err != nil {
		return moved, fmt.Errorf("have limits of memory below the cgroup: %w", err)
	}
	return moved, nil
}

// unsettle undoes settle.
func (c *cgroups) unsettle() {
	base, leaf := &cgroup{path: c.base}, &cgroup{path: filepath.Join(c.base, nodeCgroup)}
	base.write("cgroup.subtree_control", "-memory")
	for _, pid := range leaf.procs() {
		base.write("cgroup.procs", strconv.Itoa(pid))
	}
	leaf.remove()
}

// try does all that is done for a process, without one: what it starts is not there.
func (c *cgroups) try() error {
	g, err := c.make()
	if err != nil {
		return err
	}
	defer g.remove()
	defer g.started()
	attr := sysProcAttr()
	g.join(attr)
	absent := filepath.Join(g.path, "absent")
	if _, err := syscall.ForkExec(absent, []string{absent}, &syscall.ProcAttr{Sys: attr}); !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("start a process in a cgroup: %w", err)
	}
	if err := g.write("cgroup.kill", "1"); err != nil {
		return fmt.Errorf("kill the processes of a cgroup, which takes Linux 5.14: %w", err)
	}
	return nil
}

// isOwn reports whether a process is this one, or comes from it.
func isOwn(proc string, pid int) bool {
	for pid > 1 && pid != os.Getpid() {
		stat, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
		if err != nil {
			return false
		}
		// "17 (any name) S 1 ...": a name may hold brackets and blanks.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			return false
		}
		pid, _ = strconv.Atoi(string(fields[1]))
	}
	return pid == os.Getpid()
}
