package scheduler

import (
	"slices"
	"sync"
	"time"
)

// sampleFor is how long what a node said of its clock counts.
const sampleFor = 10 * time.Second

// clock is the time that a leader writes into its entries. It is the median of the
// members' clocks, as they tell them in their heartbeats, so that a clock that is wrong
// does not matter as long as most are right: the state's time never goes back, and one
// leader that was an hour ahead would hold up every retry of the next for an hour. It
// goes on by the monotonic clock. Where the state's time is ahead all the same, it goes
// at half its speed until the members have caught up.
type clock struct {
	wall  func() time.Time // this node's
	start time.Time        // of the monotonic clock

	mu      sync.Mutex
	samples map[uint32]sample // by node; guarded by mu
	last    int64             // given out, ms; guarded by mu
	at      time.Duration     // when, since start; guarded by mu
}

// sample is how far a node's clock was ahead of the monotonic one.
type sample struct {
	ahead int64 // ms
	at    time.Duration
}

// newClock returns a clock that begins no earlier than at the state's time.
func newClock(wall func() time.Time, state int64) *clock {
	return &clock{wall: wall, start: time.Now(), samples: map[uint32]sample{}, last: state}
}

// heard takes a node's clock. What it lost on its way here, milliseconds, is neglected.
func (c *clock) heard(node uint32, ms int64) {
	at := time.Since(c.start)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.samples[node] = sample{ms - at.Milliseconds(), at}
}

// now returns the time in ms since 1970. It never goes back.
func (c *clock) now() int64 {
	at := time.Since(c.start)
	c.mu.Lock()
	defer c.mu.Unlock()
	half := (at - c.at).Milliseconds() / 2
	if ms := max(c.median(at), c.last+half); ms > c.last {
		c.last, c.at = ms, at
	}
	return c.last
}

// median returns the time that as many nodes are behind as ahead of; the earlier one of
// two. Where nobody has told, this node's. mu is held.
func (c *clock) median(at time.Duration) int64 {
	var ahead []int64
	for node, s := range c.samples {
		if at-s.at > sampleFor {
			delete(c.samples, node)
			continue
		}
		ahead = append(ahead, s.ahead)
	}
	if len(ahead) == 0 {
		return c.wall().UnixMilli()
	}
	slices.Sort(ahead)
	return at.Milliseconds() + ahead[(len(ahead)-1)/2]
}
