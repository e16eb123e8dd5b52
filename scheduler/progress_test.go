package scheduler

import (
	"math"
	"strings"
	"testing"

	"pytasks/fsm"
)

// TestProgress: the leader knows of each running attempt what its node said last.
func TestProgress(t *testing.T) {
	d, term := lead(t, Config{}, 2, 2)
	tasks := []*fsm.New{d.task("p.f", placed(1)), d.task("p.f", placed(1))}
	keys := d.queue(tasks...)
	told := func(k fsm.Key, attempt uint32, f float64, text string) *fsm.TaskProgress {
		return &fsm.TaskProgress{Key: k[:], Attempt: attempt, Fraction: f, Text: text}
	}
	beat := func(node uint32, progress ...*fsm.TaskProgress) {
		t.Helper()
		if err := d.Heartbeat(&fsm.Heartbeat{Place: &fsm.Place{Node: node, Boot: 1}, Progress: progress}); err != nil {
			t.Fatal(err)
		}
	}
	is := func(k fsm.Key, attempt uint32, want string) {
		t.Helper()
		got := "none"
		if p := d.Progress(k, attempt); p != nil {
			got = p.Text
		}
		if got != want {
			t.Errorf("attempt %d of task %d is at %q, want %q", attempt, k[15], got, want)
		}
	}
	is(keys[0], 1, "none")
	beat(1, told(keys[0], 1, 0.25, "a quarter"), told(keys[1], 1, 0.5, "half"), &fsm.TaskProgress{Key: []byte("bad")})
	beat(2, told(keys[0], 1, 1, "not mine"))
	is(keys[0], 1, "a quarter")
	is(keys[1], 1, "half")
	is(keys[0], 2, "none")
	beat(1, told(keys[0], 1, 0.75, "three quarters"))
	is(keys[0], 1, "three quarters")
	is(keys[1], 1, "none") // the last heartbeat lacks it

	d.apply(&fsm.Command{Kind: &fsm.Command_Release{Release: &fsm.Release{Key: keys[0][:], Attempt: 1, Reason: fsm.ReasonDrain}}})
	d.apply(assign(keys[0], 2, 1))
	is(keys[0], 1, "none")
	is(keys[0], 2, "none") // what was told was of the attempt before
	beat(1, told(keys[1], 1, 0.9, "nearly"))
	d.apply(&fsm.Command{Kind: &fsm.Command_NodeDown{NodeDown: &fsm.NodeDown{Place: &fsm.Place{Node: 1, Boot: 1}}}})
	is(keys[1], 1, "none")
	if _, kept := term.progress.byNode[1]; kept {
		t.Error("the progress of a node that is down is kept")
	}
	beat(2)
	if len(term.progress.byNode) != 0 {
		t.Errorf("progress is kept of nodes %v that told of none", term.progress.byNode)
	}
	d.Scheduler.term.Store(nil)
	is(keys[0], 1, "none")
}

// TestProgressBounds: what a node says is brought within bounds.
func TestProgressBounds(t *testing.T) {
	p := newProgress()
	k := fsm.Key{15: 1}
	long := strings.Repeat("ä", maxProgressText)
	for _, tt := range []struct{ told, want float64 }{{-1, 0}, {0.5, 0.5}, {7, 1}, {math.NaN(), 0}, {math.Inf(1), 1}} {
		p.heard(1, []*fsm.TaskProgress{{Key: k[:], Attempt: 1, Fraction: tt.told, Text: "x" + long}})
		got := p.of(1, k, 1)
		if got.Fraction != tt.want || got.Text != ("x" + long)[:maxProgressText-1] {
			t.Errorf("%v is kept as %v with %d bytes of text, want %v with %d, whole letters", tt.told, got.Fraction, len(got.Text), tt.want, maxProgressText-1)
		}
	}
}
