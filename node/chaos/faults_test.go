//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Limits that the rows hold the cluster to.
const (
	nextWriteIn  = 3 * time.Second  // after the leader was killed
	silentWrite  = 6 * time.Second  // after the leader fell silent, which is seen later
	elsewhereIn  = 5 * time.Second  // the tasks of a killed process run
	silentIn     = 20 * time.Second // the tasks of a host that fell silent run elsewhere
	refuseIn     = 3 * time.Second  // a minority says that it cannot
	votersIn     = 60 * time.Second // there are as many voters again as there should be
	leaseAndMore = 20 * time.Second // longer than a silent node is believed in
)

// kill kills a node as kill -9 does.
func (r *run) kill(n *node) {
	r.Helper()
	if !n.running() {
		r.Errorf("%s had ended before it was killed", n.name)
	}
	r.faults++
	r.recorder.Note("kill", n.name)
	n.kill()
}

// killed kills a node and measures how soon the rest takes a write, and how soon what it ran runs elsewhere.
func (r *run) killed(n *node) {
	r.Helper()
	lost := r.busy(n, 7*time.Second)
	start := time.Now()
	r.kill(n)
	rest := r.all.up()
	r.measured("next write", rest.nextWrite(start), nextWriteIn)
	r.measured("tasks elsewhere", rest.elsewhere(lost, n, start, elsewhereIn), elsewhereIn)
	r.revokeLong()
}

// busy gives the cluster long tasks until some run at the node, and returns the ids of these.
func (r *run) busy(n *node, lasting time.Duration) []string {
	r.Helper()
	body := fmt.Sprintf(`{"type":"test.main.sleep","args":{"seconds":%g}}`, lasting.Seconds())
	for range 20 {
		var all, here []string
		for range 2 * len(r.all.up()) {
			all = append(all, n.submit(body))
		}
		r.long = append(r.long, all...)
		for _, id := range all {
			eventually(r, 10*time.Second, "task "+id+" starts", func() error {
				t, err := n.task(id)
				if err == nil && t.Status == "PENDING" {
					err = fmt.Errorf("it is %s", t.Status)
				}
				if err == nil && t.Status == "STARTED" && t.Node == n.name {
					here = append(here, id)
				}
				return err
			})
		}
		if len(here) > 0 {
			return here
		}
	}
	r.Fatalf("%s was given none of many long tasks", n.name)
	return nil
}

// revokeLong revokes the tasks of busy, so that their slots are free again.
func (r *run) revokeLong() {
	r.Helper()
	ns := r.all.up()
	for _, id := range r.long {
		eventually(r, 20*time.Second, "task "+id+" is revoked", func() error {
			a, err := ns[0].send(5*time.Second, http.MethodPost, "/task/"+id+"/cancel", "")
			if err == nil && a.status != http.StatusOK && a.code() != "finished" {
				err = fmt.Errorf("%v", a)
			}
			return err
		})
	}
	r.long = nil
}

// nextWrite returns how long after start the first write was acknowledged that was sent since, to whichever node.
func (ns nodes) nextWrite(start time.Time) time.Duration {
	ns[0].t.Helper()
	first := make(chan time.Duration, len(ns))
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for _, n := range ns {
		asking.Go(func() {
			for {
				a, err := n.send(10*time.Second, http.MethodPost, "/task", `{"type":"test.main.add","args":{"x":1,"y":2}}`)
				if err == nil && a.status == http.StatusOK {
					first <- time.Since(start)
					return
				}
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	var took time.Duration
	select {
	case took = <-first:
	case <-time.After(time.Minute):
		ns[0].t.Error("no write was acknowledged within a minute")
	}
	close(stop)
	asking.Wait()
	return took
}

// elsewhere returns how long after start the tasks of a lost node run, or have run, at others.
func (ns nodes) elsewhere(ids []string, lost *node, start time.Time, limit time.Duration) time.Duration {
	ns[0].t.Helper()
	for _, id := range ids {
		eventually(ns[0].t, 2*limit, "task "+id+" of "+lost.name+" runs elsewhere", func() error {
			t, err := ns[0].task(id)
			if err == nil && (t.Node == lost.name || t.Status != "STARTED" && t.Status != "SUCCESS") {
				err = fmt.Errorf("it is %s at %s", t.Status, t.Node)
			}
			return err
		})
	}
	return time.Since(start)
}

// restart starts a node that has ended, and waits until the cluster is whole.
func (r *run) restart(n *node) {
	r.Helper()
	n.start()
	r.measured("whole after a restart", r.all.up().whole(healIn), healIn)
}

// freeze stops a node's process for a while, without its knowing.
func (r *run) freeze(n *node, d time.Duration) {
	r.Helper()
	r.faults++
	n.signal(syscall.SIGSTOP)
	time.Sleep(d)
	n.signal(syscall.SIGCONT)
}

// split cuts some hosts off from all others.
func (r *run) split(some ...*node) {
	r.Helper()
	r.faults++
	for _, n := range some {
		r.recorder.Note("cut off", n.name)
	}
	check(r, r.network.split(nodes(some).hosts()...))
}

// heal mends the network, and measures how long the cluster takes to be whole.
func (r *run) heal() {
	r.Helper()
	r.recorder.Note("heal", "")
	check(r, r.network.heal())
	r.measured("whole after healing", r.all.up().whole(healIn), healIn)
}

// minority looks at nodes that have no majority: they refuse writes in time, and tell what they know.
func (r *run) minority(some nodes, known string) {
	r.Helper()
	for _, n := range some {
		eventually(r, 5*time.Second, n.name+" knows that it is alone", func() error {
			v, err := n.view()
			if err == nil && v.Leader != "" {
				err = fmt.Errorf("it believes in %s", v.Leader)
			}
			return err
		})
		start := time.Now()
		a, err := n.send(10*time.Second, http.MethodPost, "/task", `{"type":"test.main.add","args":{"x":1,"y":2}}`)
		r.measured("a minority's refusal", time.Since(start), refuseIn)
		codes := []string{"no_leader", "unknown", "timeout"}
		if err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !slices.Contains(codes, a.code()) {
			r.Errorf("a write at %s, which has no majority: got %v %v, want 503 with Retry-After and a code of %v", n.name, a, err, codes)
		}
		a, err = n.send(refuseIn, http.MethodGet, "/task/"+known+"?consistency=stale", "")
		var t record
		if err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &t) != nil || t.ID != known {
			r.Errorf("a stale read at %s, which has no majority: got %v %v, want the task", n.name, a, err)
		}
		a, err = n.send(10*time.Second, http.MethodGet, "/task/"+known+"?consistency=linearizable", "")
		if err != nil || a.status != http.StatusServiceUnavailable {
			r.Errorf("a linearizable read at %s, which has no majority: got %v %v, want 503", n.name, a, err)
		}
	}
}

// known returns the id of a task that all nodes have.
func (r *run) known() string {
	r.Helper()
	id := r.all[0].submit(`{"type":"test.main.add","args":{"x":1,"y":2}}`)
	for _, n := range r.all {
		eventually(r, 10*time.Second, n.name+" has the task", func() error {
			a, err := n.send(5*time.Second, http.MethodGet, "/task/"+id+"?consistency=stale", "")
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%v", a)
			}
			return err
		})
	}
	return id
}
