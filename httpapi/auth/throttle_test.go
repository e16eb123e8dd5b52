package auth

import (
	"fmt"
	"testing"
	"time"
)

// TestThrottleManyNames: names that somebody makes up do not push out the limits of others.
func TestThrottleManyNames(t *testing.T) {
	now := time.Unix(0, 0)
	throttle := NewThrottle(func() time.Time { return now })
	for range pairBurst {
		throttle.Attempt("ann", "192.0.2.1")
	}
	for i := range 2 * maxTracked {
		throttle.Attempt(fmt.Sprint("made up ", i), "192.0.2.1")
	}
	now = now.Add(4 * time.Second) // the address may try twice, ann not once
	if wait := throttle.Attempt("ann", "192.0.2.1"); wait == 0 {
		t.Error("the attempts of a user are forgotten for the names of nobody")
	}
	if got := len(throttle.pairs.buckets); got > netBurst+1 {
		t.Errorf("%d pairs are kept of an address that may try %d times", got, netBurst)
	}
}

// TestThrottleOfNet: what counts against a network are wrong passwords that were looked at.
func TestThrottleOfNet(t *testing.T) {
	now := time.Unix(0, 0)
	throttle := NewThrottle(func() time.Time { return now })
	for i := range 3 * netBurst {
		if wait := throttle.Attempt("ann", "192.0.2.1"); wait > 0 {
			t.Fatalf("log-in %d with the right password has to wait %v", i, wait)
		}
		throttle.Succeeded("ann", "192.0.2.1")
	}
	for range 3 * netBurst {
		throttle.Attempt("bob", "192.0.2.1") // most are not looked at
	}
	if wait := throttle.Attempt("eve", "192.0.2.1"); wait > 0 {
		t.Errorf("somebody else has to wait %v for what was not looked at", wait)
	}
}

func TestClient(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8::1": "2001:db8::/64", "2001:db8::ffff:1": "2001:db8::/64",
		"2001:db8:0:1::1": "2001:db8:0:1::/64", "@": "@",
	} {
		if got := Client(addr); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}

// TestBucketsFull: where making room makes little, there is all of it, as every look at the full table takes long.
func TestBucketsFull(t *testing.T) {
	now := time.Unix(0, 0)
	b := NewBuckets(1, 2, func() time.Time { return now })
	for i := range 10 {
		b.Take(fmt.Sprint("early ", i))
	}
	now = now.Add(time.Second) // their buckets are full again
	for i := range maxTracked - 10 {
		b.Take(fmt.Sprint("late ", i))
	}
	b.Take("one more")
	if len(b.buckets) != 1 {
		t.Errorf("%d are kept, want the one that came", len(b.buckets))
	}
}
