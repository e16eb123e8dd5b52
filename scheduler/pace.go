package scheduler

import (
	"sync"
	"time"
)

const (
	// Tasks that take less than this may wait at a node ahead of a free slot.
	shortTask = 20 * time.Millisecond
	// horizon is how much work may wait at a node, in time.
	horizon = 50 * time.Millisecond
	// maxAhead bounds the tasks that wait at a node, per slot.
	maxAhead = 512
	// paceWeight is the weight of a new duration in the moving average.
	paceWeight = 0.1
)

// pace knows how long the tasks of a type take: a moving average of what finished
// in this term. A type that is not known counts as long.
type pace struct {
	mu   sync.Mutex
	mean map[string]float64 // seconds, by type; guarded by mu
}

func newPace() *pace { return &pace{mean: map[string]float64{}} }

// ran notes the duration of an attempt.
func (p *pace) ran(kind string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	mean, known := p.mean[kind]
	if !known {
		p.mean[kind] = d.Seconds()
		return
	}
	p.mean[kind] = mean + paceWeight*(d.Seconds()-mean)
}

// ahead returns how many tasks of a type may wait at a node for each of its
// slots, 0 for types that are long or not known.
func (p *pace) ahead(kind string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	mean, known := p.mean[kind]
	if !known || mean > shortTask.Seconds() {
		return 0
	}
	return int(min(maxAhead, horizon.Seconds()/max(mean, 1e-6)))
}

// slow counts, of what a node has been given, the tasks of types that may hold a
// slot for long.
func (p *pace) slow(load map[string]int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for kind, count := range load {
		if mean, known := p.mean[kind]; !known || mean > shortTask.Seconds() {
			n += count
		}
	}
	return n
}
