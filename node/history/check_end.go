package history

import (
	"fmt"
	"slices"
)

// checkAcked finds acknowledged tasks that are lost (I1): every node must show them final
// in the end, and list them.
func checkAcked(v *view, o Options) (bad []string) {
	for _, node := range v.nodes(o) {
		for _, id := range v.ids {
			t := v.tasks[id]
			if t.acked == nil {
				continue
			}
			var last *Op
			for _, op := range t.reads {
				if op.Kind == Read && op.Node == node && op.Consistency == Linearizable {
					last = op
				}
			}
			switch {
			case last == nil:
				bad = append(bad, fmt.Sprintf("task %s, acknowledged to %v, was not read at %s in the end", id, t.acked, node))
			case !last.Record.Final():
				bad = append(bad, fmt.Sprintf("task %s, acknowledged to %v, is not final at %s in the end: %v", id, t.acked, node, last))
			}
		}
	}
	return bad
}

// checkEnds finds tasks that ended as they may not: with a wrong result, as a success that
// cannot be, revoked by nobody, given up too soon (I1, I3, I10).
func checkEnds(v *view, _ Options) (bad []string) {
	for _, id := range v.ids {
		t := v.tasks[id]
		last := t.last()
		if last == nil || t.asked == nil {
			continue
		}
		if why := t.unexpected(last); why != "" {
			bad = append(bad, fmt.Sprintf("task %s (%s, n %d, fails %d, at most %d attempts) ended as %v: %s",
				id, t.asked.Func, t.asked.N, t.asked.Fail, t.asked.MaxAttempts, last, why))
		}
		if why := t.past(last); why != "" {
			bad = append(bad, fmt.Sprintf("task %s ended as %v: %s", id, last, why))
		}
	}
	return bad
}

// unexpected says why a task cannot have ended so, "" if it can.
func (t *task) unexpected(last *Record) string {
	asked := t.asked
	alwaysFails := asked.Fail < 0 || asked.Fail >= max(1, asked.MaxAttempts)
	switch {
	case last.Status == "REVOKED":
		if !slices.ContainsFunc(t.cancels, func(op *Op) bool { return op.Outcome != Refused }) {
			return "nobody cancelled it"
		}
	case last.Status == "SUCCESS" && last.Result != ResultOf(asked.N):
		return "the result is to be " + ResultOf(asked.N)
	case last.Status == "SUCCESS" && (asked.Fail < 0 || last.Attempt <= asked.Fail):
		return "that attempt fails"
	case last.Status == "FAILURE" && last.Reason == reasonLost:
		if lost := last.count(reasonLost) + 1; lost < maxLost {
			return fmt.Sprintf("it was given up after %d lost nodes, want %d", lost, maxLost)
		}
	case last.Status == "FAILURE" && (last.Reason != reasonError || !alwaysFails):
		return "it does not fail so"
	}
	return ""
}

// The reasons of failures that a task of the pack may have, and the number of lost nodes
// after which a task is given up.
const (
	reasonError = "error"
	reasonLost  = "worker_lost"
	maxLost     = 3
)

// past says what is wrong with the attempts that a final record tells of, "" if nothing.
func (t *task) past(last *Record) string {
	before := 0
	for _, p := range last.Past {
		if p.Attempt <= before || p.Attempt > last.Attempt {
			return fmt.Sprintf("its earlier attempts are out of order: %v", last.Past)
		}
		before = p.Attempt
	}
	failures := last.count(reasonError)
	if last.Status == "FAILURE" && last.Reason == reasonError {
		failures++
	}
	if most := max(1, t.asked.MaxAttempts); failures > most {
		return fmt.Sprintf("it failed %d times, at most %d were to be tried", failures, most)
	}
	if lost := last.count(reasonLost); lost >= maxLost {
		return fmt.Sprintf("it went on after %d lost nodes", lost)
	}
	return ""
}

// count returns how many earlier attempts ended for that reason.
func (r *Record) count(reason string) (n int) {
	for _, p := range r.Past {
		if p.Reason == reason {
			n++
		}
	}
	return n
}
