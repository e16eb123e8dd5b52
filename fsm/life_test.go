package fsm

import (
	"fmt"
	"strings"
	"testing"
)

// newCluster is a machine with two nodes up, numbers 1 and 2, in their boot 1.
func newCluster(t testing.TB) *machine {
	t.Helper()
	m := newMachine(t)
	m.ok(up("id1", "alpha", 1), up("id2", "beta", 1))
	return m
}

// TestLifeOfATask follows a task from Submit through a retry to its result.
func TestLifeOfATask(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, attempts(2), tagged("x"))))
	m.is(Status_PENDING, 0, k(1))

	m.clock += 10
	m.ok(assign(k(1), 1, place(1, 1)))
	m.is(Status_STARTED, 1, k(1))

	m.clock += 100
	m.ok(fail(k(1), 1, retryIn(500)))
	m.is(Status_RETRY, 1, k(1))

	m.clock += 500
	m.ok(tick(10))
	m.is(Status_PENDING, 1, k(1))
	m.ok(assign(k(1), 2, place(2, 1)))
	m.is(Status_STARTED, 2, k(1))

	m.clock += 40
	m.ok(finish(k(1), 2, `3`))
	got := m.get(k(1).String())
	want := &Task{
		Type: "p.f", Args: []byte(`{"x":1}`), Status: Status_SUCCESS, Priority: DefaultPriority,
		Retry: &Retry{MaxAttempts: 2}, Tags: []string{"x"}, CreatedMs: startClock, DueMs: startClock + 610, Order: 2,
		Attempt: 2, Failures: 1, Place: place(2, 1),
		AssignedMs: startClock + 610, StartedMs: startClock + 649, FinishedMs: startClock + 650, Result: []byte(`3`),
		Past: []*Past{{Attempt: 1, Node: 1, StartMs: startClock + 10, EndMs: startClock + 110, Reason: ReasonError, Message: "no"}},
	}
	key := k(1)
	want.Key = key[:]
	if !equalTasks(got, want) {
		t.Errorf("the record is\n%v\nwant\n%v", got, want)
	}
	if got := m.Running(1) + m.Running(2); got != 0 {
		t.Errorf("%d tasks are running, want 0", got)
	}
}

// TestPlacedSubmit checks where a placement that travels with a Submit holds.
func TestPlacedSubmit(t *testing.T) {
	tests := []struct {
		name    string
		setup   []*Command
		place   *Place
		want    Status
		attempt uint32
	}{
		{"fits", nil, place(1, 1), Status_STARTED, 1},
		{"none", nil, nil, Status_PENDING, 0},
		{"unknown node", nil, place(7, 1), Status_PENDING, 0},
		{"another boot", nil, place(1, 2), Status_PENDING, 0},
		{"draining", []*Command{drain(place(1, 1), true)}, place(1, 1), Status_PENDING, 0},
		{"drained no more", []*Command{drain(place(1, 1), true), drain(place(1, 1), false)}, place(1, 1), Status_STARTED, 1},
		{"down", []*Command{down(place(1, 1), ReasonWorkerLost, false)}, place(1, 1), Status_PENDING, 0},
		{"gone", []*Command{down(place(1, 1), ReasonWorkerLost, true)}, place(1, 1), Status_PENDING, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newCluster(t)
			m.ok(tt.setup...)
			out := m.gives(Code_OK, submit(task(1, at(tt.place))))
			m.is(tt.want, tt.attempt, k(1))
			if out.Status != tt.want {
				t.Errorf("the outcome says %v, want %v", out.Status, tt.want)
			}
			running := 0
			if tt.want == Status_STARTED {
				running = 1
			}
			if got := m.Running(1); got != running {
				t.Errorf("Running(1) = %d, want %d", got, running)
			}
		})
	}
}

