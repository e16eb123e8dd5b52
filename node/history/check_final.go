package history

import (
	"cmp"
	"fmt"
	"slices"
)

// checkFinal finds tasks with more than one end (I2, I3): any two reads of a final record
// agree, whatever their consistency and whichever node was asked, byte for byte; and so do
// the statuses that answers to submits and cancels gave.
func checkFinal(v *view, _ Options) (bad []string) {
	for _, id := range v.ids {
		t := v.tasks[id]
		var first *Op
		for _, op := range t.reads {
			switch {
			case !op.Record.Final():
			case first == nil:
				first = op
			case op.Record.Sum != first.Record.Sum:
				bad = append(bad, fmt.Sprintf("task %s has two ends: %v, and %v", id, first, op))
			}
		}
		if first == nil {
			continue
		}
		for _, op := range slices.Concat(t.submits, t.cancels) {
			if op.Final != "" && op.Final != first.Record.Status {
				bad = append(bad, fmt.Sprintf("task %s has two ends: %v, and %v", id, first, op))
			}
		}
	}
	return bad
}

// checkOwnState finds nodes that forgot what they knew: once a stale or linearizable read
// has shown what a node's own state holds, no later answer of that start of the node may
// be behind it. After a restart a node may know less for a while. A default read or a wait
// may be ahead of the node, with the leader's help, and promises nothing to reads after it.
func checkOwnState(v *view, _ Options) (bad []string) {
	for _, id := range v.ids {
		t := v.tasks[id]
		furthest := map[string]*Op{} // by node; reads are in the order of their return
		byCall := slices.Clone(t.reads)
		slices.SortStableFunc(byCall, func(a, b *Op) int { return cmp.Compare(a.Call, b.Call) })
		next := 0
		for _, op := range byCall {
			for ; next < len(t.reads) && t.reads[next].Return < op.Call; next++ {
				before := t.reads[next]
				own := before.Kind == Read && before.Consistency != Default
				old := furthest[before.Node]
				if own && (old == nil || v.restarted(old, before) || before.Record.rank() >= old.Record.rank()) {
					furthest[before.Node] = before
				}
			}
			before := furthest[op.Node]
			if before != nil && op.Record.rank() < before.Record.rank() && !v.restarted(before, op) {
				bad = append(bad, fmt.Sprintf("task %s: %s forgot what it knew: %v, and later %v", id, op.Node, before, op))
			}
		}
	}
	return bad
}

// restarted says whether the node that answered both may have ended between them.
func (v *view) restarted(first, second *Op) bool {
	return slices.ContainsFunc(v.down[first.Node], func(at int64) bool { return first.Call <= at && at <= second.Return })
}

// checkDenied finds nodes that said by default that there is no such task when there was
// one already. Only a stale read may miss it.
func checkDenied(v *view, _ Options) (bad []string) {
	for _, id := range v.ids {
		t := v.tasks[id]
		known := t.acked
		for _, op := range t.reads {
			if op.Record.Status != Absent && (known == nil || op.Return < known.Return) {
				known = op
			}
		}
		for _, op := range t.reads {
			if known != nil && op.Record.Status == Absent && op.Consistency != Stale && op.Call > known.Return {
				bad = append(bad, fmt.Sprintf("task %s was denied: %v, although it is known from %v", id, op, known))
			}
		}
	}
	return bad
}
