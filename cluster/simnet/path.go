package simnet

import (
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

const (
	// UserTimeout is how long two hosts may be cut off from each other before their connections end.
	UserTimeout = 60 * time.Second

	minRetry = 200 * time.Millisecond // before a lost segment is sent again, at least
	maxRetry = 5 * time.Second        // ... at most, with as much again at random

	never = time.Duration(math.MaxInt64)
)

// Link is how one direction between two hosts carries packets. Its zero value is at once and without loss.
type Link struct {
	MinDelay, MaxDelay time.Duration // each packet takes as long as one of these or anything between
	Loss               float64       // share of packets that are lost, 0 to 1
	Duplicate          float64       // share of packets that arrive twice; streams are not affected
}

func (l *Link) perfect() bool { return l.MaxDelay <= 0 && l.Loss <= 0 }

// path is the way from one machine to another. All of it is guarded by mu.
type path struct {
	net      *Network
	from, to *machine
	back     *path
	pair     *pair
	rng      *rand.Rand
	link     *Link // nil = the network's
	cut      bool
	closed   bool // cut, or an end is unplugged
	closedAt time.Duration
}

// pair is what two machines have in common.
type pair struct {
	streams []*stream
	epoch   int // counts the changes between open both ways and not
}

func (p *path) settings() *Link {
	if p.link != nil {
		return p.link
	}
	return &p.net.link
}

func (p *path) delay() time.Duration {
	l := p.settings()
	if l.MaxDelay <= l.MinDelay {
		return max(l.MinDelay, 0)
	}
	return l.MinDelay + time.Duration(p.rng.Int64N(int64(l.MaxDelay-l.MinDelay)+1))
}

func (p *path) lost() bool { return p.chance(p.settings().Loss) }

func (p *path) chance(share float64) bool { return share > 0 && p.rng.Float64() < share }

// random is a time below limit.
func (p *path) random(limit time.Duration) time.Duration {
	return time.Duration(p.rng.Int64N(int64(max(limit, 1))))
}

// refresh brings closed up to date and does what follows from a change.
func (p *path) refresh() {
	closed := p.from != p.to && (p.cut || p.from.unplugged || p.to.unplugged)
	if closed == p.closed {
		return
	}
	p.closed = closed
	now := p.net.now()
	if !p.back.closed {
		p.pair.epoch++ // starts the user timeout, or ends it
	}
	if closed {
		p.closedAt = now
		if !p.back.closed {
			p.net.at(now+UserTimeout, &timeout{pair: p.pair, epoch: p.pair.epoch})
		}
		return
	}
	for _, s := range slices.Clone(p.pair.streams) {
		for _, c := range s.ends {
			if c.out.path == p {
				c.out.resume(now)
			} else {
				c.out.acknowledge()
			}
		}
	}
}

// timeout ends the connections of a pair that was not open both ways for UserTimeout.
type timeout struct {
	pair  *pair
	epoch int
}

func (t *timeout) happen(time.Duration) {
	if t.pair.epoch != t.epoch {
		return
	}
	for _, s := range slices.Clone(t.pair.streams) {
		s.fail(syscall.ETIMEDOUT)
	}
}
