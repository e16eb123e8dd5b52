package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxPrinted is how many violations a report prints.
const maxPrinted = 20

// Report is what the checks found.
type Report struct {
	Ops   map[Kind]map[Outcome]int
	Rate  float64       // acknowledged submits and batches per second, while there were any
	Took  time.Duration // from the first call to the last answer
	Tasks int           // ids that were acknowledged, or may be tasks
	Acked int           // ids that were acknowledged

	Ends    map[string]int // final statuses of tasks
	Lost    int            // tasks that failed because their nodes were lost too often
	Runs    int            // attempts whose code started
	Reruns  int            // of them, those after a task's first
	Overlap int            // runs that began while another of their task was under way
	Late    int            // runs that began after one with a higher number
	Open    int            // runs without an end in the journal

	// Violations are sentences, each with the ids and operations concerned.
	Violations []string
}

// String returns the report for people.
func (r *Report) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(r.Ops)) {
		fmt.Fprintf(&b, "%-7s", k)
		for _, o := range []Outcome{OK, Refused, Unknown} {
			fmt.Fprintf(&b, " %6d %s", r.Ops[k][o], o)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "in %s, %.0f writes a second\n", r.Took.Round(time.Millisecond), r.Rate)
	fmt.Fprintf(&b, "%d tasks, %d acknowledged", r.Tasks, r.Acked)
	for _, s := range slices.Sorted(maps.Keys(r.Ends)) {
		fmt.Fprintf(&b, ", %d %s", r.Ends[s], s)
	}
	fmt.Fprintf(&b, "; %d given up with their nodes\n", r.Lost)
	fmt.Fprintf(&b, "%d runs, %d again, %d overlapping, %d late, %d without an end\n", r.Runs, r.Reruns, r.Overlap, r.Late, r.Open)
	if len(r.Violations) == 0 {
		b.WriteString("no violations\n")
		return b.String()
	}
	fmt.Fprintf(&b, "%d violations:\n", len(r.Violations))
	for _, v := range r.Violations[:min(maxPrinted, len(r.Violations))] {
		b.WriteString("- " + v + "\n")
	}
	if more := len(r.Violations) - maxPrinted; more > 0 {
		fmt.Fprintf(&b, "- and %d more\n", more)
	}
	return b.String()
}
