package fsm

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/google/btree"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"
)

// comparison holds a state against the model, entry by entry.
type comparison struct {
	t    failer
	same map[Key][2]*Task // records of state and model that were found equal; they never change
}

// check compares everything that a state shows with the model.
func (c *comparison) check(s *State, want *model) {
	c.t.Helper()
	c.records(s, want)
	c.index(s, want)
	c.nodes(s, want)
	c.packs(s, want)
	c.blobs(s, want)
	c.users(s, want)
	c.audits(s, want)
}

// steps checks how records changed, whatever the model says: a finished task never
// changes, and what is counted only grows.
func (c *comparison) steps(changes []Changes) {
	c.t.Helper()
	for _, ch := range changes {
		for _, step := range ch.Tasks {
			old, t := step.Old, step.New
			if old == nil {
				old = new(Task)
			}
			switch {
			case old.Status.Final():
				c.t.Fatalf("a finished task changed: %v to %v", old, t)
			case t.Attempt < old.Attempt || t.Attempt > old.Attempt+1:
				c.t.Fatalf("attempt %d follows attempt %d of %v", t.Attempt, old.Attempt, old)
			case t.Attempt > old.Attempt && t.Status != Status_STARTED:
				c.t.Fatalf("a new attempt that is %v", t.Status)
			case t.Failures < old.Failures || t.Lost < old.Lost:
				c.t.Fatalf("failures or losses shrank: %v to %v", old, t)
			case t.Status.Final() != (t.FinishedMs != 0):
				c.t.Fatalf("%v, finished at %d", t.Status, t.FinishedMs)
			}
		}
	}
}

// records compares the record of every task, and the counts of them.
func (c *comparison) records(s *State, want *model) {
	c.t.Helper()
	var counts Counts
	for i := range drawnKeys + 1 {
		got, err := s.TaskByKey(k(i))
		if err != nil {
			c.t.Fatalf("task %d: %v", i, err)
		}
		t := want.tasks[k(i)]
		if pair := [2]*Task{got, t}; c.same[k(i)] != pair {
			if (got == nil) != (t == nil) || t != nil && !proto.Equal(got, t) {
				c.t.Fatalf("task %d is\n  %v, want\n  %v", i, got, t)
			}
			c.same[k(i)] = pair
		}
		switch {
		case t == nil:
		case want.ended[k(i)] != 0:
			counts.Tasks[t.Status]++
			counts.Finished++
			counts.FinishedBytes += finishedSize(t)
		default:
			counts.Tasks[t.Status]++
			counts.Live++
			counts.LiveBytes += int64(len(t.Args)+len(t.Log)) + t.ArgsBlob.GetSize()
		}
	}
	if got := s.Counts(); got != counts {
		c.t.Fatalf("counts are %+v, want %+v", got, counts)
	}
}

// nodes compares the records of the nodes.
func (c *comparison) nodes(s *State, want *model) {
	c.t.Helper()
	var there []*Node
	for i := range uint32(len(want.nodes) + 1) {
		n := want.nodes[i+1]
		if got := s.Node(i + 1); (got == nil) != (n == nil) || n != nil && !proto.Equal(got, n) {
			c.t.Fatalf("node %d is %v, want %v", i+1, got, n)
		}
		if n != nil && !n.Gone {
			there = append(there, n)
		}
	}
	if got := s.Nodes(); !slices.EqualFunc(got, there, func(a, b *Node) bool { return proto.Equal(a, b) }) {
		c.t.Fatalf("nodes are %v, want %v", got, there)
	}
}

