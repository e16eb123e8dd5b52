package history

import (
	"math/rand/v2"
	"slices"
	"sync"
)

// recent is how many of the last ids readers mostly look at.
const recent = 64

// book is the ids that the clients of a workload have heard of.
type book struct {
	mu      sync.Mutex
	numbers int             // given to tasks so far; guarded by mu
	ids     []string        // all of them, in order; guarded by mu
	open    []string        // those with an unknown outcome; guarded by mu
	known   map[string]bool // guarded by mu
}

// take gives out numbers for so many new tasks.
func (b *book) take(count int) []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	numbers := make([]int, count)
	for i := range numbers {
		b.numbers++
		numbers[i] = b.numbers
	}
	return numbers
}

// heard notes the ids of a submit that was not refused.
func (b *book) heard(op *Op) {
	if op.Outcome == Refused {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range op.Tasks {
		if b.learn(t.ID) && op.Outcome == Unknown {
			b.open = append(b.open, t.ID)
		}
	}
}

// add notes the ids of a list.
func (b *book) add(listed []Listed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range listed {
		b.learn(l.ID)
	}
}

// learn notes an id, and says whether it is new. mu is held.
func (b *book) learn(id string) bool {
	if id == "" || b.known[id] {
		return false
	}
	if b.known == nil {
		b.known = map[string]bool{}
	}
	b.known[id] = true
	b.ids = append(b.ids, id)
	return true
}

// pick returns an id to look at: mostly a recent one, at times one that is open or any;
// "" while there is none.
func (b *book) pick(rng *rand.Rand) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := b.ids
	switch p := rng.IntN(10); {
	case p < 2 && len(b.open) > 0:
		from = b.open
	case p < 9:
		from = from[max(0, len(from)-recent):]
	}
	if len(from) == 0 {
		return ""
	}
	return from[rng.IntN(len(from))]
}

// all returns every id.
func (b *book) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.ids)
}