// TestAssignRefuses checks that an assignment that does not fit changes nothing.
func TestAssignRefuses(t *testing.T) {
	tests := []struct {
		name  string
		setup []*Command
		cmd   *Command
		want  Code
	}{
		{"unknown task", nil, assign(k(9), 1, place(1, 1)), Code_NOT_FOUND},
		{"no key", nil, &Command{Kind: &Command_Assign{&Assign{}}}, Code_NOT_FOUND},
		{"same attempt again", []*Command{assign(k(1), 1, place(1, 1))}, assign(k(1), 1, place(1, 1)), Code_MISFIT},
		{"running", []*Command{assign(k(1), 1, place(1, 1))}, assign(k(1), 2, place(2, 1)), Code_MISFIT},
		{"attempt skipped", nil, assign(k(1), 2, place(1, 1)), Code_MISFIT},
		{"no place", nil, assign(k(1), 1, nil), Code_MISFIT},
		{"old boot", []*Command{up("id1", "alpha", 2)}, assign(k(1), 1, place(1, 1)), Code_MISFIT},
		{"finished", []*Command{cancel(k(1).String())}, assign(k(1), 1, place(1, 1)), Code_MISFIT},
		{"not due", []*Command{submit(task(2, delayed(1)))}, assign(k(2), 1, place(1, 1)), Code_MISFIT},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newCluster(t)
			m.ok(submit(task(1)))
			m.ok(tt.setup...)
			before := m.get(k(1).String())
			m.gives(tt.want, tt.cmd)
			if after := m.get(k(1).String()); !equalTasks(before, after) {
				t.Errorf("the task became %v, it was %v", after, before)
			}
		})
	}
}

// TestAssignDue checks that a due task may be assigned before a Tick came by.
func TestAssignDue(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, delayed(100)), task(2, attempts(2), at(place(1, 1)))), fail(k(2), 1, retryIn(100)))
	m.clock += 100
	m.ok(assign(k(1), 1, place(1, 1)), assign(k(2), 2, place(2, 1)))
	m.is(Status_STARTED, 1, k(1))
	m.is(Status_STARTED, 2, k(2))
	if _, ok := m.NextDue(); ok {
		t.Error("something is still due")
	}
}

// TestFailures checks when a failed attempt is the last.
func TestFailures(t *testing.T) {
	tests := []struct {
		name   string
		max    uint32 // attempts; 0: no policy
		cmds   []*Command
		want   Status
		reason string
		fails  uint32
	}{
		{"no policy", 0, []*Command{fail(k(1), 1)}, Status_FAILURE, ReasonError, 1},
		{"one attempt", 1, []*Command{fail(k(1), 1)}, Status_FAILURE, ReasonError, 1},
		{"first of two", 2, []*Command{fail(k(1), 1)}, Status_RETRY, "", 1},
		{"exhausted", 2, []*Command{fail(k(1), 1), assign(k(1), 2, place(1, 1)), fail(k(1), 2)}, Status_FAILURE, ReasonError, 2},
		{"permanent", 5, []*Command{fail(k(1), 1, permanent)}, Status_FAILURE, ReasonError, 1},
		{"release is no failure", 1, []*Command{release(k(1), 1, ReasonDrain)}, Status_PENDING, "", 0},
		{"timeout", 1, []*Command{fail(k(1), 1, func(f *Finish) { f.Reason = ReasonTimeout })}, Status_FAILURE, ReasonTimeout, 1},
		{"retry in the past", 2, []*Command{fail(k(1), 1, retryIn(-5000))}, Status_RETRY, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newCluster(t)
			n := task(1, at(place(1, 1)))
			if tt.max > 0 {
				attempts(tt.max)(n)
			}
			m.ok(submit(n))
			m.ok(tt.cmds...)
			got := m.get(k(1).String())
			if got.Status != tt.want || got.Reason != tt.reason || got.Failures != tt.fails {
				t.Errorf("the task is %v (%q) after %d failures, want %v (%q) after %d",
					got.Status, got.Reason, got.Failures, tt.want, tt.reason, tt.fails)
			}
			if (got.Error != nil) != (tt.want == Status_FAILURE) {
				t.Errorf("its error is %v", got.Error)
			}
			if tt.want == Status_RETRY && got.DueMs < m.clock {
				t.Errorf("due at %d, before now, %d", got.DueMs, m.clock)
			}
		})
	}
}

