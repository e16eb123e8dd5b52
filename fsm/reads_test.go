package fsm

import "testing"

// TestWaitingSince: the age of the first in the queue, whatever its pack and priority, also when it came back.
func TestWaitingSince(t *testing.T) {
	m := newMachine(t)
	want := func(what string, ms int64) {
		t.Helper()
		if got, err := m.WaitingSince(); got != ms || err != nil {
			t.Errorf("%s: got %d, %v, want %d", what, got, err, ms)
		}
	}
	m.ok(up("id1", "n1", 1))
	want("an empty queue", 0)
	m.ok(submit(task(1, delayed(50_000))))
	want("one that is not due", 0)
	m.clock += 1000
	m.ok(submit(task(2, priority(1))))
	m.clock += 1000
	m.ok(submit(task(3, priority(9), typed("q.f"))))
	want("the first of two", startClock+1000)
	m.mustFlush() // the store knows it, too
	m.ok(assign(k(2), 1, place(1, 1)))
	want("the first is given out", startClock+2000)
	m.clock += 5000
	m.ok(release(k(2), 1, ReasonDrain))
	want("it came back", startClock+1000)
	m.ok(assign(k(2), 2, place(1, 1)), assign(k(3), 1, place(1, 1)))
	want("all are given out", 0)
	m.clock = startClock + 60_000
	m.ok(tick(10))
	want("one became due", startClock+50_000)
}
