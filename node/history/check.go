package history

import (
	"fmt"
	"time"
)

// Options says what happened during a run, and what is expected of it.
type Options struct {
	// MinRate is how many writes must have been acknowledged in a second, over the whole
	// time of writing. 0 = one.
	MinRate float64
	// Faults is how many faults took effect: nodes killed, links cut, and so on. A run
	// without one proves nothing, and fails.
	Faults int
	// LeaseFaults says that a fault kept a living node from the leader for longer than
	// its lease (a partition, a stopped or starved process), so that two attempts of a
	// task may have run at once. They are counted then, and a violation otherwise.
	LeaseFaults bool
	// Gone are the nodes that were asked during the run, and taken out of the cluster or
	// left broken: they are not asked to have everything in the end.
	Gone []string
	// Grace is how long code may go on after its task was seen final: the time of a lease,
	// and of the longest fault that breaks it. 0 = not checked.
	Grace time.Duration
	// MaxAttempts is the highest number that an attempt may reach. 0 = 50.
	MaxAttempts int
	// SearchTime bounds the search for an order of the operations. 0 = 60 s. It is of no
	// use inside a testing/synctest bubble: check a history outside.
	SearchTime time.Duration
}

// Check checks a settled history, and the journals of all nodes, against what the cluster
// promises. See the package's documentation for what that is.
func Check(h *History, journal []Entry, o Options) *Report {
	o.MinRate = orElse(o.MinRate, 1)
	o.MaxAttempts = orElse(o.MaxAttempts, 50)
	o.SearchTime = orElse(o.SearchTime, time.Minute)
	v := newView(h, journal)
	r := v.count()
	for _, check := range []func(*view, Options) []string{
		checkLoad, checkAcked, checkEnds, checkFinal, checkOwnState, checkDenied, checkKeys, checkLists,
		checkRuns, checkCommitted, checkStopped, checkOrder,
	} {
		r.Violations = append(r.Violations, check(v, o)...)
	}
	return r
}

// checkLoad finds runs that prove nothing, because little happened in them.
func checkLoad(v *view, o Options) (bad []string) {
	if o.Faults < 1 {
		bad = append(bad, "the run had no effective fault: it proves nothing")
	}
	if rate := v.rate(); rate < o.MinRate {
		bad = append(bad, fmt.Sprintf("only %.1f writes were acknowledged in a second, at least %.1f are wanted: the run proves little", rate, o.MinRate))
	}
	return bad
}
