package history

import (
	"math"
	"time"
)

// rate returns how many writes were acknowledged in a second.
func (v *view) rate() float64 {
	first, last := int64(math.MaxInt64), int64(0)
	n := 0
	for i := range v.h.Ops {
		op := &v.h.Ops[i]
		if op.Kind != Submit && op.Kind != Batch {
			continue
		}
		first, last = min(first, op.Call), max(last, op.Return)
		if op.Outcome == OK {
			n++
		}
	}
	return float64(n) / max(time.Duration(last-first).Seconds(), 1)
}

// count fills in the counts of a report.
func (v *view) count() *Report {
	r := &Report{Ops: map[Kind]map[Outcome]int{}, Ends: map[string]int{}, Rate: v.rate(), Took: time.Duration(v.end)}
	for i := range v.h.Ops {
		op := &v.h.Ops[i]
		if r.Ops[op.Kind] == nil {
			r.Ops[op.Kind] = map[Outcome]int{}
		}
		r.Ops[op.Kind][op.Outcome]++
	}
	for _, t := range v.tasks {
		if len(t.submits) > 0 {
			r.Tasks++
		}
		if t.acked != nil {
			r.Acked++
		}
		if last := t.last(); last != nil {
			r.Ends[last.Status]++
			if last.Reason == reasonLost {
				r.Lost++
			}
		}
		r.Runs += len(t.runs)
		r.Reruns += max(0, len(t.runs)-1)
		r.Overlap += len(v.overlaps(t))
		r.Late += len(t.late())
		for _, run := range t.runs {
			if run.how == "" {
				r.Open++
			}
		}
	}
	return r
}
