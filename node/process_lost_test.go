package node

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"pytasks/node/client"
)

// requeueLimit is how long after kill -9 of a node its tasks may wait to run elsewhere.
const requeueLimit = 5 * time.Second

// TestProcessNodeLost: what a killed node ran is run elsewhere within 5 s, also if that
// node led, and the record tells of it.
func TestProcessNodeLost(t *testing.T) {
	for _, role := range []string{"follower", "leader"} {
		t.Run(role, func(t *testing.T) {
			ps := startCluster(t, 3, "--slots", "4")
			ps.workersReady()
			victim := ps.leader()
			if role == "follower" {
				victim = ps.without(victim)[0]
			}
			ids := ps.submitAll(repeat(sleepFor(6*time.Second), 6), 6)
			var lost []string
			for _, id := range ids {
				if task := ps[0].started(id); task.Node == victim.name {
					lost = append(lost, id)
				}
			}
			if len(lost) == 0 {
				t.Fatalf("%s runs none of 6 tasks, want two", victim.name)
			}
			victim.kill()
			killed := time.Now()
			rest := ps.without(victim)
			for _, id := range lost {
				eventually(t, requeueLimit-time.Since(killed), "task "+id+" runs elsewhere", func() error {
					task, err := rest[0].task(id)
					if err == nil && (task.Status != "STARTED" || task.Node == victim.name) {
						err = fmt.Errorf("it is %s on %s", task.Status, task.Node)
					}
					return err
				})
			}
			t.Logf("requeued after %s", time.Since(killed).Round(time.Millisecond))
			for _, id := range lost {
				task := rest[1].succeeded(id, 20*time.Second)
				if task.Attempt != 2 || len(task.Attempts) != 1 || task.Node == victim.name {
					t.Fatalf("task %s ended in attempt %d on %s after %v, want the second one elsewhere", id, task.Attempt, task.Node, task.Attempts)
				}
				if past := task.Attempts[0]; past.Node != victim.name || past.Reason != "worker_lost" || past.Attempt != 1 || past.StartedAt == "" || past.EndedAt == "" {
					t.Errorf("task %s: first attempt %+v, want worker_lost on %s", id, past, victim.name)
				}
			}
			for _, id := range ids {
				if task := rest[0].succeeded(id, 20*time.Second); task.Attempt > 1 && task.Attempts[0].Node != victim.name {
					t.Errorf("task %s was run again although its node lived: %+v", id, task.Attempts)
				}
			}
		})
	}
}

// TestProcessDrain: a node that is told to stop finishes what ends in time and hands the
// rest back, at no cost to its attempts; it exits with status 0 and comes back as itself.
func TestProcessDrain(t *testing.T) {
	ps := startCluster(t, 3, "--slots", "2", "--drain-timeout", "3s")
	ps.workersReady()
	for _, role := range []string{"follower", "leader"} {
		t.Run(role, func(t *testing.T) {
			ps.within(t)
			leaving := ps.leader()
			if role == "follower" {
				leaving = ps.without(leaving)[0]
			}
			rest := ps.without(leaving)
			short, long := ps.submitAll(repeat(sleepFor(2*time.Second), 3), 3), []string(nil)
			for _, id := range short {
				ps[0].started(id)
			}
			long = ps.submitAll(repeat(sleepFor(8*time.Second), 3), 3)
			for _, id := range long {
				ps[0].started(id)
			}
			ran := map[string]bool{}
			for _, id := range append(short, long...) {
				task, err := ps[0].task(id)
				if err != nil {
					t.Fatal(err)
				}
				ran[id] = task.Node == leaving.name
			}
			id := ps.mustMembers()[leaving.name].ID

			start := time.Now()
			leaving.signal(syscall.SIGTERM)
			eventually(t, 5*time.Second, "the node is not ready any more", func() error {
				if client.Ready(t.Context(), leaving.http) {
					return errors.New("it is")
				}
				return nil
			})
			if code := leaving.exit(15 * time.Second); code != 0 {
				t.Errorf("exit status %d, want 0", code)
			}
			since(t, start, 8*time.Second, "stopping with a drain timeout of 3 s")
			for _, id := range short {
				if task := rest[0].succeeded(id, 10*time.Second); ran[id] && (task.Node != leaving.name || task.Attempt != 1) {
					t.Errorf("short task %s: attempt %d on %s after %+v, want it finished by %s", id, task.Attempt, task.Node, task.Attempts, leaving.name)
				}
			}
			handed := 0
			for _, id := range long {
				task := rest[1].succeeded(id, 25*time.Second)
				if !ran[id] {
					continue
				}
				handed++
				if task.Node == leaving.name || len(task.Attempts) != 1 || task.Attempts[0].Reason != "drain" || task.Attempts[0].Node != leaving.name {
					t.Errorf("long task %s: on %s after %+v, want it handed back by %s with the reason drain", id, task.Node, task.Attempts, leaving.name)
				}
			}
			if handed == 0 {
				t.Errorf("%s ran none of the long tasks", leaving.name)
			}
			rest.waitStatus("left", leaving)
			leaving.start()
			leaving.ready()
			if back := leaving.mustBe(leaving.name).ID; back != id {
				t.Errorf("the node came back as %s, want %s", back, id)
			}
			ps.waitStatus("alive", leaving)
			ps.workersReady()
		})
	}
}

// TestProcessAllKilled: kill -9 of every node at once, under load, loses nothing that
// was acknowledged.
func TestProcessAllKilled(t *testing.T) {
	ps := startCluster(t, 3, "--slots", "4")
	later := ps.submitAll(repeat(sleepFor(0, `"delay":6`), 20), 5)
	all := ps.sums(4000, 32, map[int]func(){
		2000: func() {
			for _, p := range ps {
				_ = p.cmd.Process.Kill()
			}
			for _, p := range ps {
				<-p.ended
			}
			startAll(ps...)
		},
	})
	ps.ready()
	for i, id := range later {
		if task := ps[i%3].succeeded(id, 20*time.Second); task.Attempt != 1 {
			t.Errorf("delayed task %s ran %d times, want once", id, task.Attempt)
		}
	}
	ps.checkSums(all, len(later))
}

func repeat(body string, n int) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = body
	}
	return bodies
}

// started waits until a node was given a task.
func (p *process) started(id string) *client.Task {
	p.t.Helper()
	var task *client.Task
	eventually(p.t, 10*time.Second, "task "+id+" starts", func() error {
		var err error
		if task, err = p.task(id); err == nil && task.Status != "STARTED" {
			err = fmt.Errorf("it is %s", task.Status)
		}
		return err
	})
	return task
}

// mustBe returns a member as this node sees it.
func (p *process) mustBe(name string) client.Member { return processes{p}.mustMembers()[name] }
