package process

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const bytesWaiting = unix.TIOCINQ // FIONREAD elsewhere

// polling is how memory is bounded without cgroups.
const polling = "polling"

// patience is how often it is looked, every 10 ms, whether what was killed is gone: some may take a while to die.
const patience = 50

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// waitFor waits for a child to end, calls ended while its process id is still its own, and returns its status.
func waitFor(pid int, ended func()) (status syscall.WaitStatus) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	ended()
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			return status
		}
	}
}

// confine bounds what a process that was just started can do to the node, and its children, which inherit that each for itself.
//
// Allocations fail inside it that go well beyond memory bytes, so that a sudden one is noticed too; 0 = no limit. A quarter more
// is allowed, since what is merely reserved counts as well: the stacks of threads above all. And the kernel takes it before the
// node when the machine's memory is full.
func confine(pid int, memory int64) {
	if memory > 0 {
		most := uint64(memory + memory/4)
		unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: most, Max: most}, nil)
	}
	os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("500"), 0)
}

// members returns the processes of a process group that are alive.
func members(pgid int) (pids []int) {
	eachProcess(func(pid int) {
		if of, err := syscall.Getpgid(pid); err == nil && of == pgid && !isZombie(pid) {
			pids = append(pids, pid)
		}
	})
	return pids
}

func eachProcess(visit func(pid int)) {
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			visit(pid)
		}
	}
}

// isZombie reports whether a process has ended: it is listed until its parent looks.
func isZombie(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	// "17 (any name) S ...": a name may hold brackets and blanks.
	end := bytes.LastIndexByte(stat, ')')
	return end+2 < len(stat) && (stat[end+2] == 'Z' || stat[end+2] == 'X')
}

// killLeft kills what processes of a Host in dir have left running, when its node was killed. They are known by the folders in
// their environment, which children inherit, also those with a session of their own.
func killLeft(dir string) {
	folder := []byte("=" + dir + "/" + scratchPrefix)
	for range patience {
		found := false
		eachProcess(func(pid int) {
			env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
			if err == nil && bytes.Contains(env, folder) && !isZombie(pid) {
				found = true
				syscall.Kill(pid, syscall.SIGKILL)
			}
		})
		if !found {
			return
		}
		time.Sleep(10 * time.Millisecond) // there is no event to wait for
	}
}

// addMemory adds to each process group in use what its processes have in memory, in bytes.
func addMemory(use map[int]int64) {
	eachProcess(func(pid int) {
		if group, err := syscall.Getpgid(pid); err == nil {
			if _, ok := use[group]; ok {
				use[group] += resident(pid)
			}
		}
	})
}

// resident returns the bytes of memory that a process has in use, shared ones included; 0 if it is gone.
func resident(pid int) int64 {
	statm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}

// openForks returns the file for lastPID, nil if there is none.
func openForks() *os.File {
	f, err := os.Open("/proc/loadavg")
	if err != nil {
		return nil
	}
	return f
}

// lastPID returns the id of the process or thread that the system made last; 0 where it does not tell.
func (h *Host) lastPID() int {
	var b [128]byte
	n, _ := h.forks.ReadAt(b[:], 0) // 0 if there is no file; the error is io.EOF at best
	text := bytes.TrimSpace(b[:n])
	pid, _ := strconv.Atoi(string(text[bytes.LastIndexByte(text, ' ')+1:]))
	return pid
}
