package scheduler

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"pytasks/fsm"
)

// lead returns a desk whose leader's loop does not run: the test makes each entry.
func lead(t *testing.T, cfg Config, slots ...uint32) (*desk, *term) {
	t.Helper()
	d := newDesk(t, cfg, slots...)
	t.Cleanup(d.close)
	return d, d.term()
}

// request is one call's commands.
func asked(cmds ...*fsm.Command) *request {
	return &request{cmds: cmds, outs: make([]*fsm.Outcome, len(cmds)), done: make(chan struct{})}
}

// commit makes an entry of requests and brings it into the log.
func (t *term) commit(rs ...*request) *entry {
	e := t.build(rs)
	t.propose(context.Background(), e)
	return e
}

// places returns to which node each task of an entry goes, by task.
func (e *entry) places() map[byte]uint32 {
	places := map[byte]uint32{}
	for _, p := range e.placed {
		places[p.task.Key[15]] = p.at.Node
	}
	return places
}

// TestBuildPlacesAtOnce: where a slot is free, a task is queued and given to a node in
// one entry, and the node is told.
func TestBuildPlacesAtOnce(t *testing.T) {
	d, term := lead(t, Config{}, 1, 1)
	tasks := []*fsm.New{d.task("p.f"), d.task("p.f"), d.task("p.f")}
	r := asked(submit(tasks[0]), submit(tasks[1], tasks[2]))
	e := term.commit(r)
	if len(e.cmds) != 2 || len(e.placed) != 2 || r.err != nil || len(r.outs[1].Ids) != 2 {
		t.Fatalf("got %d commands, %d placed, %v %v", len(e.cmds), len(e.placed), r.outs, r.err)
	}
	d.is(fsm.Status_STARTED, keysOf(tasks[:2]...)...)
	d.is(fsm.Status_PENDING, keysOf(tasks[2])...)
	if d.record(fsm.Key(tasks[0].Key)).Place.Node == d.record(fsm.Key(tasks[1].Key)).Place.Node {
		t.Error("both went to one node of one slot")
	}
	for _, id := range []string{"id1", "id2"} {
		n := d.cluster.nudges[id]
		if len(n) != 1 || len(n[0].Tasks) != 1 || n[0].Index != d.state.Applied() {
			t.Errorf("%s was told %v, want its task at index %d", id, n, d.state.Applied())
			continue
		}
		told := n[0].Tasks[0]
		if got := d.record(fsm.Key(told.Key)); told.Attempt != 1 || told.Type != "p.f" || string(told.Args) != "{}" || told.Place.Boot != 1 || told.Place.Node != got.Place.Node {
			t.Errorf("%s was told %v of the task %v", id, told, got)
		}
	}
}

// TestBuildFirstInFirstOut: a new task stands behind those that wait for the same pack,
// and only those.
func TestBuildFirstInFirstOut(t *testing.T) {
	d, term := lead(t, Config{}, 1)
	waiting := d.queue(d.task("p.f"))
	late, other := d.task("p.g"), d.task("q.f")
	e := term.build([]*request{asked(submit(late))})
	if got := e.places(); len(got) != 1 || got[waiting[0][15]] != 1 {
		t.Errorf("placed %v, want the one that waited", got)
	}
	term.flight.settle(e)
	d.apply(assign(waiting[0], 1, 1))
	d.apply(finish(waiting[0], 1, time.Second))
	e = term.build([]*request{asked(submit(other))})
	if got := e.places(); len(got) != 1 || got[other.Key[15]] != 1 {
		t.Errorf("placed %v, want the one of the other pack", got)
	}
}

// TestBuildKeepsCallersOut: a place that a caller's command brings with it, perhaps from
// a first try under another leader, is not taken over.
func TestBuildKeepsCallersOut(t *testing.T) {
	d, term := lead(t, Config{}, 1)
	task := d.task("p.f", placed(99))
	late := d.task("p.f", placed(99), delayed(time.Hour))
	term.build([]*request{asked(submit(task), submit(late))})
	if task.Place.GetNode() != 1 || late.Place != nil {
		t.Errorf("the places are %v and %v, want node 1 and none", task.Place, late.Place)
	}
}

