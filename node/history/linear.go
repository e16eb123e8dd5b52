package history

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkOrder searches, for each task, for an order of the operations on it that explains
// all answers and respects which came after which (I7). Unknown outcomes may take effect at
// any later time, or never.
func checkOrder(v *view, o Options) (bad []string) {
	model := porcupine.Model{
		Init: func() any { return register{rank: -1} },
		Step: func(state, input, _ any) (bool, any) {
			next, ok := state.(register).apply(input.(step))
			return ok, next
		},
	}
	deadline := time.Now().Add(o.SearchTime)
	undecided := 0
	for _, id := range v.ids {
		ops := v.tasks[id].operations()
		left := time.Until(deadline)
		if left <= 0 {
			undecided++
			continue
		}
		switch porcupine.CheckOperationsTimeout(model, ops, left) {
		case porcupine.Illegal:
			_, info := porcupine.CheckOperationsVerbose(model, ops, left)
			bad = append(bad, fmt.Sprintf("task %s: no order of its operations explains them all: %s", id, stuck(ops, info)))
		case porcupine.Unknown:
			undecided++
		}
	}
	if undecided > 0 {
		bad = append(bad, fmt.Sprintf("the order of the operations on %d tasks was not decided within %s", undecided, o.SearchTime))
	}
	return bad
}

// operations turns what clients did to a task into steps of the model. Refused submits are
// left out: they have no effect, and what reads see must do without them.
func (t *task) operations() (ops []porcupine.Operation) {
	add := func(op *Op, s step) {
		p := porcupine.Operation{Input: s, Call: op.Call, Return: op.Return, Metadata: op}
		if s.what == tried || s.what == made && op.Outcome == Unknown {
			p.Return = math.MaxInt64
		}
		ops = append(ops, p)
	}
	for _, op := range t.submits {
		add(op, step{what: made})
		if op.Final != "" && op.Record == nil {
			add(op, step{what: ended, read: Record{Status: op.Final}})
		}
	}
	for _, op := range t.cancels {
		switch {
		case op.Outcome == OK:
			add(op, step{what: revoked})
		case op.Outcome == Unknown:
			add(op, step{what: tried})
		case op.Code == "not_found": // asked through the log
			add(op, step{what: strong, read: Record{Status: Absent}})
		case op.Final != "":
			add(op, step{what: ended, read: Record{Status: op.Final}})
		}
	}
	for _, op := range t.reads {
		switch {
		case op.Kind == Read && op.Consistency == Linearizable:
			add(op, step{what: strong, read: *op.Record})
		case op.Record.Status != Absent:
			add(op, step{what: weak, read: *op.Record})
		}
	}
	return ops
}

// stuck tells what the longest order that was found could not take in.
func stuck(ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	type name struct {
		op   any
		what stepKind
	}
	placed := map[name]bool{}
	for _, p := range longest {
		placed[name{p.Metadata, p.Input.(step).what}] = true
	}
	var first *porcupine.Operation
	for i := range ops {
		p := &ops[i]
		if !placed[name{p.Metadata, p.Input.(step).what}] && (first == nil || p.Return < first.Return) {
			first = p
		}
	}
	text := fmt.Sprintf("%d of %d can be put in order, not %v", len(longest), len(ops), first.Metadata)
	if len(longest) > 0 {
		text += fmt.Sprintf("; the last before it is %v", longest[len(longest)-1].Metadata)
	}
	return text
}
