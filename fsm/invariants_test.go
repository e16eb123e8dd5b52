package fsm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/btree"
	"google.golang.org/protobuf/proto"
)

// invariants holds what must be true after every entry.
type invariants struct {
	t     failer
	tasks map[Key]*Task // the records after the entry before
}

func (v *invariants) check(m *machine) {
	v.t.Helper()
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, c := range m.changes {
		for _, ch := range c.Tasks {
			key := Key(ch.New.Key)
			if ch.Old != nil {
				v.step(ch.Old, ch.New)
			} else if old := v.tasks[key]; old != nil && !old.Status.Final() {
				v.t.Fatalf("task %s was made again from %v", key, old)
			}
			v.tasks[key] = ch.New
		}
	}
	rebuilt, done := newIndex(), finished{}
	for i := 1; i <= drawnKeys; i++ {
		t, err := m.task(k(i))
		if err != nil {
			v.t.Fatalf("task %d: %v", i, err)
		}
		last := v.tasks[k(i)]
		if t == nil {
			if last != nil && !last.Status.Final() {
				v.t.Fatalf("task %d is gone, it was %v", i, last)
			}
			delete(v.tasks, k(i))
			continue
		}
		if !proto.Equal(t, last) {
			v.t.Fatalf("task %d is %v, its last change said %v", i, t, last)
		}
		rebuilt.set(t)
		if t.Status.Final() {
			done.counts[t.Status]++
			done.bytes += int64(t.SizeVT())
		}
		if t.Status == Status_STARTED && (t.Attempt == 0 || t.Place == nil) {
			v.t.Fatalf("task %d runs nowhere: %v", i, t)
		}
	}
	if done != m.done {
		v.t.Fatalf("finished are counted as %+v, the records say %+v", m.done, done)
	}
	held := 0
	for key, l := range m.index2().tasks {
		if l.record == nil {
			continue
		}
		held += recordCost + l.size
		if !proto.Equal(l.record, v.tasks[key]) {
			v.t.Fatalf("the index holds %v of task %s, want %v", l.record, key, v.tasks[key])
		}
	}
	if held != m.index2().held {
		v.t.Fatalf("records of %d bytes are held, counted as %d", held, m.index2().held)
	}
	if got, want := dumpIndex(m.index2()), dumpIndex(rebuilt); got != want {
		v.t.Fatalf("the index is\n%s\nthe records say\n%s", got, want)
	}
}

// step checks one transition.
func (v *invariants) step(old, t *Task) {
	v.t.Helper()
	switch {
	case old.Status.Final():
		v.t.Fatalf("a final task changed: %v to %v", old, t)
	case t.Attempt < old.Attempt || t.Attempt > old.Attempt+1:
		v.t.Fatalf("attempt %d follows attempt %d of %v", t.Attempt, old.Attempt, old)
	case t.Attempt > old.Attempt && t.Status != Status_STARTED:
		v.t.Fatalf("a new attempt that is %v", t.Status)
	case t.Failures < old.Failures || t.Lost < old.Lost:
		v.t.Fatalf("failures or losses shrank: %v to %v", old, t)
	case t.Status.Final() != (t.FinishedMs != 0):
		v.t.Fatalf("%v, finished at %d", t.Status, t.FinishedMs)
	}
}

// dumpIndex writes out where an index has each task, in a fixed order. A task
// that stands in two places gives two lines.
func dumpIndex(x *index) string {
	var lines []string
	add := func(where string, l *live) {
		lines = append(lines, fmt.Sprintf("%s %s: %v %s priority %d order %d due %d at %v attempt %d, %d bytes",
			l.key, where, l.status, l.kind, l.priority, l.order, l.due, l.at, l.attempt, l.size))
		if x.tasks[l.key] != l {
			lines = append(lines, fmt.Sprintf("%s is not the record of its key", l.key))
		}
	}
	tree := func(where string, tr *btree.BTreeG[*live]) {
		if tr != nil {
			tr.Ascend(func(l *live) bool { add(where, l); return true })
		}
	}
	for pack, queues := range x.ready {
		for priority, q := range queues {
			tree(fmt.Sprintf("ready in %s/%d", pack, priority), q)
		}
	}
	tree("due", x.due)
	for node, g := range x.assigned {
		kinds, n := map[string]int{}, 0
		for l := g.first; l != nil; l = l.next {
			add(fmt.Sprintf("assigned to %d", node), l)
			kinds[l.kind]++
			n++
		}
		if n != g.n || !maps.Equal(kinds, g.kinds) {
			lines = append(lines, fmt.Sprintf("load of node %d is %d, %v, want %d, %v", node, g.n, g.kinds, n, kinds))
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("%s\n%d tasks, counts %v, %d bytes", strings.Join(lines, "\n"), len(x.tasks), x.counts, x.bytes)
}