// TestBuildAssignsPending: by priority, then in the order of the queue, as many as there
// are slots, with the next attempt's number.
func TestBuildAssignsPending(t *testing.T) {
	d, term := lead(t, Config{}, 2, 1)
	keys := d.queue(d.task("p.f", prio(1)), d.task("p.f"), d.task("q.f", prio(9)), d.task("p.f"), d.task("p.f"))
	e := term.commit()
	var order []byte
	for _, c := range e.cmds {
		order = append(order, c.GetAssign().Key[15])
	}
	if want := []byte{3, 2, 4}; !slices.Equal(order, want) {
		t.Errorf("assigned %v, want %v", order, want)
	}
	d.is(fsm.Status_STARTED, keys[1], keys[2], keys[3])
	d.is(fsm.Status_PENDING, keys[0], keys[4])

	d.apply(finish(keys[1], 1, time.Second))
	d.apply(&fsm.Command{Kind: &fsm.Command_Release{Release: &fsm.Release{Key: keys[2][:], Attempt: 1, Reason: fsm.ReasonNotStarted}}})
	term.commit()
	if got := d.record(keys[2]); got.Status != fsm.Status_STARTED || got.Attempt != 2 {
		t.Errorf("the one handed back is %v in attempt %d, want STARTED in attempt 2", got.Status, got.Attempt)
	}
	d.is(fsm.Status_STARTED, keys[4])
	d.is(fsm.Status_PENDING, keys[0])
}

// TestBuildOldestNowAndThen: every 16th assignment goes to the oldest task, whatever its
// priority.
func TestBuildOldestNowAndThen(t *testing.T) {
	d, term := lead(t, Config{}, 40)
	low := d.queue(d.task("p.f", prio(0)), d.task("p.f", prio(0)), d.task("p.f", prio(0)))
	for range 60 {
		d.queue(d.task("p.f", prio(9)))
	}
	e := term.build(nil)
	var at []int
	for i, c := range e.cmds {
		if slices.Contains(low, fsm.Key(c.GetAssign().Key)) {
			at = append(at, i+1)
		}
	}
	if want := []int{16, 32}; len(e.cmds) != 40 || !slices.Equal(at, want) {
		t.Errorf("of %d assignments those numbered %v went to low priorities, want of 40 the numbers %v", len(e.cmds), at, want)
	}
}

// TestBuildEligibility: tasks wait for a node that has their pack, is alive and takes
// work; those behind them for other packs do not.
func TestBuildEligibility(t *testing.T) {
	d, term := lead(t, Config{}, 4, 4)
	lost := d.queue(d.task("r.f"))
	d.apply(&fsm.Command{Kind: &fsm.Command_NodeDrain{NodeDrain: &fsm.NodeDrain{Place: &fsm.Place{Node: 2, Boot: 1}, Draining: true}}})
	keys := d.queue(d.task("p.f"), d.task("p.f"), d.task("p.f"))
	term.commit()
	d.is(fsm.Status_PENDING, lost[0])
	for _, k := range keys {
		if got := d.record(k).Place.GetNode(); got != 1 {
			t.Errorf("task %d went to node %d, want 1: the other one drains", k[15], got)
		}
	}
}

// TestBuildRetriesElsewhere: a task avoids the node where it failed.
func TestBuildRetriesElsewhere(t *testing.T) {
	d, term := lead(t, Config{}, 8, 8)
	keys := d.queue(d.task("p.f", retries(&fsm.Retry{MaxAttempts: 3}), placed(2)))
	d.apply(submit(d.task("p.f", placed(1)), d.task("p.f", placed(1)))) // node 1 has more to do
	d.apply(fail(keys[0], 1))
	term.commit() // makes it ready
	term.commit()
	if got := d.record(keys[0]); got.Status != fsm.Status_STARTED || got.Place.Node != 1 || got.Attempt != 2 {
		t.Errorf("it is %v in attempt %d on node %d, want STARTED in attempt 2 on node 1", got.Status, got.Attempt, got.Place.Node)
	}
}

