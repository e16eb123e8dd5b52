package node

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pytasks/node/client"
)

// sleepFor is the request for a task that sleeps. More options follow as JSON members.
func sleepFor(d time.Duration, options ...string) string {
	return fmt.Sprintf(`{"type":"test.main.sleep","args":{"seconds":%g}%s}`, d.Seconds(), strings.Join(append([]string{""}, options...), ","))
}

// TestProcessSlots: nodes with 1 and 8 slots are filled in proportion, never beyond, and
// a long task does not wait behind a busy slot while another is free.
func TestProcessSlots(t *testing.T) {
	ps := startMixed(t, []string{"--slots", "1"}, []string{"--slots", "8"})
	slots := map[string]int{"n1": 1, "n2": 8}
	ps.workersReady()

	t.Run("in proportion", func(t *testing.T) {
		ps.within(t)
		ran := map[string]int{}
		for _, task := range ps.runAll(repeat(sleepFor(150*time.Millisecond), 90), 16) {
			ran[task.Node]++
		}
		if ran["n1"] < 5 || ran["n1"] > 20 || ran["n1"]+ran["n2"] != 90 {
			t.Errorf("of 90 tasks n1 and n2 ran %v, want about 10 and 80", ran)
		}
	})
	t.Run("never beyond", func(t *testing.T) {
		ps.within(t)
		ids := ps.submitAll(repeat(sleepFor(time.Second), 18), 18)
		for ended := false; !ended; {
			members, err := ps[0].members()
			if err != nil {
				t.Fatal(err)
			}
			for name, m := range members {
				if m.Running > slots[name] {
					t.Fatalf("%s was given %d long tasks at once, want at most %d", name, m.Running, slots[name])
				}
			}
			last, err := ps[0].task(ids[17])
			ended = err == nil && last.Finished()
		}
		ps.allSucceed(ids)
	})
	t.Run("long ones go where a slot is free", func(t *testing.T) {
		ps.within(t)
		// Many that are over at once teach the leader that the type is short, and
		// more of them keep coming: long ones among them must start all the same.
		ps.runAll(repeat(sleepFor(0), 500), 16)
		var stop atomic.Bool
		short := make(chan []string)
		go func() {
			var ids []string
			for !stop.Load() {
				ids = append(ids, ps[len(ids)%2].submit(sleepFor(0)))
			}
			short <- ids
		}()
		ids := ps.submitAll(repeat(sleepFor(3*time.Second), 9), 9)
		tasks := ps.allSucceed(ids)
		stop.Store(true)
		ps.allSucceed(<-short)
		for _, task := range tasks {
			if waited := between(t, task.CreatedAt, task.StartedAt); waited > 2*time.Second {
				t.Errorf("a long task on %s waited %s although 9 slots were free for 9, attempts before: %v", task.Node, waited, task.Attempts)
			}
		}
	})
}

// TestProcessStuckSlots: short tasks that were sent ahead to a node whose slots turn out
// to be held for long go back once, not again and again until a slot is free.
func TestProcessStuckSlots(t *testing.T) {
	ps := startMixed(t, []string{"--slots", "2"})
	ps.runAll(repeat(sleepFor(0), 500), 16) // the type is known as short
	long := ps.submitAll(repeat(sleepFor(4*time.Second), 2), 2)
	for _, id := range long {
		ps[0].started(id)
	}
	for _, task := range ps.runAll(repeat(sleepFor(0), 200), 16) {
		if task.Attempt > 3 {
			t.Fatalf("task %s was sent %d times to the one node, want at most 3", task.ID, task.Attempt)
		}
	}
	ps.allSucceed(long)
}

// TestProcessPriorities: while every slot is taken, tasks of a high priority overtake
// those of a low one; among equals the first goes first; and the low ones are not held
// up for ever.
func TestProcessPriorities(t *testing.T) {
	ps := startMixed(t, []string{"--slots", "1"})
	p := ps[0]
	p.submit(sleepFor(1500 * time.Millisecond))
	names := map[string]string{}
	add := func(kind string, i int, options string) {
		names[p.submit(sleepFor(30*time.Millisecond, options))] = fmt.Sprintf("%s%02d", kind, i)
	}
	for i := range 10 {
		add("low", i, `"priority":1`)
	}
	for i := range 40 {
		add("high", i, `"priority":9`)
	}
	var order []*client.Task
	for id := range names {
		order = append(order, p.succeeded(id, 20*time.Second))
	}
	slices.SortFunc(order, func(a, b *client.Task) int { return strings.Compare(a.StartedAt, b.StartedAt) })
	var low, high []string
	overtaken := 0 // low ones that started before the last high one
	for _, task := range order {
		if name := names[task.ID]; strings.HasPrefix(name, "high") {
			high = append(high, name)
			overtaken = len(low)
		} else {
			low = append(low, name)
		}
	}
	if !slices.IsSorted(high) || !slices.IsSorted(low) {
		t.Errorf("started in the order %v and %v, want each first in, first out", high, low)
	}
	if overtaken < 1 || overtaken > 4 {
		t.Errorf("%d low tasks started before the last of 40 high ones, want every 16th of all", overtaken)
	}
}

// workersReady waits until the leader gives work to every node: each has run something.
func (ps processes) workersReady() {
	t := ps[0].t
	t.Helper()
	missing := map[string]bool{}
	for _, p := range ps {
		missing[p.name] = true
	}
	eventually(t, 10*time.Second, "every node is given tasks", func() error {
		for _, task := range ps.runAll(repeat(sleepFor(10*time.Millisecond), 8*len(ps)), 8*len(ps)) {
			delete(missing, task.Node)
		}
		if len(missing) > 0 {
			return fmt.Errorf("not %v", missing)
		}
		return nil
	})
}

// submitAll queues tasks over so many connections spread over the nodes and returns
// their ids, in order.
func (ps processes) submitAll(bodies []string, connections int) []string {
	ps[0].t.Helper()
	ids := make([]string, len(bodies))
	var next atomic.Int64
	atOnce(connections, func(c int) {
		for i := int(next.Add(1)) - 1; i < len(bodies); i = int(next.Add(1)) - 1 {
			a, err := send(ps[c%len(ps)], http.MethodPost, "/task", bodies[i])
			if err != nil || a.status != http.StatusOK {
				ps[0].t.Errorf("POST %s: %v %v", bodies[i], a, err)
				return
			}
			ids[i] = member(a.body, "id")
		}
	})
	if ps[0].t.Failed() {
		ps[0].t.FailNow()
	}
	return ids
}

// allSucceed waits until tasks have succeeded and returns them.
func (ps processes) allSucceed(ids []string) []*client.Task {
	ps[0].t.Helper()
	tasks := make([]*client.Task, len(ids))
	for i, id := range ids {
		tasks[i] = ps[i%len(ps)].succeeded(id, 25*time.Second)
	}
	return tasks
}

func (ps processes) runAll(bodies []string, connections int) []*client.Task {
	ps[0].t.Helper()
	return ps.allSucceed(ps.submitAll(bodies, connections))
}

// between returns the time from one moment of a record to another.
func between(t *testing.T, from, to string) time.Duration {
	t.Helper()
	a, err := time.Parse(time.RFC3339Nano, from)
	if err != nil {
		t.Fatal(err)
	}
	b, err := time.Parse(time.RFC3339Nano, to)
	if err != nil {
		t.Fatal(err)
	}
	return b.Sub(a)
}
