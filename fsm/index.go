package fsm

import (
	"cmp"
	"slices"
	"strings"

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
	pack     *packed
	status   Status
	priority uint8
	order    uint64
	due      int64
	at       Start
	attempt  uint32
	where    string
	size     int   // of args and log, in bytes
	blobs    int64 // of the blobs that it names, in bytes
	saved    bool  // the store has a record of it
	record   *Task // nil where too much is held already: the store has it

	prev, next *live // in the list of what its node was given
}

// given is what one node has been given and has not finished.
type given struct {
	first *live
	n     int
	kinds map[string]int // number by type; never 0
}

func (g *given) add(l *live) {
	if l.next = g.first; l.next != nil {
		l.next.prev = l
	}
	g.first = l
	g.n++
	g.kinds[l.kind]++
}

func (g *given) remove(l *live) {
	if l.prev != nil {
		l.prev.next = l.next
	} else {
		g.first = l.next
	}
	if l.next != nil {
		l.next.prev = l.prev
	}
	l.prev, l.next = nil, nil
	g.n--
	if g.kinds[l.kind]--; g.kinds[l.kind] == 0 {
		delete(g.kinds, l.kind)
	}
}

// packed is the unfinished tasks that need one release of one pack.
type packed struct {
	key    string             // PackKey
	tasks  int                // in any state
	ready  queues             // those PENDING that may run on any node
	placed map[string]*queues // those that may not, by where; none of them is empty
}

// queues is pending tasks by priority, in order.
type queues [MaxPriority + 1]*btree.BTreeG[*live]

// taskType is a task type in one release of its pack.
type taskType struct {
	kind, release string
	pack          *packed
}

type typeKey struct{ kind, release string }

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
	packs    map[string]*packed // by PackKey
	types    map[typeKey]*taskType
	due      *btree.BTreeG[*live]    // SCHEDULED and RETRY, by due time
	assigned map[uint32]*given       // STARTED, by node
	counts   [Status_REVOKED + 1]int // unfinished tasks by status
	bytes    int64                   // of their args, logs and blobs
	held     int                     // what the records held take, in bytes
}

func newIndex() *index {
	return &index{
		tasks:    map[Key]*live{},
		packs:    map[string]*packed{},
		types:    map[typeKey]*taskType{},
		due:      btree.NewG(32, dueBefore),
		assigned: map[uint32]*given{},
	}
}

func orderBefore(a, b *live) bool { return a.order < b.order }

func dueBefore(a, b *live) bool {
	if a.due != b.due {
		return a.due < b.due
	}
	return a.order < b.order
}

// set makes the index show task t as it is now. It says whether the store has a
// record of it as an unfinished task.
func (x *index) set(t *Task) (saved bool) {
	key := Key(t.Key)
	l := x.tasks[key]
	if l != nil {
		x.unlink(l)
		x.hold(l, nil)
		saved = l.saved
	}
	if t.Status.Final() {
		delete(x.tasks, key)
		return saved
	}
	if l == nil {
		ty := x.typeOf(t.Type, t.Release)
		l = &live{key: key, kind: ty.kind, pack: ty.pack, priority: uint8(min(t.Priority, MaxPriority))}
		x.tasks[key] = l
	}
	l.size, l.blobs = len(t.Args)+len(t.Log), t.blobBytes()
	l.status, l.order, l.due, l.attempt = t.Status, t.Order, t.DueMs, t.Attempt
	l.at, l.where = Start{t.Place.GetNode(), t.Place.GetBoot()}, t.Where
	x.link(l)
	x.hold(l, t)
	return saved
}

const (
	// maxHeld and maxRecordArgs bound what is held in memory of the records of
	// unfinished tasks, in bytes: short tasks are finished before the store is
	// asked, and some 100,000 small ones may wait without costing a read each.
	maxHeld       = 64 << 20
	maxRecordArgs = 2 << 10
	// recordCost is about what a record takes beside its args.
	recordCost = 480
)