// TestBuildCountsWhatIsOnItsWay: entries that have not landed take their tasks and slots;
// when they fail both are free again.
func TestBuildCountsWhatIsOnItsWay(t *testing.T) {
	d, term := lead(t, Config{}, 2)
	keys := d.queue(d.task("p.f"), d.task("p.f"), d.task("p.f"))
	placed := d.task("q.f")
	first := term.build(nil)
	second := term.build([]*request{asked(submit(placed))})
	if len(first.cmds) != 2 || len(second.placed) != 0 {
		t.Fatalf("%d were assigned, then %v, want 2 and none", len(first.cmds), second.places())
	}
	d.apply(nodeUp(2, 8))
	d.beat(2)
	third := term.build(nil)
	if got := third.places(); len(got) != 1 || got[keys[2][15]] != 2 {
		t.Fatalf("with more slots %v were assigned, want the third task alone to node 2", got)
	}
	d.apply(&fsm.Command{Kind: &fsm.Command_NodeDown{NodeDown: &fsm.NodeDown{Place: &fsm.Place{Node: 2, Boot: 1}}}})
	for _, e := range []*entry{third, second, first} { // as if they failed
		term.flight.settle(e)
	}
	again := term.build(nil)
	if got := again.places(); len(got) != 2 || got[keys[0][15]] == 0 || got[keys[1][15]] == 0 {
		t.Errorf("then %v were assigned, want the first two again", got)
	}
}

// TestBuildAhead: short tasks wait at a node ahead of its slots, long ones do not, and
// what is bound for a node counts in both cases.
func TestBuildAhead(t *testing.T) {
	d, term := lead(t, Config{}, 1)
	term.pace.ran("p.short", time.Millisecond)
	var short []*fsm.New
	for range 60 {
		short = append(short, d.task("p.short"))
	}
	e := term.build([]*request{asked(submit(short...), submit(d.task("p.long")))})
	if got := len(e.placed); got != 51 {
		t.Errorf("%d tasks of 1 ms were given to one slot, want 51: one and 50 ms ahead", got)
	}
	term.flight.settle(e)
	e = term.build([]*request{asked(submit(d.task("p.long"), d.task("p.short")))})
	if len(e.placed) != 1 || e.placed[0].task.Type != "p.long" {
		t.Errorf("%v were given to one slot, want the long task alone", e.places())
	}
	term.flight.settle(e)
	d.queue(d.task("p.long", placed(1)))
	if e := term.build([]*request{asked(submit(d.task("p.short")))}); len(e.placed) != 0 {
		t.Errorf("%v went behind a long task, want none", e.places())
	}
}

// TestBuildNothingAheadOfStuckSlots: a node that handed attempts back, because its slots
// are held for longer than their type says, is given nothing ahead until one ends;
// otherwise the same tasks would come and go as fast as the log can write.
func TestBuildNothingAheadOfStuckSlots(t *testing.T) {
	d, term := lead(t, Config{}, 1)
	term.pace.ran("p.short", time.Millisecond)
	var tasks []*fsm.New
	for range 10 {
		tasks = append(tasks, d.task("p.short"))
	}
	term.commit(asked(submit(tasks...)))
	keys := keysOf(tasks...)
	d.is(fsm.Status_STARTED, keys...)
	for _, k := range keys[1:] {
		d.apply(&fsm.Command{Kind: &fsm.Command_Release{Release: &fsm.Release{Key: k[:], Attempt: 1, Reason: fsm.ReasonNotStarted}}})
	}
	if e := term.commit(); len(e.placed) != 0 {
		t.Errorf("%v were given again to the node that had no slot for them, want none", e.places())
	}
	d.apply(finish(keys[0], 1, time.Second))
	term.commit()
	d.is(fsm.Status_STARTED, keys[1:]...)
}