// TestFence checks that only the current attempt of a running task is heard.
func TestFence(t *testing.T) {
	lost := down(place(1, 1), ReasonWorkerLost, false)
	tests := []struct {
		name   string
		setup  []*Command
		late   *Command
		status Status // that the refusal tells
	}{
		{"before it runs", nil, finish(k(2), 0, `1`), Status_PENDING},
		{"result twice", []*Command{finish(k(1), 1, `1`)}, finish(k(1), 1, `2`), Status_SUCCESS},
		{"failure after the result", []*Command{finish(k(1), 1, `1`)}, fail(k(1), 1), Status_SUCCESS},
		{"result after the failure", []*Command{fail(k(1), 1, permanent)}, finish(k(1), 1, `1`), Status_FAILURE},
		{"result after cancel", []*Command{cancel(k(1).String())}, finish(k(1), 1, `1`), Status_REVOKED},
		{"result while it waits to retry", []*Command{fail(k(1), 1)}, finish(k(1), 1, `1`), Status_RETRY},
		{"result of a lost attempt", []*Command{lost}, finish(k(1), 1, `1`), Status_PENDING},
		{"result of an earlier attempt", []*Command{lost, assign(k(1), 2, place(2, 1))}, finish(k(1), 1, `1`), Status_STARTED},
		{"result of a later attempt", nil, finish(k(1), 2, `1`), Status_STARTED},
		{"release twice", []*Command{release(k(1), 1, ReasonDrain)}, release(k(1), 1, ReasonDrain), Status_PENDING},
		{"release of an earlier attempt", []*Command{lost, assign(k(1), 2, place(2, 1))}, release(k(1), 1, ReasonDrain), Status_STARTED},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newCluster(t)
			m.ok(submit(task(1, attempts(3), at(place(1, 1)))), submit(task(2)))
			m.ok(tt.setup...)
			before := m.get(k(1).String())
			if out := m.gives(Code_STALE, tt.late); out.Status != tt.status {
				t.Errorf("refused with status %v, want %v", out.Status, tt.status)
			}
			if after := m.get(k(1).String()); !equalTasks(before, after) {
				t.Errorf("the task became %v, it was %v", after, before)
			}
		})
	}
	m := newCluster(t)
	m.gives(Code_NOT_FOUND, finish(k(9), 1, `1`))
	m.gives(Code_NOT_FOUND, release(k(9), 1, ReasonDrain))
}

// TestReleaseKeepsItsPlace checks that an attempt that is handed back goes before
// what was queued after it, and what history it leaves.
func TestReleaseKeepsItsPlace(t *testing.T) {
	for reason, past := range map[string]int{ReasonDrain: 1, ReasonNotStarted: 0} {
		t.Run(reason, func(t *testing.T) {
			m := newCluster(t)
			m.ok(submit(task(3, at(place(1, 1)))), submit(task(1), task(2)))
			m.ok(release(k(3), 1, reason))
			m.is(Status_PENDING, 1, k(3))
			if got, want := fmt.Sprint(m.pending()), fmt.Sprint([]Key{k(3), k(1), k(2)}); got != want {
				t.Errorf("the queue is %s, want %s", got, want)
			}
			got := m.get(k(3).String())
			if len(got.Past) != past || got.Lost != 0 || got.Failures != 0 {
				t.Errorf("%d attempts in the past, %d lost, %d failures; want %d, 0, 0", len(got.Past), got.Lost, got.Failures, past)
			}
			m.ok(assign(k(3), 2, place(1, 1)))
		})
	}
}

// TestWorkerLost checks that a task which takes its node down is given up in the
// end.
func TestWorkerLost(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, attempts(10))))
	for boot := uint64(1); boot <= maxLost; boot++ {
		m.ok(up("id1", "alpha", boot), assign(k(1), uint32(boot), place(1, boot)))
		m.clock += 1000
		m.ok(down(place(1, boot), ReasonWorkerLost, false))
	}
	got := m.get(k(1).String())
	if got.Status != Status_FAILURE || got.Reason != ReasonWorkerLost || got.Error.GetType() != "WorkerLost" {
		t.Fatalf("the task is %v, want it to have failed with %s", got, ReasonWorkerLost)
	}
	if got.Lost != maxLost || got.Failures != 0 || got.Attempt != maxLost || got.FinishedMs != m.clock {
		t.Errorf("%d lost, %d failures, attempt %d, finished at %d", got.Lost, got.Failures, got.Attempt, got.FinishedMs)
	}
	if len(got.Past) != maxLost-1 {
		t.Errorf("%d attempts in the past, want %d: the last one is in the record itself", len(got.Past), maxLost-1)
	}
	if !strings.Contains(got.Error.Message, fmt.Sprint(maxLost)) {
		t.Errorf("the message %q does not say how often", got.Error.Message)
	}
}

