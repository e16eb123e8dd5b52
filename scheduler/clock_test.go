package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/fsm"
)

// TestClockOutvotesWrongOnes: a leader whose clock is wrong goes by the others'.
func TestClockOutvotesWrongOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().UnixMilli()
		wrong := func() time.Time { return time.Now().Add(time.Hour) }
		c := newClock(wrong, 0)
		c.heard(1, wrong().UnixMilli())
		c.heard(2, start)
		c.heard(3, start-5)
		time.Sleep(3 * time.Second)
		if got, want := c.now(), start+3000; got != want {
			t.Errorf("got %d ms after the right time, want 0", got-want)
		}
		time.Sleep(2 * sampleFor)
		if got, want := c.now(), wrong().UnixMilli(); got != want {
			t.Errorf("with nobody left to ask: got %d ms off its own clock, want 0", got-want)
		}
	})
}

// TestClockAheadGoesOn: where the state's time is ahead of all clocks, time goes on, at
// half its speed, until they have caught up.
func TestClockAheadGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().UnixMilli()
		const ahead = 10_000
		c := newClock(time.Now, start+ahead)
		for i := range int64(40) {
			want := max(start+ahead+i*500, start+i*1000)
			if got := c.now(); got != want {
				t.Errorf("after %d s: got %d ms, want %d", i, got-start, want-start)
			}
			time.Sleep(time.Second)
		}
	})
}

// TestClockNeverGoesBack, also if it is asked more often than once in a millisecond.
func TestClockNeverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		skew := time.Duration(0)
		c := newClock(func() time.Time { return time.Now().Add(skew) }, 0)
		first := c.now()
		skew = -time.Minute
		last := first
		for range 4000 {
			now := c.now()
			if now < last {
				t.Fatalf("%d ms follow %d ms", now, last)
			}
			last = now
			time.Sleep(500 * time.Microsecond)
		}
		if got := last - first; got < 990 || got > 1000 {
			t.Errorf("2 s later the clock has gone on by %d ms, want 1000", got)
		}
	})
}

// TestLeaderHearsClocksFirst: a new leader makes no entry before it has heard the clocks of
// most nodes, but waits no longer than hearWithin for them.
func TestLeaderHearsClocksFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, silent := range []bool{false, true} {
			r := newDesk(t, Config{}, 1, 1, 1)
			r.cfg.Now = func() time.Time { return time.Now().Add(time.Hour) }
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { _ = r.Lead(ctx, 1); close(ended) }()
			synctest.Wait()
			start := time.Now()
			keys := make(chan []*fsm.Outcome, 1)
			go func() {
				outs, err := r.Do(t.Context(), []*fsm.Command{submit(r.task("p.f"))})
				if err != nil {
					t.Errorf("Do: %v", err)
				}
				keys <- outs
			}()
			synctest.Wait()
			if n := len(r.cluster.commands()); n > 0 {
				t.Errorf("%d commands before any clock was heard", n)
			}
			want := start.Add(time.Hour + hearWithin)
			if !silent {
				for _, n := range r.state.Nodes() {
					h := &fsm.Heartbeat{Place: &fsm.Place{Node: n.Number, Boot: n.Boot}, ClockMs: time.Now().UnixMilli()}
					if err := r.Heartbeat(h); err != nil {
						t.Error(err)
					}
				}
				want = start
			}
			<-keys
			if got := r.cluster.entries[0].NowMs; got != want.UnixMilli() {
				t.Errorf("silent %v: the first entry is %d ms off", silent, got-want.UnixMilli())
			}
			cancel()
			<-ended
			r.close()
		}
	})
}
