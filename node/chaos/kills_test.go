//go:build linux

package chaos

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

func (r *run) killLeaders(times int) {
	r.Helper()
	for range times {
		n := r.all.leader()
		r.killed(n)
		r.restart(n)
	}
}

func (r *run) killAll() {
	r.Helper()
	for range 3 {
		r.more(60)
		start := time.Now()
		r.faults++
		for _, n := range r.all {
			_ = n.cmd.Process.Kill()
		}
		for _, n := range r.all {
			<-n.ended
		}
		for _, n := range r.all {
			n.start()
		}
		r.measured("next write after all were killed", r.all.nextWrite(start), 10*time.Second)
		r.all.whole(healIn)
	}
}

// frozen stops a node's process for longer than it is believed in: its tasks run elsewhere meanwhile. When it wakes its
// results are refused and its code is stopped.
func (r *run) frozen(n *node) {
	r.Helper()
	const lasting = 25 * time.Second
	long := r.busy(n, lasting)   // runs on when the node wakes
	over := r.busy(n, lasting/2) // has a result by then
	start := time.Now()
	r.faults++
	n.signal(syscall.SIGSTOP)
	rest := r.all.without(n)
	r.measured("next write, a node silent", rest.nextWrite(start), silentWrite)
	r.measured("tasks elsewhere, their node silent", rest.elsewhere(append(long, over...), n, start, silentIn), silentIn)
	time.Sleep(leaseAndMore - time.Since(start))
	n.signal(syscall.SIGCONT)
	woke := time.Now()
	eventually(r, 3*time.Second, n.name+" stops the code of tasks that run elsewhere", func() error {
		profile, err := n.get("/debug/pprof/goroutine?debug=2")
		if running := strings.Count(string(profile), "taskpacks/test.sleep("); err == nil && running > 0 {
			err = fmt.Errorf("%d run", running)
		}
		return err
	})
	r.measured("code stopped after waking", time.Since(woke), 3*time.Second)
	r.measured("whole after waking", r.all.whole(healIn), healIn)
	r.refused(append(long, over...), n)
}

// refused checks that what a lost node ran has its result from another, and revokes what still runs.
func (r *run) refused(ids []string, lost *node) {
	r.Helper()
	for _, id := range ids {
		t, err := r.all.without(lost)[0].task(id)
		check(r, err)
		if t.Node == lost.name || t.Attempt < 2 || len(t.Attempts) == 0 || t.Attempts[0].Node != lost.name || t.Attempts[0].Reason != "worker_lost" {
			r.Errorf("task %s of %s: got %+v, want a later attempt elsewhere after worker_lost", id, lost.name, t)
		}
	}
	r.revokeLong()
}