// TestCancel cancels a task wherever it stands.
func TestCancel(t *testing.T) {
	tests := []struct {
		name  string
		setup []*Command
		code  Code
		want  Status
	}{
		{"scheduled", []*Command{submit(task(1, delayed(100)))}, Code_OK, Status_REVOKED},
		{"pending", []*Command{submit(task(1))}, Code_OK, Status_REVOKED},
		{"started", []*Command{submit(task(1, at(place(1, 1))))}, Code_OK, Status_REVOKED},
		{"retry", []*Command{submit(task(1, attempts(2), at(place(1, 1)))), fail(k(1), 1)}, Code_OK, Status_REVOKED},
		{"success", []*Command{submit(task(1, at(place(1, 1)))), finish(k(1), 1, `1`)}, Code_FINISHED, Status_SUCCESS},
		{"failure", []*Command{submit(task(1, at(place(1, 1)))), fail(k(1), 1)}, Code_FINISHED, Status_FAILURE},
		{"revoked", []*Command{submit(task(1)), cancel(k(1).String())}, Code_FINISHED, Status_REVOKED},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newCluster(t)
			m.ok(tt.setup...)
			if out := m.gives(tt.code, cancel(k(1).String())); out.Status != tt.want {
				t.Errorf("the outcome says %v, want %v", out.Status, tt.want)
			}
			got := m.get(k(1).String())
			if got.Status != tt.want || tt.code == Code_OK && (got.Reason != ReasonCancelled || got.FinishedMs != m.clock) {
				t.Errorf("the task is %v, want %v", got, tt.want)
			}
			if c := m.Counts(); c.Live != 0 || c.LiveBytes != 0 || c.Finished != 1 || c.Tasks[tt.want] != 1 {
				t.Errorf("counts are %+v, want one %v", c, tt.want)
			}
		})
	}
	m := newCluster(t)
	m.gives(Code_NOT_FOUND, cancel(k(9).String()))
	m.gives(Code_NOT_FOUND, cancel("nobody"))
	m.ok(submit(task(1, named("mine"))), cancel("mine"))
	m.is(Status_REVOKED, 0, k(1))
}

// TestPastIsBounded checks that the history of a task that goes on for ever does
// not grow for ever, and that long messages are cut between characters.
func TestPastIsBounded(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, attempts(100))))
	for i := uint32(1); i <= maxPast+5; i++ {
		m.ok(assign(k(1), i, place(1, 1)), fail(k(1), i, func(f *Finish) { f.Error.Message = strings.Repeat("ä", 300) + "!" }))
	}
	past := m.get(k(1).String()).Past
	if len(past) != maxPast || past[0].Attempt != 6 || past[maxPast-1].Attempt != maxPast+5 {
		t.Fatalf("the past has %d attempts, from %d on", len(past), past[0].Attempt)
	}
	if got, want := past[0].Message, strings.Repeat("ä", 250)+"..."; got != want {
		t.Errorf("the message is %q", got)
	}
}

// TestChanges checks what an observer is told.
func TestChanges(t *testing.T) {
	m := newCluster(t)
	m.changes = nil
	m.do(submit(task(1, at(place(1, 1)))), finish(k(1), 1, `1`), finish(k(1), 1, `2`), drain(place(2, 1), true))
	if len(m.changes) != 1 {
		t.Fatalf("told %d times of one entry", len(m.changes))
	}
	c := m.changes[0]
	if c.Index != m.index || !c.Nodes || c.Reset || len(c.Tasks) != 2 {
		t.Fatalf("told %+v, want two steps of a task and one of a node at index %d", c, m.index)
	}
	if first, second := c.Tasks[0], c.Tasks[1]; first.Old != nil || first.New.Status != Status_STARTED ||
		second.Old != first.New || second.New.Status != Status_SUCCESS {
		t.Errorf("told %+v", c.Tasks)
	}
}

// TestCancelByID checks that a task is cancelled by the id that callers know it by, and
// by nothing else: not by its key where they chose an id, not by another spelling.
func TestCancelByID(t *testing.T) {
	m := newMachine(t)
	lettered := Key{0: 0xab, 15: 1}
	m.ok(submit(task(1, named("mine")), task(2), &New{Key: lettered[:], Type: "p.f"}))
	m.gives(Code_NOT_FOUND, cancel(k(1).String()))
	m.gives(Code_NOT_FOUND, cancel(strings.ToUpper(lettered.String())))
	m.is(Status_PENDING, 0, k(1), k(2), lettered)
	m.ok(cancel("mine"), cancel(k(2).String()), cancel(lettered.String()))
	m.is(Status_REVOKED, 0, k(1), k(2), lettered)
}
