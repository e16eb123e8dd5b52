package auth

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// A user at a network may try perPair times a minute, after a burst of pairBurst; a network perNet times.
	perPair, pairBurst = 5, 10
	perNet, netBurst   = 30, 60
	// maxTracked bounds what is kept of those who try. Beyond it those are forgotten whose limits are full again.
	maxTracked = 10_000
)

// Buckets limits what each of many may do, by token buckets. What it keeps is bounded.
type Buckets struct {
	every rate.Limit
	burst int
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]*rate.Limiter // guarded by mu
}

// NewBuckets returns buckets that fill by so many per second, up to burst.
func NewBuckets(perSecond float64, burst int, now func() time.Time) *Buckets {
	return &Buckets{every: rate.Limit(perSecond), burst: burst, now: now, buckets: map[string]*rate.Limiter{}}
}

// Take takes one from the bucket of whom, or says after which time there will be one.
func (b *Buckets) Take(whom string) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	l := b.buckets[whom]
	if l == nil {
		b.makeRoom(now)
		l = rate.NewLimiter(b.every, b.burst)
		b.buckets[whom] = l
	}
	r := l.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// Return gives one back to the bucket of whom.
func (b *Buckets) Return(whom string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.buckets[whom]; l != nil {
		l.AllowN(b.now(), -1)
	}
}

// Reset fills the bucket of whom.
func (b *Buckets) Reset(whom string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.buckets, whom)
}

// makeRoom forgets full buckets, which are as good as new ones; if that makes little room, all, so that they are not gone through
// for each that comes: whoever fills the table with networks of theirs gains what a burst allows. mu is held.
func (b *Buckets) makeRoom(now time.Time) {
	if len(b.buckets) < maxTracked {
		return
	}
	for whom, l := range b.buckets {
		if l.TokensAt(now) >= float64(b.burst) {
			delete(b.buckets, whom)
		}
	}
	if len(b.buckets) > maxTracked*3/4 {
		clear(b.buckets)
	}
}

// Throttle limits attempts to log in, at one node.
type Throttle struct{ pairs, nets *Buckets }

// NewThrottle returns a throttle with that clock.
func NewThrottle(now func() time.Time) *Throttle {
	return &Throttle{NewBuckets(perPair/60.0, pairBurst, now), NewBuckets(perNet/60.0, netBurst, now)}
}

// Attempt counts an attempt of user from addr, an IP address. If it may not be made, it says when the next may, and counts nothing:
// users that a network makes up after its limit would push out those who are kept.
func (t *Throttle) Attempt(user, addr string) (wait time.Duration) {
	net := network(addr)
	if wait = t.nets.Take(net); wait > 0 {
		return wait
	}
	if wait = t.pairs.Take(pair(user, net)); wait > 0 {
		t.nets.Return(net)
	}
	return wait
}

// Succeeded forgets the attempts of a user who knew the password, and does not count the last against the network.
func (t *Throttle) Succeeded(user, addr string) {
	net := network(addr)
	t.pairs.Reset(pair(user, net))
	t.nets.Return(net)
}

// Repeated takes an attempt back: that of a user whose password was known to be right. It forgets no others.
func (t *Throttle) Repeated(user, addr string) {
	net := network(addr)
	t.pairs.Return(pair(user, net))
	t.nets.Return(net)
}

// Client returns what one machine cannot change of its address: all of an IPv4 address, the first 64 bits of an IPv6 one.
func Client(addr string) string {
	ip, err := netip.ParseAddr(addr)
	switch ip = ip.Unmap(); {
	case err != nil:
		return addr
	case ip.Is4():
		return ip.String()
	}
	return network(addr)
}

func pair(user, net string) string {
	const longest = 64 // of a user's name
	return user[:min(len(user), longest+1)] + "\x00" + net
}

// network is what one person may have many addresses in: /24 of IPv4, /64 of IPv6.
func network(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	ip = ip.Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 24
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return addr
	}
	return p.String()
}
