package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/fsm"
)

// series returns the values of gauges and counters, and the counts of histograms, by name and labels.
func series(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range all {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			switch {
			case m.Histogram != nil:
				out[name] = float64(m.Histogram.GetSampleCount())
			case m.Counter != nil:
				out[name] = m.Counter.GetValue()
			default:
				out[name] = m.Gauge.GetValue()
			}
		}
	}
	return out
}

func packRemove(name string) *fsm.Command {
	return &fsm.Command{Kind: &fsm.Command_PackRemove{PackRemove: &fsm.PackRemove{Name: name, Force: true, Limit: fsm.RemoveLimit}}}
}

// TestQueueGauges: the leader alone shows the queue, and how long the first in it waits.
func TestQueueGauges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		d := newDesk(t, Config{Registry: registry}, 1)
		defer d.close()
		for name := range series(t, registry) {
			if strings.HasPrefix(name, "pytasks_tasks ") || strings.HasPrefix(name, "pytasks_tasks_oldest") || strings.HasPrefix(name, "pytasks_tasks_unfinished") {
				t.Errorf("a follower shows %s", name)
			}
		}
		term := d.term()
		want := func(what string, pending, waiting float64) {
			t.Helper()
			got := series(t, registry)
			if got["pytasks_tasks PENDING"] != pending || got["pytasks_tasks_oldest_waiting_seconds"] != waiting {
				t.Errorf("%s: %v pending, the oldest for %v s, want %v for %v s", what,
					got["pytasks_tasks PENDING"], got["pytasks_tasks_oldest_waiting_seconds"], pending, waiting)
			}
		}
		want("nothing queued", 0, 0)
		d.queue(d.task("p.f", delayed(20*time.Second)))
		first := d.queue(d.task("p.f"))
		time.Sleep(10 * time.Second)
		d.queue(d.task("q.f", prio(9)))
		time.Sleep(5 * time.Second)
		want("two", 2, 15)
		d.beat(1)
		term.commit() // the one of high priority goes to the one slot
		want("one given out", 1, 15)
		d.apply(&fsm.Command{Kind: &fsm.Command_Cancel{Cancel: &fsm.Cancel{Id: first[0].String()}}})
		want("the other cancelled", 0, 0)
		time.Sleep(8 * time.Second) // the delayed one is due 3 s ago
		term.commit()
		want("one due", 1, 3)
		if got := series(t, registry)["pytasks_tasks_unfinished_bytes"]; got != 4 {
			t.Errorf("two tasks with {} as arguments take %v bytes, want 4", got)
		}
	})
}

// TestTypesBounded: the series of a type go with its pack, and there are only so many.
func TestTypesBounded(t *testing.T) {
	registry := prometheus.NewRegistry()
	d := newDesk(t, Config{Registry: registry}, 1)
	defer d.close()
	empty := slices.Collect(maps.Keys(series(t, registry)))
	term := d.term()
	run := func(opts ...func(*fsm.New)) {
		t.Helper()
		keys := d.queue(d.task("p.f", opts...))
		term.commit()
		d.apply(finish(keys[0], 1, time.Second))
	}
	d.apply(packPut("p", "1"), nodePacks(1, "p,p@1"))
	run(released("1"))
	for _, name := range []string{"pytasks_tasks_enqueued_total p.f", "pytasks_tasks_finished_total SUCCESS p.f", "pytasks_task_wait_seconds p.f",
		"pytasks_task_run_seconds p.f", "pytasks_task_total_seconds p.f"} {
		if got := series(t, registry)[name]; got != 1 {
			t.Errorf("%s is %v, want 1", name, got)
		}
	}
	d.apply(packPut("q", "1"))
	if got := series(t, registry)["pytasks_tasks_enqueued_total p.f"]; got != 1 {
		t.Errorf("another pack was installed, and the count of p.f is %v, want 1", got)
	}
	d.Scheduler.term.Store(nil) // followers forget, too
	d.apply(packRemove("p"))
	term = d.term()
	for name := range series(t, registry) {
		if strings.HasSuffix(name, " p.f") {
			t.Errorf("its pack is removed, and %s is left", name)
		}
	}
	run() // a pack that is compiled in has no removal to wait for
	d.apply(packRemove("q"))
	if got := series(t, registry)["pytasks_tasks_enqueued_total p.f"]; got != 1 {
		t.Errorf("of a type that is compiled in %v are counted after a removal, want 1", got)
	}

	for i := range 3 * maxTypes {
		d.metrics.observe(fsm.Change{New: &fsm.Task{Type: fmt.Sprintf("many.%d", i), Release: "1"}})
	}
	got := series(t, registry)
	if of := (len(got) - len(empty)) / (maxTypes + 1); of > 20 {
		t.Errorf("%d series for %d types", len(got), maxTypes)
	}
	if got, want := got["pytasks_tasks_enqueued_total "+otherType], float64(2*maxTypes+1); got != want { // p.f is one of those with their own
		t.Errorf("%v of the types beyond the bound are counted, want %v", got, want)
	}
	d.metrics.forget(nil)
	if got, want := series(t, registry), len(empty)+20; len(got) > want {
		t.Errorf("after all packs were removed there are %d series, want at most %d", len(got), want)
	}
}

// TestRequeueReasons: what a node says is no label.
func TestRequeueReasons(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newMetrics(registry)
	for _, reason := range []string{fsm.ReasonDrain, "made up 1", "made up 2"} {
		old := &fsm.Task{Type: "p.f", Status: fsm.Status_STARTED, Attempt: 1}
		m.observe(fsm.Change{Old: old, New: &fsm.Task{Type: "p.f", Status: fsm.Status_PENDING, Attempt: 1, Past: []*fsm.Past{{Attempt: 1, Reason: reason}}}})
	}
	got := series(t, registry)
	if got["pytasks_task_requeues_total drain"] != 1 || got["pytasks_task_requeues_total other"] != 2 {
		t.Errorf("got %v", got)
	}
}
