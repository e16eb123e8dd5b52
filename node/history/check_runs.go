package history

import (
	"fmt"
	"math"
)

// checkRuns finds attempts that ran as they may not, from the journals (I3, I4, I10): an
// attempt twice, numbers beyond all bounds or beyond the last one that the cluster knows
// of, and without a fault that breaks leases two runs of a task at once or out of order.
func checkRuns(v *view, o Options) (bad []string) {
	for _, id := range v.ids {
		t := v.tasks[id]
		last := t.last()
		ran := map[int]*run{}
		for _, r := range t.runs {
			if before := ran[r.Attempt]; before != nil {
				bad = append(bad, fmt.Sprintf("task %s ran an attempt twice: %v, and %v", id, before, r))
			}
			ran[r.Attempt] = r
			if r.Attempt > o.MaxAttempts {
				bad = append(bad, fmt.Sprintf("task %s ran too often, at most %d attempts are wanted: %v", id, o.MaxAttempts, r))
			}
			if last != nil && r.Attempt > last.Attempt {
				bad = append(bad, fmt.Sprintf("task %s ran after its end, %v: %v", id, last, r))
			}
		}
		if o.LeaseFaults {
			continue
		}
		for _, p := range v.overlaps(t) {
			bad = append(bad, fmt.Sprintf("task %s ran twice at once: %v, and %v", id, p.first, p.second))
		}
		for _, p := range t.late() {
			bad = append(bad, fmt.Sprintf("task %s ran out of order: %v, and then %v", id, p.first, p.second))
		}
	}
	return bad
}

// checkCommitted finds outcomes that no run had (I3): that of the final record, and those
// of the failed attempts that it tells of.
func checkCommitted(v *view, _ Options) (bad []string) {
	for _, id := range v.ids {
		t := v.tasks[id]
		last := t.last()
		if last == nil {
			continue
		}
		miss := func(attempt int, node, how string) {
			for _, r := range t.runs {
				if r.Attempt == attempt && r.Node == node && r.how == how {
					return
				}
			}
			bad = append(bad, fmt.Sprintf("task %s ended as %v, but attempt %d did not end with %q at %s in any journal: %v",
				id, last, attempt, how, node, t.runs))
		}
		switch {
		case last.Status == "SUCCESS":
			miss(last.Attempt, last.Node, EndOK)
		case last.Status == "FAILURE" && last.Reason == reasonError:
			miss(last.Attempt, last.Node, EndFailed)
		}
		for _, p := range last.Past {
			if p.Reason == reasonError {
				miss(p.Attempt, p.Node, EndFailed)
			}
		}
	}
	return bad
}

// checkStopped finds code that began, or went on, for too long after a client had seen its
// task final. A func that does not listen may take the time that it was told to.
func checkStopped(v *view, o Options) (bad []string) {
	if o.Grace <= 0 {
		return nil
	}
	for _, id := range v.ids {
		t := v.tasks[id]
		seen := t.seenFinal()
		if seen == math.MaxInt64 {
			continue
		}
		until := seen + int64(o.Grace)
		for _, r := range t.runs {
			end, known := v.over(r)
			if !known {
				end = v.end // it may be running still
			}
			allowed := until
			if t.asked != nil && t.asked.Func == deafFunc {
				allowed += int64(t.asked.Ms) * 1e6
			}
			switch {
			case r.At > until:
				bad = append(bad, fmt.Sprintf("task %s was seen final at %s, and run after that: %v", id, moment(seen), r))
			case end > allowed:
				bad = append(bad, fmt.Sprintf("task %s was seen final at %s, and ran on until %s: %v", id, moment(seen), moment(end), r))
			}
		}
	}
	return bad
}

// seenFinal returns when a client first knew that the task was final.
func (t *task) seenFinal() int64 {
	at := int64(math.MaxInt64)
	for _, op := range t.reads {
		if op.Record.Final() {
			at = min(at, op.Return)
		}
	}
	for _, ops := range [][]*Op{t.submits, t.cancels} {
		for _, op := range ops {
			if op.Final != "" {
				at = min(at, op.Return)
			}
		}
	}
	return at
}
