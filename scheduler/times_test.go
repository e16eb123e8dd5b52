package scheduler

import (
	"testing"
	"time"

	"pytasks/fsm"
)

// TestBuildTicksOnce: tasks that are due are made ready by one command, not by one in
// each entry until it has landed.
func TestBuildTicksOnce(t *testing.T) {
	now := time.Unix(1000, 0)
	d, term := lead(t, Config{Now: func() time.Time { return now }}, 1)
	keys := d.queue(d.task("p.f", delayed(time.Second)))
	if e := term.build(nil); e.ticks || len(e.cmds) > 0 {
		t.Errorf("an entry of %v before anything is due", e.cmds)
	}
	now = now.Add(time.Second)
	first, second := term.build(nil), term.build(nil)
	if !first.ticks || second.ticks || len(second.cmds) > 0 {
		t.Fatalf("ticks: %v then %v, want one", first.cmds, second.cmds)
	}
	term.flight.settle(second)
	term.propose(t.Context(), first)
	d.is(fsm.Status_PENDING, keys...)
	term.commit()
	d.is(fsm.Status_STARTED, keys...)
}

// TestBuildTimeGoesOn: entries are stamped with times that never go back.
func TestBuildTimeGoesOn(t *testing.T) {
	now := time.Unix(1000, 0)
	_, term := lead(t, Config{Now: func() time.Time { return now }})
	if got := term.build(nil).now; got != 1_000_000 {
		t.Errorf("got %d, want 1000000", got)
	}
	now = now.Add(-time.Minute)
	if got := term.build(nil).now; got != 1_000_000 {
		t.Errorf("after the clock was set back: got %d, want 1000000", got)
	}
}

// TestBuildDrawsRetries: the leader draws when a failed attempt is tried again.
func TestBuildDrawsRetries(t *testing.T) {
	now := time.Unix(1000, 0)
	d, term := lead(t, Config{Now: func() time.Time { return now }}, 1)
	keys := d.queue(d.task("p.f", placed(1), retries(&fsm.Retry{MaxAttempts: 3, InitialMs: 500, Factor: 2})))
	term.commit(asked(fail(keys[0], 1)))
	if got := d.record(keys[0]); got.Status != fsm.Status_RETRY || got.DueMs != 1_000_500 {
		t.Errorf("got %v due at %d, want RETRY at 1000500", got.Status, got.DueMs)
	}
	now = now.Add(time.Second)
	term.commit()
	term.commit()
	term.commit(asked(fail(keys[0], 2)))
	if got := d.record(keys[0]); got.Status != fsm.Status_RETRY || got.DueMs != 1_002_000 {
		t.Errorf("the second time: got %v due at %d, want RETRY at 1002000", got.Status, got.DueMs)
	}
}

func TestBackoff(t *testing.T) {
	policy := func(initial int64, factor float64, most int64, jitter float64) *fsm.Retry {
		return &fsm.Retry{MaxAttempts: 9, InitialMs: initial, Factor: factor, MaxMs: most, Jitter: jitter}
	}
	for name, c := range map[string]struct {
		r    *fsm.Retry
		n    uint32
		draw float64
		want int64
	}{
		"no policy":             {nil, 1, 0.5, 0},
		"the first":             {policy(100, 2, 0, 0), 1, 0.5, 100},
		"the fourth":            {policy(100, 2, 0, 0), 4, 0.5, 800},
		"at most":               {policy(100, 2, 300, 0), 4, 0.5, 300},
		"a factor below one":    {policy(100, 0.5, 0, 0), 4, 0.5, 100},
		"the least by jitter":   {policy(100, 2, 0, 0.2), 1, 0, 80},
		"the most by jitter":    {policy(100, 2, 0, 0.2), 1, 1, 120},
		"jitter of the maximum": {policy(100, 2, 300, 1), 9, 1, 600},
		"beyond all numbers":    {policy(1<<60, 1000, 0, 1), 90, 1, 1 << 61},
		"never negative":        {policy(100, 2, 0, 1), 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := backoff(c.r, c.n, c.draw); got != c.want {
				t.Errorf("got %d ms, want %d", got, c.want)
			}
		})
	}
}
