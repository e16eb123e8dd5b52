package fsm

import (
	"cmp"
	"slices"

	"github.com/google/btree"
)

// Priorities run from 0 to MaxPriority; higher goes first.
const (
	MaxPriority     = 9
	DefaultPriority = 5
)

// live is what is kept in memory of an unfinished task: enough to choose the
// next one without reading the store.
type live struct {
	key      Key
	kind     string // the task's type
	status   Status
	priority uint8
	order    uint64
	due      int64
	at       Start
	attempt  uint32
	size     int   // of args, in bytes
	saved    bool  // the store has a record of it
	record   *Task // nil where too much is held already: the store has it
}

// Start names one start of one node.
type Start struct {
	Node uint32
	Boot uint64
}

// index finds unfinished tasks by what they wait for. It is derived from the
// records alone: set is its only way in, and a task stands in exactly one of
// ready, due and assigned.
type index struct {
	tasks    map[Key]*live
	ready    map[string]*[MaxPriority + 1]*btree.BTreeG[*live] // by pack, priority; in order
	due      *btree.BTreeG[*live]                              // SCHEDULED and RETRY, by due time
	assigned map[uint32]map[Key]*live                          // STARTED, by node
	load     map[uint32]map[string]int                         // number of assigned, by node and type
	counts   [Status_REVOKED + 1]int                           // unfinished tasks by status
	bytes    int64                                             // of their args
	records  int                                               // number of records held
	kinds    map[string]string                                 // one copy of each type's name
}

func newIndex() *index {
	return &index{
		tasks:    map[Key]*live{},
		ready:    map[string]*[MaxPriority + 1]*btree.BTreeG[*live]{},
		due:      btree.NewG(32, dueBefore),
		assigned: map[uint32]map[Key]*live{},
		load:     map[uint32]map[string]int{},
		kinds:    map[string]string{},
	}
}

func orderBefore(a, b *live) bool { return a.order < b.order }

func dueBefore(a, b *live) bool {
	if a.due != b.due {
		return a.due < b.due
	}
	return a.order < b.order
}

// set makes the index show task t as it is now.
func (x *index) set(t *Task) {
	key := Key(t.Key)
	l := x.tasks[key]
	if l != nil {
		x.unlink(l)
		x.hold(l, nil)
	}
	if t.Status.Final() {
		delete(x.tasks, key)
		return
	}
	if l == nil {
		l = &live{key: key, kind: x.intern(t.Type), priority: uint8(min(t.Priority, MaxPriority)), size: len(t.Args)}
		x.tasks[key] = l
	}
	l.status, l.order, l.due, l.attempt = t.Status, t.Order, t.DueMs, t.Attempt
	l.at = Start{t.Place.GetNode(), t.Place.GetBoot()}
	x.link(l)
	x.hold(l, t)
}

const (
	// maxRecords and maxRecordArgs bound what is held in memory of the records of
	// unfinished tasks: short tasks are finished before the store is asked.
	maxRecords    = 16 << 10
	maxRecordArgs = 2 << 10
)

func (x *index) hold(l *live, t *Task) {
	if l.record != nil {
		x.records--
	}
	l.record = nil
	if t != nil && x.records < maxRecords && l.size <= maxRecordArgs {
		l.record = t
		x.records++
	}
}

func (x *index) intern(kind string) string {
	if s, ok := x.kinds[kind]; ok {
		return s
	}
	s := string([]byte(kind)) // not the log entry's memory
	x.kinds[s] = s
	return s
}

func (x *index) link(l *live) {
	x.counts[l.status]++
	x.bytes += int64(l.size)
	switch l.status {
	case Status_PENDING:
		x.queue(l).ReplaceOrInsert(l)
	case Status_STARTED:
		m := x.assigned[l.at.Node]
		if m == nil {
			m = map[Key]*live{}
			x.assigned[l.at.Node], x.load[l.at.Node] = m, map[string]int{}
		}
		x.load[l.at.Node][l.kind]++
		m[l.key] = l
	default:
		x.due.ReplaceOrInsert(l)
	}
}

func (x *index) unlink(l *live) {
	x.counts[l.status]--
	x.bytes -= int64(l.size)
	switch l.status {
	case Status_PENDING:
		x.queue(l).Delete(l)
	case Status_STARTED:
		delete(x.assigned[l.at.Node], l.key)
		if kinds := x.load[l.at.Node]; kinds[l.kind] == 1 {
			delete(kinds, l.kind)
		} else {
			kinds[l.kind]--
		}
	default:
		x.due.Delete(l)
	}
}

func (x *index) queue(l *live) *btree.BTreeG[*live] {
	pack := PackOf(l.kind)
	qs := x.ready[pack]
	if qs == nil {
		qs = new([MaxPriority + 1]*btree.BTreeG[*live])
		x.ready[pack] = qs
	}
	if qs[l.priority] == nil {
		qs[l.priority] = btree.NewG(32, orderBefore)
	}
	return qs[l.priority]
}

// assignedTo returns what runs at a node, in the order it was queued.
func (x *index) assignedTo(node uint32) []*live {
	out := make([]*live, 0, len(x.assigned[node]))
	for _, l := range x.assigned[node] {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *live) int { return cmp.Compare(a.order, b.order) })
	return out
}

// PackOf returns the pack of a task type: the text before the first point.
func PackOf(kind string) string {
	for i := range len(kind) {
		if kind[i] == '.' {
			return kind[:i]
		}
	}
	return kind
}
