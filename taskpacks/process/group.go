package process

import (
	"cmp"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pytasks/taskpacks"
)

// group is a process that the Host has started, and the process group that it leads.
type group struct {
	host   *Host
	pid    int
	cgroup *cgroup            // nil without one
	hog    atomic.Bool        // it was killed because it took too much memory
	pipes  []*os.File         // the node's ends
	status syscall.WaitStatus // of the process; set before done is closed
	done   chan struct{}      // closed when no process of the group is left

	mu   sync.Mutex
	over bool // the process has ended, and with it the right to signal its id; guarded by mu
}

// newGroup takes over a process that was just started. Once it is gone nothing waits for its pipes any more, whoever holds the
// other ends.
func (h *Host) newGroup(pid int, cgroup *cgroup, pipes []*os.File) *group {
	g := &group{host: h, pid: pid, cgroup: cgroup, pipes: pipes, done: make(chan struct{})}
	h.mu.Lock()
	h.groups[g] = struct{}{}
	h.wg.Add(1) // the caller has entered: wg is not zero
	closed := h.closed
	h.mu.Unlock()
	if closed {
		g.kill()
	}
	go g.reap()
	return g
}

// reap waits for the process, kills what is left of its group and waits for that.
func (g *group) reap() {
	defer g.host.wg.Done()
	g.status = waitFor(g.pid, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.over = true
		syscall.Kill(-g.pid, syscall.SIGKILL)
	})
	if g.cgroup.full() {
		g.hog.Store(true)
	}
	g.cgroup.kill()
	began := time.Now()
	for pause := 100 * time.Microsecond; !g.gone(); pause = min(2*pause, 20*time.Millisecond) {
		// There is no event to wait for: these are not children of the node.
		time.Sleep(pause)
		if waited := time.Since(began); waited > 10*time.Second {
			g.host.log.Warn("processes of a task do not die", "group", g.pid)
			began = time.Now()
		}
	}
	for _, f := range g.pipes {
		f.SetDeadline(time.Unix(1, 0))
	}
	g.host.mu.Lock()
	delete(g.host.groups, g)
	g.host.mu.Unlock()
	close(g.done)
}

// gone reports whether no process of the group is alive, and none in its cgroup. Only called when the leader has been waited for.
func (g *group) gone() bool {
	for { // orphans, where the node is the first process of its container: nobody else waits for them
		if pid, err := syscall.Wait4(-g.pid, nil, syscall.WNOHANG, nil); pid <= 0 && err != syscall.EINTR {
			break
		}
	}
	if syscall.Kill(-g.pid, 0) == nil && len(members(g.pid)) > 0 {
		return false
	}
	return g.cgroup.remove() && g.cgroup.buried()
}

// members returns the processes of the group that are alive, those in its cgroup if it has one.
func (g *group) members() []int {
	if g.cgroup != nil {
		return g.cgroup.procs()
	}
	return members(g.pid)
}

// interrupt asks the process itself to stop.
func (g *group) interrupt() { g.signal(g.pid, syscall.SIGINT) }

// terminate asks the whole group to end.
func (g *group) terminate() { g.signal(-g.pid, syscall.SIGTERM) }

// kill ends the whole group, the process should it have moved to another one, and what is in the cgroup.
func (g *group) kill() {
	g.cgroup.kill()
	g.signal(-g.pid, syscall.SIGKILL)
	g.signal(g.pid, syscall.SIGKILL)
}

func (g *group) signal(to int, s syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		syscall.Kill(to, s)
	}
}

// stop asks the group to end, more and more firmly, until it is gone or over is closed.
func (g *group) stop(over <-chan struct{}) {
	for _, step := range []struct {
		tell func()
		wait time.Duration
	}{{g.interrupt, g.host.cfg.Soft}, {g.terminate, g.host.cfg.Term}} {
		step.tell()
		timer := time.NewTimer(step.wait)
		select {
		case <-over:
			timer.Stop()
			return
		case <-g.done:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
	g.kill()
}

// death is the error of a group that ended without being asked and without an answer. printed is the end of what it printed.
func (g *group) death(printed string) error {
	<-g.done
	switch {
	case g.hog.Load():
		return g.host.memoryError(printed)
	case g.host.isClosed():
		return ErrClosed
	}
	how := fmt.Sprintf("exited with status %d without an answer", g.status.ExitStatus())
	if g.status.Signaled() {
		s := g.status.Signal()
		how = fmt.Sprintf("ended by signal %d (%s)", int(s), cmp.Or(signalHints[s], s.String()))
	}
	return &taskpacks.Error{
		Reason: taskpacks.ReasonCrash, Type: "WorkerDied", Message: "the process " + how, Traceback: printed,
	}
}

// signalHints say more of a signal than its name.
var signalHints = map[syscall.Signal]string{
	syscall.SIGKILL: "killed; the kernel does that to a process when the machine's memory is full",
}
