package scheduler

import "strings"

// Worker is a node as the choice of a place sees it.
type Worker struct {
	Number   uint32
	Boot     uint64
	ID       string
	Slots    int
	Running  int             // unfinished assignments, those on their way included
	Slow     int             // of these, the ones that may hold a slot for long
	Pressure uint8           // of its machine, 0 to 255
	Alive    bool            // its heartbeats arrive, and it takes work
	Packs    map[string]bool // what it can run, by fsm.PackKey
	Labels   map[string]string
	Stuck    bool // its slots are held for longer than was thought: nothing may wait there

	picked uint64 // when it was picked last; breaks ties
}

// limit is how many unfinished tasks a worker may hold if one more of a type with
// that many to run ahead is given to it. Where short tasks run, some wait at the
// node so that its slots do not idle for a round trip; but never behind slots
// that are all held by long ones.
func (w *Worker) limit(ahead int) int {
	if ahead == 0 || w.Stuck || w.Slow >= w.Slots {
		return w.Slots
	}
	return w.Slots + ahead*(w.Slots-w.Slow)/w.Slots
}

// fits says whether a worker can run what waits by a fsm.WaitKey.
func (w *Worker) fits(key string) bool {
	pack, where, placed := strings.Cut(key, " ")
	if !w.Packs[pack] {
		return false
	}
	for placed {
		var label string
		label, where, placed = strings.Cut(where, ",")
		name, value, _ := strings.Cut(label, "=")
		if got, ok := w.Labels[name]; !ok || got != value {
			return false
		}
	}
	return true
}

// score orders workers by load: the smaller, the better. Pressure counts up to
// half a task per slot, so that it breaks near ties and a node that is busy with
// something else is filled last.
func (w *Worker) score() float64 {
	return float64(w.Running+1)/float64(max(1, w.Slots)) + float64(w.Pressure)/512
}

// pick returns the least loaded of the workers that may take one more task that waits by a
// key, nil if none may. A worker with the number avoid, where the task failed
// before, is taken only if there is no other. ahead is how many tasks of the type
// may wait at a node per its slots being free.
func pick(workers []*Worker, pack string, ahead int, avoid uint32) *Worker {
	var best, avoided *Worker
	for _, w := range workers {
		if !w.Alive || !w.fits(pack) || w.Running >= w.limit(ahead*w.Slots) {
			continue
		}
		if w.Number == avoid {
			avoided = w
			continue
		}
		if best == nil || better(w, best) {
			best = w
		}
	}
	if best == nil {
		return avoided
	}
	return best
}

func better(a, b *Worker) bool {
	if sa, sb := a.score(), b.score(); sa != sb {
		return sa < sb
	}
	return a.picked < b.picked
}
