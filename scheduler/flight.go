package scheduler

import (
	"sync"

	"pytasks/fsm"
)

// flight is what the leader has proposed and the state may not show yet. It holds
// only entries that are on their way: when one has landed, or failed, what it
// promised is taken out again, and the state alone counts.
type flight struct {
	mu       sync.Mutex
	taken    map[fsm.Key]bool          // pending tasks being assigned
	byPack   map[string]int            // number of taken, by fsm.WaitKey
	reserved map[uint32]map[string]int // tasks given to nodes, by type
	submits  int
	ticks    int
}

func newFlight() *flight {
	return &flight{taken: map[fsm.Key]bool{}, byPack: map[string]int{}, reserved: map[uint32]map[string]int{}}
}

func (f *flight) launch(e *entry) { f.count(e, 1) }

func (f *flight) settle(e *entry) { f.count(e, -1) }

func (f *flight) count(e *entry, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.submits += by * e.submit
	if e.ticks {
		f.ticks += by
	}
	for _, r := range e.taken {
		if f.byPack[r.Pack] += by; by > 0 {
			f.taken[r.Key] = true
		} else {
			delete(f.taken, r.Key)
		}
	}
	for _, p := range e.placed {
		kinds := f.reserved[p.at.Node]
		if kinds == nil {
			kinds = map[string]int{}
			f.reserved[p.at.Node] = kinds
		}
		if kinds[p.task.Type] += by; kinds[p.task.Type] == 0 {
			delete(kinds, p.task.Type)
		}
	}
}

func (f *flight) submitting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.submits
}

func (f *flight) ticking() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ticks > 0
}

func (f *flight) has(k fsm.Key) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.taken[k]
}

// waiting returns, by pack, how many pending tasks of the state are not being
// assigned.
func (f *flight) waiting(pending map[string]int) map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for pack, n := range f.byPack {
		if pending[pack] -= n; pending[pack] <= 0 {
			delete(pending, pack)
		}
	}
	return pending
}

// addTo adds what is on its way to the load that the state shows.
func (f *flight) addTo(load map[uint32]map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for node, kinds := range f.reserved {
		for kind, n := range kinds {
			if load[node] == nil {
				load[node] = map[string]int{}
			}
			load[node][kind] += n
		}
	}
}