// TestBuildNeedsASignOfLife: a new leader gives no work to nodes that it has not heard of.
func TestBuildNeedsASignOfLife(t *testing.T) {
	d, _ := lead(t, Config{}, 1)
	term := newTerm(d.Scheduler, 2)
	keys := d.queue(d.task("p.f"))
	if e := term.build(nil); len(e.placed) != 0 {
		t.Errorf("%v were given to a node that may be dead", e.places())
	}
	d.Scheduler.term.Store(term)
	d.beat(1)
	term.commit()
	d.is(fsm.Status_STARTED, keys...)
}

// TestBuildQueueFullInFlight: tasks on their way to the queue take their room in it.
func TestBuildQueueFullInFlight(t *testing.T) {
	d, term := lead(t, Config{MaxQueued: 3}, 1)
	first := term.build([]*request{asked(submit(d.task("p.f"), d.task("p.f")))})
	r := asked(submit(d.task("p.f"), d.task("p.f")))
	term.commit(r)
	if got := r.outs[0].Code; got != fsm.Code_QUEUE_FULL {
		t.Errorf("got %v, want QUEUE_FULL: two of three are on their way", got)
	}
	term.flight.settle(first) // it failed
	r = asked(submit(d.task("p.f"), d.task("p.f")))
	term.commit(r)
	if got := r.outs[0].Code; got != fsm.Code_OK {
		t.Errorf("got %v, want OK", got)
	}
}

func TestBuildQueueFull(t *testing.T) {
	d, term := lead(t, Config{MaxQueued: 5, MaxQueuedBytes: 1000}, 1)
	two := func() *fsm.Command { return submit(d.task("p.f"), d.task("p.f")) }
	large := submit(d.task("p.f", argsOf(`{"x":"`+strings.Repeat("x", 1000)+`"}`)))
	r := asked(two(), two(), two(), submit(d.task("p.f")), large)
	e := term.commit(r)
	for i, want := range []fsm.Code{fsm.Code_OK, fsm.Code_OK, fsm.Code_QUEUE_FULL, fsm.Code_OK, fsm.Code_QUEUE_FULL} {
		if got := r.outs[i].Code; got != want {
			t.Errorf("command %d of 2, 2, 2, 1 tasks and a large one: got %v, want %v", i+1, got, want)
		}
	}
	if got := len(e.cmds); got != 3 {
		t.Errorf("the entry has %d commands, want the 3 accepted", got)
	}
	// Outcomes pass although the queue is full, and make room.
	done := asked(finish(fsm.Key(e.cmds[0].GetSubmit().Tasks[0].Key), 1, time.Second))
	term.commit(done)
	if got := done.outs[0].Code; got != fsm.Code_OK {
		t.Errorf("an outcome: got %v, want OK", got)
	}
	again := asked(submit(d.task("p.f")))
	term.commit(again)
	if got := again.outs[0].Code; got != fsm.Code_OK {
		t.Errorf("after one has finished: got %v, want OK", got)
	}
}

// TestBuildFullEntries: an entry takes so many assignments, and the next one the rest.
func TestBuildFullEntries(t *testing.T) {
	d, term := lead(t, Config{}, 2000)
	var tasks []*fsm.New
	for i := range 700 {
		n := d.task("p.f")
		n.Key[12], n.Key[13] = 1, byte(i/256)
		tasks = append(tasks, n)
	}
	d.apply(submit(tasks...))
	if got := len(term.commit().cmds); got != maxEntryCommands {
		t.Errorf("the first entry has %d commands, want %d", got, maxEntryCommands)
	}
	if got := len(term.commit().cmds); got != 700-maxEntryCommands {
		t.Errorf("the second entry has %d commands, want %d", got, 700-maxEntryCommands)
	}
}

func assign(k fsm.Key, attempt, node uint32) *fsm.Command {
	return &fsm.Command{Kind: &fsm.Command_Assign{Assign: &fsm.Assign{Key: k[:], Attempt: attempt, Place: &fsm.Place{Node: node, Boot: 1}}}}
}