func (x *index) hold(l *live, t *Task) {
	cost := recordCost + l.size
	if l.record != nil {
		x.held -= cost
	}
	l.record = nil
	if t != nil && x.held+cost <= maxHeld && l.size <= maxRecordArgs {
		l.record = t
		x.held += cost
	}
}

// typeOf returns what the index has once of each type, making it first if need be.
func (x *index) typeOf(kind, release string) *taskType {
	if t := x.types[typeKey{kind, release}]; t != nil {
		return t
	}
	kind, release = strings.Clone(kind), strings.Clone(release) // not the log entry's memory
	key := PackKey(kind, release)
	p := x.packs[key]
	if p == nil {
		p = &packed{key: key}
		x.packs[key] = p
	}
	t := &taskType{kind, release, p}
	x.types[typeKey{kind, release}] = t
	return t
}

// forget drops what is kept of a release that no unfinished task refers to.
func (x *index) forget(pack, release string) {
	delete(x.packs, PackKey(pack, release))
	for k := range x.types {
		if k.release == release && PackOf(k.kind) == pack {
			delete(x.types, k)
		}
	}
}

func (x *index) link(l *live) {
	x.counts[l.status]++
	l.pack.tasks++
	x.bytes += int64(l.size) + l.blobs
	switch l.status {
	case Status_PENDING:
		l.pack.queues(l.where).of(l.priority).ReplaceOrInsert(l)
	case Status_STARTED:
		g := x.assigned[l.at.Node]
		if g == nil {
			g = &given{kinds: map[string]int{}}
			x.assigned[l.at.Node] = g
		}
		g.add(l)
	default:
		x.due.ReplaceOrInsert(l)
	}
}

func (x *index) unlink(l *live) {
	x.counts[l.status]--
	l.pack.tasks--
	x.bytes -= int64(l.size) + l.blobs
	switch l.status {
	case Status_PENDING:
		q := l.pack.queues(l.where)
		q.of(l.priority).Delete(l)
		if l.where != "" && q.len() == 0 { // what callers ask for has no end
			delete(l.pack.placed, l.where)
		}
	case Status_STARTED:
		x.assigned[l.at.Node].remove(l)
	default:
		x.due.Delete(l)
	}
}

// queues returns the queues of tasks that ask for a place, making them first if need be.
func (p *packed) queues(where string) *queues {
	if where == "" {
		return &p.ready
	}
	q := p.placed[where]
	if q == nil {
		if p.placed == nil {
			p.placed = map[string]*queues{}
		}
		q = new(queues)
		p.placed[where] = q
	}
	return q
}

func (q *queues) of(priority uint8) *btree.BTreeG[*live] {
	if q[priority] == nil {
		q[priority] = btree.NewG(32, orderBefore)
	}
	return q[priority]
}

// first returns the first tasks of a priority, at most so many.
func (q *queues) first(priority, most int) []*live {
	var out []*live
	if tree := q[priority]; tree != nil {
		tree.Ascend(func(l *live) bool {
			if len(out) < most {
				out = append(out, l)
			}
			return len(out) < most
		})
	}
	return out
}

func (q *queues) len() int {
	n := 0
	for _, tree := range q {
		if tree != nil {
			n += tree.Len()
		}
	}
	return n
}

// assignedTo returns what runs at a node, in the order it was queued.
func (x *index) assignedTo(node uint32) []*live {
	g := x.assigned[node]
	if g == nil {
		return nil
	}
	out := make([]*live, 0, g.n)
	for l := g.first; l != nil; l = l.next {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *live) int { return cmp.Compare(a.order, b.order) })
	return out
}

// PackKey returns what a task has to be run by: "name", the pack that the nodes were built
// with, or "name@release", an installed one. It is what tasks wait by, and what nodes say
// that they can run.
func PackKey(kind, release string) string {
	if release == "" {
		return PackOf(kind)
	}
	return PackOf(kind) + "@" + release
}

// WaitKey returns what a pending task waits by: its PackKey, and behind a space the labels that it asks for.
func WaitKey(kind, release, where string) string {
	if where == "" {
		return PackKey(kind, release)
	}
	return PackKey(kind, release) + " " + where
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
