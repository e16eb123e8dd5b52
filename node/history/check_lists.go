package history

import (
	"fmt"
	"maps"
	"slices"
)

// checkLists compares what each node lists in the end with what was asked for: every
// acknowledged task once, no task twice, none of a request that was refused whenever it was
// sent, a batch whole or not at all, and of the requests under one key at most one (I1, I6).
func checkLists(v *view, o Options) (bad []string) {
	requests := v.requests()
	for _, node := range v.nodes(o) {
		var list *Op
		for _, op := range v.lists {
			if op.Node == node {
				list = op
			}
		}
		if list == nil {
			bad = append(bad, fmt.Sprintf("%s did not list its tasks in the end", node))
			continue
		}
		for _, why := range requests.against(list) {
			bad = append(bad, fmt.Sprintf("%v: %s", list, why))
		}
	}
	return bad
}

// asking is one request, however often it was sent.
type asking struct {
	numbers []int
	acked   *Op // nil if it never was
	unknown bool
	key     string
}

// askings are all requests, by the number of their first task.
type askings map[int]*asking

func (v *view) requests() askings {
	all := askings{}
	for i := range v.h.Ops {
		op := &v.h.Ops[i]
		if op.Kind != Submit && op.Kind != Batch {
			continue
		}
		r := all[op.Tasks[0].N]
		if r == nil {
			r = &asking{key: op.Key}
			for _, t := range op.Tasks {
				r.numbers = append(r.numbers, t.N)
			}
			all[op.Tasks[0].N] = r
		}
		switch op.Outcome {
		case OK:
			r.acked = op
		case Unknown:
			r.unknown = true
		}
	}
	return all
}

// against returns what is wrong with a list.
func (all askings) against(list *Op) (bad []string) {
	ids := map[int][]string{}
	for _, l := range list.Listed {
		ids[l.N] = append(ids[l.N], l.ID)
	}
	byKey := map[string]*asking{}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		r := all[n]
		there := 0
		for _, number := range r.numbers {
			if len(ids[number]) > 0 {
				there++
			}
			if len(ids[number]) > 1 {
				bad = append(bad, fmt.Sprintf("task number %d is there %d times: %v", number, len(ids[number]), ids[number]))
			}
			delete(ids, number)
		}
		switch {
		case there > 0 && r.acked == nil && !r.unknown:
			bad = append(bad, fmt.Sprintf("task number %d is there, but it was refused", n))
		case there > 0 && there < len(r.numbers):
			bad = append(bad, fmt.Sprintf("of the batch with the task numbers %v only %d tasks are there", r.numbers, there))
		case there == 0 && r.acked != nil:
			bad = append(bad, fmt.Sprintf("task number %d is missing, acknowledged to %v", n, r.acked))
		}
		if there == 0 || r.key == "" {
			continue
		}
		if other := byKey[r.key]; other != nil {
			bad = append(bad, fmt.Sprintf("key %s made two tasks, number %d and number %d", r.key, other.numbers[0], n))
		}
		byKey[r.key] = r
	}
	for _, n := range slices.Sorted(maps.Keys(ids)) {
		bad = append(bad, fmt.Sprintf("task number %d is there, but nobody asked for it: %v", n, ids[n]))
	}
	return bad
}
