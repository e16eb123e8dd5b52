package history

import "time"

// deathNoted is how long after the end of a process its harness has noted it, at most.
const deathNoted = int64(time.Second)

// pair is two runs of one task that should not have been as they were.
type pair struct{ first, second *run }

// overlaps returns the runs of a task that began while an earlier one was under way. One
// without an end in its journal went on until its node was down.
func (v *view) overlaps(t *task) (pairs []pair) {
	for i, second := range t.runs {
		for _, first := range t.runs[:i] {
			at, known := v.over(first)
			if first.how == "" {
				at -= deathNoted
			}
			if !known || at > second.At {
				pairs = append(pairs, pair{first, second})
				break
			}
		}
	}
	return pairs
}

// late returns the runs of a task that began after one with a higher number.
func (t *task) late() (pairs []pair) {
	var highest *run
	for _, r := range t.runs {
		if highest != nil && r.Attempt < highest.Attempt {
			pairs = append(pairs, pair{highest, r})
			continue
		}
		highest = r
	}
	return pairs
}