// packs compares the records of the packs, and what the index counts for them: no task
// refers to a release that is not there, and nothing is kept of one that is gone.
func (c *comparison) packs(s *State, want *model) {
	c.t.Helper()
	there := slices.SortedFunc(maps.Values(want.packs), func(a, b *Pack) int { return cmp.Compare(a.Name, b.Name) })
	if got := s.Packs(); !slices.EqualFunc(got, there, func(a, b *Pack) bool { return proto.Equal(a, b) && s.Pack(a.Name) == a }) {
		c.t.Fatalf("packs are %v, want %v", got, there)
	}
	counts := map[string]int{"p": 0, "q": 0}
	for _, p := range there {
		for _, r := range p.Releases {
			counts[p.Name+"@"+r.Release] = 0
		}
	}
	for key, t := range want.tasks {
		if want.ended[key] != 0 {
			continue
		}
		needs := t.Type[:1]
		if t.Release != "" {
			needs += "@" + t.Release
		}
		if _, ok := counts[needs]; !ok {
			c.t.Fatalf("task %s needs %s, which is not installed", key, needs)
		}
		counts[needs]++
	}
	for key, n := range counts {
		if got := s.PackTasks(key); got != n {
			c.t.Fatalf("%d tasks need %s, want %d", got, key, n)
		}
	}
	for key := range s.index.packs {
		if _, ok := counts[key]; !ok {
			c.t.Fatalf("the index has %s, which is not installed", key)
		}
	}
	for key, ty := range s.index.types {
		if s.index.packs[ty.pack.key] != ty.pack || ty.pack.key != PackKey(key.kind, key.release) {
			c.t.Fatalf("the index has %+v for %+v", ty, key)
		}
	}
}

