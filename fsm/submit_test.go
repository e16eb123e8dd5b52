package fsm

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

func equalTasks(a, b *Task) bool { return proto.Equal(a, b) }

// TestSubmitTwice checks that a Submit may be applied twice.
func TestSubmitTwice(t *testing.T) {
	m := newCluster(t)
	cmd := submit(task(1, named("mine")), task(2), task(3, at(place(1, 1))))
	first := m.gives(Code_OK, cmd)
	want := []string{"mine", k(2).String(), k(3).String()}
	if !slices.Equal(first.Ids, want) || first.Status != Status_PENDING {
		t.Errorf("the outcome is %v, want ids %v", first, want)
	}
	m.ok(assign(k(1), 1, place(1, 1)), finish(k(1), 1, `1`))
	before := m.Counts()
	again := m.gives(Code_OK, cmd)
	if !slices.Equal(again.Ids, want) || again.Status != Status_SUCCESS {
		t.Errorf("the second outcome is %v, want ids %v and %v", again, want, Status_SUCCESS)
	}
	if after := m.Counts(); after != before {
		t.Errorf("counts became %+v, they were %+v", after, before)
	}
}

// TestSubmitAllOrNothing checks that a refused Submit leaves nothing behind.
func TestSubmitAllOrNothing(t *testing.T) {
	tests := []struct {
		name string
		cmd  *Command
		want Code
	}{
		{"name taken", submit(task(2), task(3, named("taken"))), Code_ID_TAKEN},
		{"name twice", submit(task(2, named("new")), task(3, named("new"))), Code_ID_TAKEN},
		{"no key", submit(task(2, named("new")), &New{Type: "p.f"}), Code_MISFIT},
		{"under a key", keyed("once", "h", 1000, task(2), task(3, named("taken"))), Code_ID_TAKEN},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newCluster(t)
			m.ok(submit(task(1, named("taken"))))
			before := m.Counts()
			m.gives(tt.want, tt.cmd)
			if after := m.Counts(); after != before {
				t.Errorf("counts became %+v, they were %+v", after, before)
			}
			m.ok(keyed("once", "another", 1000, task(4))) // the Idempotency-Key is free
			m.ok(submit(task(5, named("new"))))           // and so is the name
			if got, want := fmt.Sprint(m.pending()), fmt.Sprint([]Key{k(1), k(4), k(5)}); got != want {
				t.Errorf("the queue is %s, want %s", got, want)
			}
		})
	}
}

// TestNamedIDs checks ids of the caller's choice.
func TestNamedIDs(t *testing.T) {
	tests := []struct {
		name string
		task *New
		want Code
	}{
		{"the same request again", task(2, named("mine")), Code_OK},
		{"other arguments", task(2, named("mine"), args(`{}`)), Code_ID_TAKEN},
		{"another type", task(2, named("mine"), typed("p.g")), Code_ID_TAKEN},
		{"the id of a task without a name", task(2, named(k(3).String())), Code_ID_TAKEN},
		{"a new name", task(2, named("other")), Code_OK},
	}
	for _, flushed := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s/flushed=%v", tt.name, flushed), func(t *testing.T) {
				m := newCluster(t)
				m.ok(submit(task(1, named("mine"))), submit(task(3)))
				if flushed {
					m.mustFlush()
				}
				out := m.gives(tt.want, submit(tt.task))
				if !slices.Equal(out.Ids, []string{tt.task.Name}) {
					t.Errorf("the outcome's ids are %v, want %s", out.Ids, tt.task.Name)
				}
				if got := m.get("mine"); Key(got.Key) != k(1) {
					t.Errorf("the name leads to %s, want %s", Key(got.Key), k(1))
				}
			})
		}
	}
	m := newCluster(t)
	m.ok(submit(task(1, named("mine"))))
	if _, err := m.Task(k(1).String()); err != ErrNotFound {
		t.Errorf("a named task is found by its key: %v, want %v", err, ErrNotFound)
	}
	m.gives(Code_ID_TAKEN, submit(task(4), task(5, named("mine")))) // in a list it is taken, even if it is the same
}

// TestIdempotencyKey checks what a request under a used key gives.
func TestIdempotencyKey(t *testing.T) {
	const keep = 1000
	tests := []struct {
		name  string
		after int64 // ms
		hash  string
		want  Code
		id    Key // that is answered
		made  int // tasks in the end
	}{
		{"same", 10, "h", Code_OK, k(1), 1},
		{"same, at the last moment", keep - 1, "h", Code_OK, k(1), 1},
		{"other body", 10, "other", Code_KEY_REUSED, Key{}, 1},
		{"lapsed", keep, "h", Code_OK, k(2), 2},
		{"lapsed, other body", keep, "other", Code_OK, k(2), 2},
	}
	for _, flushed := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s/flushed=%v", tt.name, flushed), func(t *testing.T) {
				m := newCluster(t)
				m.ok(keyed("once", "h", keep, task(1)))
				if flushed {
					m.mustFlush()
				}
				m.clock += tt.after
				out := m.gives(tt.want, keyed("once", tt.hash, keep, task(2)))
				if tt.want == Code_OK && !slices.Equal(out.Ids, []string{tt.id.String()}) {
					t.Errorf("answered %v, want %s", out.Ids, tt.id)
				}
				if got := m.Counts().Live; got != tt.made {
					t.Errorf("%d tasks, want %d", got, tt.made)
				}
				m.gives(Code_OK, keyed("twice", "h", keep, task(3))) // another key is another request
			})
		}
	}
}

