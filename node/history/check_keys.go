package history

import (
	"fmt"
	"maps"
	"slices"
)

// keyed is what was asked under one Idempotency-Key, or under one id of the caller's.
type keyed struct {
	ok       []*Op // acknowledged
	payloads map[string]bool
	reused   []*Op // refused because the key or the id is taken by something else
}

// checkKeys finds keys, and ids of the callers' choice, that stand for more than one thing
// (I6): all that is acknowledged under one has one payload and one answer, and only
// another payload is refused.
func checkKeys(v *view, _ Options) (bad []string) {
	for _, group := range []struct {
		what, taken string
		of          map[string]*keyed
	}{
		{"Idempotency-Key", "key_reused", v.keyed("key_reused", func(op *Op) string { return op.Key })},
		{"id", "id_taken", v.keyed("id_taken", func(op *Op) string {
			if op.Kind != Submit || op.Key != "" {
				return ""
			}
			return op.Tasks[0].ID
		})},
	} {
		for _, name := range slices.Sorted(maps.Keys(group.of)) {
			k := group.of[name]
			for i, op := range k.ok {
				first := k.ok[0]
				if op.Payload != first.Payload {
					bad = append(bad, fmt.Sprintf("%s %s was taken for two payloads: %v, and %v", group.what, name, first, op))
				} else if got, want := idsOf(op), idsOf(first); i > 0 && !slices.Equal(got, want) {
					bad = append(bad, fmt.Sprintf("%s %s stands for %v by %v, and for %v by %v", group.what, name, want, first, got, op))
				}
			}
			if len(k.payloads) == 1 && len(k.reused) > 0 {
				bad = append(bad, fmt.Sprintf("%s %s has one payload, yet %v", group.what, name, k.reused[0]))
			}
		}
	}
	return bad
}

// keyed gathers the submits of each name that is not "".
func (v *view) keyed(taken string, name func(*Op) string) map[string]*keyed {
	of := map[string]*keyed{}
	for i := range v.h.Ops {
		op := &v.h.Ops[i]
		if op.Kind != Submit && op.Kind != Batch || name(op) == "" {
			continue
		}
		k := of[name(op)]
		if k == nil {
			k = &keyed{payloads: map[string]bool{}}
			of[name(op)] = k
		}
		k.payloads[op.Payload] = true
		switch {
		case op.Outcome == OK:
			k.ok = append(k.ok, op)
		case op.Code == taken:
			k.reused = append(k.reused, op)
		}
	}
	return of
}

func idsOf(op *Op) (ids []string) {
	for _, t := range op.Tasks {
		ids = append(ids, t.ID)
	}
	return ids
}