// blobs compares who names which blob. What is in memory is not written for it: when that
// happens is the sequence's to say.
func (c *comparison) blobs(s *State, want *model) {
	c.t.Helper()
	names := map[string]int64{}
	for key, t := range want.tasks {
		if b := t.ArgsBlob; b != nil {
			names[fmt.Sprintf("%x of %s, %d", b.Digest, key, 0)] = b.Size
		}
		if b := t.ResultBlob; b != nil {
			names[fmt.Sprintf("%x of %s, %d", b.Digest, key, 1)] = b.Size
		}
	}
	got := map[string]int64{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := s.view(func(tx *bolt.Tx) error {
		return readBucket(tx, bucketBlobs).each(func(k, v []byte) error {
			got[fmt.Sprintf("%x of %s, %d", k[:32], Key(k[32:48]), k[48])] = int64(readU64(v))
			return nil
		})
	})
	if err != nil {
		c.t.Fatalf("read the blobs: %v", err)
	}
	for _, m := range []*memtable{s.sealed, s.active} {
		if m == nil {
			continue
		}
		for r, b := range m.blobs {
			name := fmt.Sprintf("%x of %s, %d", r.digest, r.task, r.key()[48])
			if delete(got, name); b != nil {
				got[name] = b.Size
			}
		}
	}
	if !maps.Equal(got, names) {
		c.t.Fatalf("blobs are named by\n%v\nwant\n%v", got, names)
	}
}

// placed is where an index has an unfinished task, and what it says of it.
type placed struct {
	where    string // ready, due or assigned
	pack     string
	wants    string // the labels that it asks for
	node     uint32 // assigned
	kind     string
	status   Status
	priority uint8
	order    uint64
	due      int64
	at       Start
	attempt  uint32
	size     int
}

// index checks that each unfinished task stands in one place of the index, the one that
// its record says, and that what is read of the index is what the records give.
func (c *comparison) index(s *State, want *model) {
	c.t.Helper()
	places, load, next := map[Key]placed{}, map[uint32]map[string]int{}, int64(0)
	for key, t := range want.tasks {
		if want.ended[key] != 0 {
			continue
		}
		p := placed{
			where: "due", kind: t.Type, status: t.Status, priority: uint8(t.Priority), order: t.Order, due: t.DueMs,
			at: Start{t.Place.GetNode(), t.Place.GetBoot()}, attempt: t.Attempt, size: len(t.Args) + len(t.Log),
		}
		p.wants = t.Where
		if p.pack = t.Type[:1]; t.Release != "" { // the packs of the drawn types are one letter
			p.pack += "@" + t.Release
		}
		switch t.Status {
		case Status_PENDING:
			p.where = "ready"
		case Status_STARTED:
			p.where, p.node = "assigned", p.at.Node
			if load[p.node] == nil {
				load[p.node] = map[string]int{}
			}
			load[p.node][t.Type]++
		default:
			if next == 0 || t.DueMs < next {
				next = t.DueMs
			}
		}
		places[key] = p
	}
	got := c.walk(s.index)
	if !maps.Equal(got, places) {
		c.t.Fatalf("the index has\n%s\nwant\n%s", listed(got), listed(places))
	}
	c.held(s.index, want)
	loads := s.Load()
	for node := range uint32(len(want.nodes) + 1) {
		given := want.inOrder(func(t *Task) bool { return t.Status == Status_STARTED && t.Place.Node == node })
		sameKey := func(a Assignment, t *Task) bool { return a.Key == Key(t.Key) }
		if !maps.Equal(loads[node], load[node]) || s.Running(node) != len(given) || !slices.EqualFunc(s.Assigned(node), given, sameKey) {
			c.t.Fatalf("node %d has the load %v, runs %d: %v; want %v: %v", node, loads[node], s.Running(node), s.Assigned(node), load[node], given)
		}
	}
	if due, ok := s.NextDue(); ok != (next != 0) || due != next {
		c.t.Fatalf("the next is due at %d, %v; want %d", due, ok, next)
	}
}

// walk returns where an index has each task, and checks that it is in order.
func (c *comparison) walk(x *index) map[Key]placed {
	c.t.Helper()
	places := map[Key]placed{}
	add := func(p placed, l *live) {
		if old, twice := places[l.key]; twice || x.tasks[l.key] != l {
			c.t.Fatalf("task %s stands at %+v and %+v, or is not the one of its key", l.key, old, p)
		}
		p.pack, p.wants = l.pack.key, l.where
		p.kind, p.status, p.priority, p.order, p.due = l.kind, l.status, l.priority, l.order, l.due
		p.at, p.attempt, p.size = l.at, l.attempt, l.size
		places[l.key] = p
	}
	tree := func(tr *btree.BTreeG[*live], p placed, compare func(a, b *live) int) {
		var last *live
		tr.Ascend(func(l *live) bool {
			if last != nil && compare(last, l) >= 0 {
				c.t.Fatalf("%+v: order %d due %d stands before order %d due %d", p, last.order, last.due, l.order, l.due)
			}
			last = l
			add(p, l)
			return true
		})
	}
	byOrder := func(a, b *live) int { return cmp.Compare(a.order, b.order) }
	for key, p := range x.packs {
		all := map[string]*queues{"": &p.ready}
		for where, q := range p.placed {
			if all[where] = q; where == "" || q.len() == 0 {
				c.t.Fatalf("%s keeps an empty queue of %q", key, where)
			}
		}
		for where, q := range all {
			for priority, q := range q {
				if q == nil {
					continue
				}
				tree(q, placed{where: "ready"}, byOrder)
				q.Ascend(func(l *live) bool {
					if int(l.priority) != priority || l.pack != p || p.key != key || l.where != where {
						c.t.Fatalf("task %s of %s, priority %d, for %q stands in the queue of %s, %d, %q", l.key, l.pack.key, l.priority, l.where, key, priority, where)
					}
					return true
				})
			}
		}
	}
	tree(x.due, placed{where: "due"}, func(a, b *live) int { return cmp.Or(cmp.Compare(a.due, b.due), byOrder(a, b)) })
	for node, g := range x.assigned {
		for l := g.first; l != nil; l = l.next {
			add(placed{where: "assigned", node: node}, l)
		}
	}
	if len(places) != len(x.tasks) {
		c.t.Fatalf("%d tasks stand somewhere, %d are known", len(places), len(x.tasks))
	}
	return places
}

// held checks the records that the index holds in memory, and what they are counted as.
func (c *comparison) held(x *index, want *model) {
	c.t.Helper()
	held := 0
	for key, l := range x.tasks {
		if l.record == nil {
			continue
		}
		held += recordCost + l.size
		if !proto.Equal(l.record, want.tasks[key]) {
			c.t.Fatalf("the index holds %v of task %s, want %v", l.record, key, want.tasks[key])
		}
	}
	if held != x.held {
		c.t.Fatalf("records of %d bytes are held, counted as %d", held, x.held)
	}
}

func listed(places map[Key]placed) string {
	var out string
	for _, key := range slices.SortedFunc(maps.Keys(places), func(a, b Key) int { return cmp.Compare(a[15], b[15]) }) {
		out += fmt.Sprintf("%s %+v\n", key, places[key])
	}
	return out
}