// TestIdempotencyKeyAnew checks that a key that is given out anew leaves the same
// records, whether the store was written in between or not.
func TestIdempotencyKeyAnew(t *testing.T) {
	var snaps [][]byte
	for _, flush := range []func(*machine){func(*machine) {}, (*machine).mustFlush} {
		m := newCluster(t)
		still(m.State)
		m.ok(keyed("once", "h", 1000, task(1)))
		flush(m)
		m.clock += 1000
		m.ok(keyed("once", "h", 1000, task(2)))
		snaps = append(snaps, snapshotBytes(t, m.State))
	}
	if !bytes.Equal(snaps[0], snaps[1]) {
		t.Errorf("the records differ:\n%s", diffSnapshots(t, t.TempDir(), snaps[0], snaps[1]))
	}
}

// TestDue checks when tasks are due, and that Tick makes them ready in the order
// of their times, behind what is ready already.
func TestDue(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(
		task(1, delayed(300)),
		task(2, eta(startClock+100)),
		task(3, delayed(100)),                          // due with 2, queued after it
		task(4, delayed(9000), eta(startClock+200)),    // eta wins
		task(5, eta(startClock)), task(6, delayed(-5)), // due already
		task(7, delayed(50), at(place(1, 1))), // a placement waits for the due time too
	))
	m.is(Status_SCHEDULED, 0, k(1), k(2), k(3), k(4), k(7))
	m.is(Status_PENDING, 0, k(5), k(6))
	if due, ok := m.NextDue(); !ok || due != startClock+50 {
		t.Errorf("NextDue = %d, %v; want %d", due, ok, startClock+50)
	}
	steps := []struct {
		now   int64
		limit uint32
		want  []Key
	}{
		{49, 10, []Key{k(5), k(6)}},
		{200, 0, []Key{k(5), k(6)}},
		{200, 2, []Key{k(5), k(6), k(7), k(2)}},
		{200, 10, []Key{k(5), k(6), k(7), k(2), k(3), k(4)}},
		{300, 10, []Key{k(5), k(6), k(7), k(2), k(3), k(4), k(1)}},
	}
	for _, step := range steps {
		m.clock = startClock + step.now
		m.ok(tick(step.limit))
		if got, want := fmt.Sprint(m.pending()), fmt.Sprint(step.want); got != want {
			t.Fatalf("at %d, after Tick(%d): the queue is %s, want %s", step.now, step.limit, got, want)
		}
	}
}

// TestClockNeverGoesBack checks that a leader whose clock is behind does not turn
// back the state's time.
func TestClockNeverGoesBack(t *testing.T) {
	m := newCluster(t)
	m.clock = startClock + 1000
	m.ok(submit(task(1)))
	m.clock = startClock
	m.ok(submit(task(2), task(3, delayed(100))))
	if got := m.get(k(2).String()).CreatedMs; got != startClock+1000 {
		t.Errorf("created at %d, want %d", got, startClock+1000)
	}
	if got := m.get(k(3).String()).DueMs; got != startClock+1100 {
		t.Errorf("due at %d, want %d", got, startClock+1100)
	}
}

// TestQueueOrder checks priorities and packs.
func TestQueueOrder(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, priority(2)), task(2, priority(9)), task(3, priority(2)), task(4, priority(200)), task(5, typed("q.f"))))
	if got, want := fmt.Sprint(m.pending()), fmt.Sprint([]Key{k(2), k(4), k(1), k(3)}); got != want {
		t.Errorf("pack p's queue is %s, want %s", got, want)
	}
	if got, want := m.PendingPacks(), map[string]int{"p": 4, "q": 1}; !maps.Equal(got, want) {
		t.Errorf("PendingPacks = %v, want %v", got, want)
	}
	if got := m.Counts().Tasks[Status_PENDING]; got != 5 {
		t.Errorf("%d are pending, want 5", got)
	}
	m.ok(cancel(k(5).String()))
	if got, want := m.PendingPacks(), map[string]int{"p": 4}; !maps.Equal(got, want) {
		t.Errorf("PendingPacks = %v, want %v", got, want)
	}
	var some []Key
	m.Pending("p", 2, 0, func(r Ready) bool { some = append(some, r.Key); return false })
	if want := []Key{k(1)}; !slices.Equal(some, want) {
		t.Errorf("Pending visited %v after it was told to stop, want %v", some, want)
	}
	order := m.get(k(1).String()).Order
	some = nil
	m.Pending("p", 2, order, func(r Ready) bool { some = append(some, r.Key); return true })
	if want := []Key{k(3)}; !slices.Equal(some, want) {
		t.Errorf("Pending behind the first visited %v, want %v", some, want)
	}
}

// TestSubmitLongNames checks that names too long for the store are refused when
// they come, not stumbled over when they are written.
func TestSubmitLongNames(t *testing.T) {
	long := strings.Repeat("x", 40<<10)
	withKey := submit(task(2))
	withKey.GetSubmit().IdempotencyKey = long
	for _, cmd := range []*Command{submit(task(1, named(long))), withKey} {
		m := newCluster(t)
		m.gives(Code_MISFIT, cmd)
		if err := m.flush(); err != nil {
			t.Error(err)
		}
	}
}
