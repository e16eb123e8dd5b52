package process

import (
	"fmt"
	"sync"
	"time"

	"pytasks/taskpacks"
)

// watchEvery is how often the memory of running calls is looked at.
const watchEvery = 100 * time.Millisecond

// bound decides how the memory of calls is bounded: by the kernel where the node may use cgroups, else by looking. proc is where
// the system tells of processes.
func (h *Host) bound(proc string) {
	if h.cfg.MaxMemory == 0 {
		return
	}
	h.cgroups, h.noCgroups = openCgroups(proc, h.cfg.Dir, h.cfg.MaxMemory)
	if h.cgroups == nil {
		h.watch = newWatch(h.cfg.MaxMemory)
	}
}

// MemoryBound tells how Config.MaxMemory is held: "cgroup", by the kernel; "polling", by looking at what processes use every
// tenth of a second; "" if it is not, or there is no limit. The error says why it is not "cgroup".
func (h *Host) MemoryBound() (by string, err error) {
	switch {
	case h.cgroups != nil:
		return "cgroup", nil
	case h.watch != nil:
		return polling, h.noCgroups
	}
	return "", nil
}

// watch kills groups whose processes have more memory in use than they may, together. What processes share is counted for each
// of them. A nil watch does nothing.
type watch struct {
	limit      int64
	stop, done chan struct{}

	mu     sync.Mutex
	groups map[int]*group // that run a call, by their id; guarded by mu
}

func newWatch(limit int64) *watch {
	w := &watch{limit: limit, stop: make(chan struct{}), done: make(chan struct{}), groups: map[int]*group{}}
	go w.run()
	return w
}

func (w *watch) close() {
	close(w.stop)
	<-w.done
}

// most is how much memory a group may have in use, 0 for no limit.
func (w *watch) most() int64 {
	if w == nil {
		return 0
	}
	return w.limit
}

func (w *watch) add(g *group) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.groups[g.pid] = g
	}
}

func (w *watch) remove(g *group) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.groups, g.pid)
	}
}

func (w *watch) run() {
	defer close(w.done)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			w.look()
		}
	}
}

// look adds up the memory of all groups and kills those that are over the limit.
func (w *watch) look() {
	w.mu.Lock()
	ids := make(map[int]int64, len(w.groups))
	for id := range w.groups {
		ids[id] = 0
	}
	w.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	addMemory(ids)

	w.mu.Lock()
	defer w.mu.Unlock()
	for id, used := range ids {
		if g := w.groups[id]; g != nil && used > w.limit {
			g.hog.Store(true)
			g.kill()
		}
	}
}

// memoryError is the error of a call that took more memory than it may.
func (h *Host) memoryError(traceback string) error {
	return &taskpacks.Error{
		Reason: taskpacks.ReasonMemory, Type: "MemoryLimit", Traceback: end(traceback),
		Message: fmt.Sprintf("the task took more than %s of memory (--task-max-memory)", byteText(h.cfg.MaxMemory)),
	}
}

// byteText writes a number of bytes for people: "512 MiB".
func byteText(n int64) string {
	for _, unit := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d %s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
