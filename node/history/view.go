package history

import (
	"cmp"
	"maps"
	"slices"
)

// view is a history by task.
type view struct {
	h     *History
	tasks map[string]*task
	ids   []string           // of tasks, sorted
	lists []*Op              // that are OK
	down  map[string][]int64 // when processes of a node ended, in order
	end   int64              // when the last operation was over
}

// task is everything about one id.
type task struct {
	id      string
	asked   *Task // nil if no submit of it is known
	acked   *Op   // the submit that was acknowledged first, nil if none was
	submits []*Op // that are not refused
	cancels []*Op // all
	reads   []*Op // with a record, submits that waited included; by the time of return
	runs    []*run
}

// run is the code of one attempt, from the journals.
type run struct {
	Entry        // its start; At counts from the recorder's start
	ended int64  // when it ended, if how says so
	how   string // "" = the journal has no end
}

func newView(h *History, journal []Entry) *view {
	v := &view{h: h, tasks: map[string]*task{}, down: map[string][]int64{}}
	numbers := v.numbers()
	for i := range h.Ops {
		v.add(&h.Ops[i], numbers)
	}
	for _, e := range h.Events {
		if e.Kind == Down {
			v.down[e.Node] = append(v.down[e.Node], e.At)
		}
	}
	for _, at := range v.down {
		slices.Sort(at)
	}
	v.addRuns(journal)
	for id, t := range v.tasks {
		v.ids = append(v.ids, id)
		slices.SortStableFunc(t.reads, func(a, b *Op) int { return cmp.Compare(a.Return, b.Return) })
		slices.SortStableFunc(t.runs, func(a, b *run) int { return cmp.Compare(a.At, b.At) })
	}
	slices.Sort(v.ids)
	return v
}

// numbers tells the ids that tasks of a number have, as far as anybody was told.
func (v *view) numbers() map[int][]string {
	ids := map[int][]string{}
	learn := func(n int, id string) {
		if n > 0 && id != "" && !slices.Contains(ids[n], id) {
			ids[n] = append(ids[n], id)
		}
	}
	for i := range v.h.Ops {
		op := &v.h.Ops[i]
		for _, t := range op.Tasks {
			if op.Outcome != Refused {
				learn(t.N, t.ID)
			}
		}
		for _, l := range op.Listed {
			learn(l.N, l.ID)
		}
	}
	return ids
}

func (v *view) add(op *Op, numbers map[int][]string) {
	v.end = max(v.end, op.Return)
	switch op.Kind {
	case Submit, Batch:
		if op.Outcome == Refused {
			return
		}
		for i := range op.Tasks {
			asked := &op.Tasks[i]
			ids := []string{asked.ID}
			if op.Outcome == Unknown { // it may have made any task of its number
				ids = numbers[asked.N]
			}
			for _, id := range ids {
				t := v.task(id)
				t.submits = append(t.submits, op)
				if t.asked == nil || op.Outcome == OK && t.acked == nil {
					t.asked = asked
				}
				if op.Outcome == OK && (t.acked == nil || op.Return < t.acked.Return) {
					t.acked = op
				}
				if op.Record != nil {
					t.reads = append(t.reads, op)
				}
			}
		}
	case Read, Wait:
		if t := v.task(op.Tasks[0].ID); op.Record != nil {
			t.reads = append(t.reads, op)
		}
	case Cancel:
		t := v.task(op.Tasks[0].ID)
		t.cancels = append(t.cancels, op)
	case List:
		if op.Outcome == OK {
			v.lists = append(v.lists, op)
		}
	}
}

func (v *view) task(id string) *task {
	t := v.tasks[id]
	if t == nil {
		t = &task{id: id}
		v.tasks[id] = t
	}
	return t
}

// addRuns puts the starts and ends of journals together.
func (v *view) addRuns(journal []Entry) {
	type name struct {
		task    string
		attempt int
		node    string
	}
	under := map[name]*run{}
	for _, e := range journal {
		e.At -= v.h.Start
		at := name{e.Task, e.Attempt, e.Node}
		if e.End == "" {
			r := &run{Entry: e}
			under[at] = r
			t := v.task(e.Task)
			t.runs = append(t.runs, r)
		} else if r := under[at]; r != nil {
			r.ended, r.how = e.At, e.End
		}
	}
}

// nodes returns the nodes that clients asked, but those that are gone for good.
func (v *view) nodes(o Options) []string {
	seen := map[string]bool{}
	for i := range v.h.Ops {
		seen[v.h.Ops[i].Node] = true
	}
	for _, gone := range o.Gone {
		delete(seen, gone)
	}
	return slices.Sorted(maps.Keys(seen))
}

// last returns the final record of a task, as it was read first; nil if it never was.
func (t *task) last() *Record {
	for _, op := range t.reads {
		if op.Record.Final() {
			return op.Record
		}
	}
	return nil
}

// over returns when a run was over for sure: when it ended, or its node did. ok is false
// if that is not known.
func (v *view) over(r *run) (at int64, ok bool) {
	if r.how != "" {
		return r.ended, true
	}
	i, _ := slices.BinarySearch(v.down[r.Node], r.At)
	if i == len(v.down[r.Node]) {
		return 0, false
	}
	return v.down[r.Node][i], true
}
