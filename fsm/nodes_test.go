package fsm

import (
	"slices"
	"testing"
)

// TestNodeUp checks what a registration makes of a node that has been there
// before, as id1 named alpha, number 1, in boot 5, running task 1.
func TestNodeUp(t *testing.T) {
	isDown, isGone := down(place(1, 5), ReasonDrain, false), down(place(1, 5), ReasonDrain, true)
	tests := []struct {
		name   string
		setup  []*Command
		cmd    *Command
		code   Code
		number uint32
		boot   uint64 // of node 1 afterwards
		lost   uint32 // of task 1 afterwards
		names  []string
	}{
		{"new node", nil, up("id2", "beta", 1), Code_OK, 2, 5, 0, []string{"alpha", "beta"}},
		{"same boot again", nil, up("id1", "alpha", 5), Code_OK, 1, 5, 0, []string{"alpha"}},
		{"newer boot", nil, up("id1", "alpha", 6), Code_OK, 1, 6, 1, []string{"alpha"}},
		{"older boot", nil, up("id1", "alpha", 4), Code_MISFIT, 0, 5, 0, []string{"alpha"}},
		{"renamed", nil, up("id1", "omega", 5), Code_OK, 1, 5, 0, []string{"omega"}},
		{"name of a node that is up", nil, up("id2", "alpha", 9), Code_NAME_TAKEN, 0, 5, 0, []string{"alpha"}},
		{"name of a node that is down", []*Command{isDown}, up("id2", "alpha", 9), Code_OK, 2, 5, 0, []string{"alpha"}},
		{"name of a node that is gone", []*Command{isGone}, up("id2", "alpha", 9), Code_OK, 2, 5, 0, []string{"alpha"}},
		{"back from down", []*Command{isDown}, up("id1", "alpha", 6), Code_OK, 1, 6, 0, []string{"alpha"}},
		{"back from gone", []*Command{isGone}, up("id1", "alpha", 6), Code_OK, 1, 6, 0, []string{"alpha"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			m.ok(up("id1", "alpha", 5), submit(task(1, at(place(1, 5)))))
			m.ok(tt.setup...)
			m.clock += 1000
			if out := m.gives(tt.code, tt.cmd); out.Node != tt.number {
				t.Errorf("number %d, want %d", out.Node, tt.number)
			}
			if got := m.Node(1).Boot; got != tt.boot {
				t.Errorf("node 1 is in boot %d, want %d", got, tt.boot)
			}
			var names []string
			for _, n := range m.Nodes() {
				names = append(names, n.Name)
			}
			if !slices.Equal(names, tt.names) {
				t.Errorf("the nodes are %v, want %v", names, tt.names)
			}
			if got := m.get(k(1).String()); got.Lost != tt.lost {
				t.Errorf("task 1 was lost %d times, want %d", got.Lost, tt.lost)
			}
			if tt.code == Code_OK {
				if n := m.Node(tt.number); n.Down || n.Gone {
					t.Errorf("the node that came up is %v", n)
				}
			}
		})
	}
}

// TestNodeUpRecord checks the record of a node, and what a restart keeps of it.
func TestNodeUpRecord(t *testing.T) {
	m := newMachine(t)
	cmd := &NodeUp{Id: "id1", Name: "alpha", Boot: 1, Slots: 8, Packs: []byte(`[]`), Http: "http://a", Version: "1.0"}
	m.ok(&Command{Kind: &Command_NodeUp{cmd}}, drain(place(1, 1), true))
	first := m.Node(1)
	want := &Node{Number: 1, Id: "id1", Name: "alpha", Boot: 1, Slots: 8, Packs: []byte(`[]`), Http: "http://a", Version: "1.0", Draining: true, UpMs: startClock}
	if first.String() != want.String() {
		t.Errorf("the record is %v, want %v", first, want)
	}
	m.clock += 1000
	m.ok(&Command{Kind: &Command_NodeUp{cmd}})
	if n := m.Node(1); !n.Draining || n.UpMs != startClock {
		t.Errorf("the same start, registered again, is %v", n)
	}
	m.ok(up("id1", "alpha", 2))
	if n := m.Node(1); n.Draining || n.UpMs != m.clock || n.Slots != 4 {
		t.Errorf("the next start is %v", n)
	}
	if first.Boot != 1 || !first.Draining {
		t.Errorf("the record handed out before became %v", first)
	}
	if m.Node(2) != nil {
		t.Error("there is a second node")
	}
}

// TestNodeDown checks that only the start that is named goes down, and what
// becomes of its tasks.
func TestNodeDown(t *testing.T) {
	setup := func(t *testing.T) *machine {
		m := newCluster(t)
		m.ok(submit(task(1, at(place(1, 1))), task(2, at(place(2, 1))), task(3, at(place(1, 1)))))
		return m
	}
	t.Run("lost", func(t *testing.T) {
		m := setup(t)
		m.ok(down(place(1, 1), ReasonWorkerLost, false))
		m.is(Status_PENDING, 1, k(1), k(3))
		m.is(Status_STARTED, 1, k(2))
		if got := m.get(k(1).String()); got.Lost != 1 || len(got.Past) != 1 || got.Past[0].Reason != ReasonWorkerLost {
			t.Errorf("the lost task is %v", got)
		}
		if n := m.Node(1); !n.Down || n.Gone || m.Running(1) != 0 {
			t.Errorf("the node is %v and runs %d", n, m.Running(1))
		}
		m.ok(down(place(1, 1), ReasonWorkerLost, false)) // twice is once
		if got := m.get(k(1).String()).Lost; got != 1 {
			t.Errorf("lost %d times after the same NodeDown came twice, want 1", got)
		}
	})
	t.Run("left", func(t *testing.T) {
		m := setup(t)
		m.ok(down(place(1, 1), ReasonDrain, true))
		if got := m.get(k(1).String()); got.Status != Status_PENDING || got.Lost != 0 {
			t.Errorf("the task of a node that left is %v", got)
		}
		if n := m.Node(1); !n.Down || !n.Gone {
			t.Errorf("the node is %v, want it gone", n)
		}
		m.ok(down(place(1, 1), ReasonDrain, false))
		if n := m.Node(1); !n.Gone {
			t.Errorf("a later NodeDown brought the node back: %v", n)
		}
	})
	t.Run("refused", func(t *testing.T) {
		m := setup(t)
		m.ok(up("id1", "alpha", 2))
		m.gives(Code_STALE, down(place(1, 1), ReasonWorkerLost, false))
		m.gives(Code_STALE, drain(place(1, 1), true))
		m.gives(Code_NOT_FOUND, down(place(7, 1), ReasonWorkerLost, false))
		m.gives(Code_NOT_FOUND, drain(place(7, 1), true))
		m.gives(Code_NOT_FOUND, down(nil, ReasonWorkerLost, false))
		if n := m.Node(1); n.Down || n.Draining {
			t.Errorf("the new start is %v", n)
		}
	})
}

// TestNodeDrain checks that a draining node keeps what it runs and gets nothing
// new.
func TestNodeDrain(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, at(place(1, 1))), task(2)), drain(place(1, 1), true))
	m.is(Status_STARTED, 1, k(1))
	m.gives(Code_MISFIT, assign(k(2), 1, place(1, 1)))
	m.ok(finish(k(1), 1, `1`))
	m.ok(drain(place(1, 1), false), assign(k(2), 1, place(1, 1)))
}

// TestNodeDrainUntilResumed checks that such a drain outlives the node's starts, that it needs no node that is up, and that
// the last node which takes tasks is only drained by force.
func TestNodeDrainUntilResumed(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, at(place(1, 1))), task(2)), drainLasting(1, func(d *NodeDrain) { d.TimeoutMs = 5000 }))
	since := m.clock
	m.is(Status_STARTED, 1, k(1))
	m.gives(Code_MISFIT, assign(k(2), 1, place(1, 1)))
	m.ok(drain(place(1, 1), false)) // of the start: that is another matter
	m.gives(Code_MISFIT, assign(k(2), 1, place(1, 1)))
	m.clock += 1000
	m.ok(down(place(1, 1), ReasonDrain, false), up("id1", "alpha", 2))
	m.gives(Code_MISFIT, assign(k(2), 1, place(1, 2)))
	if n := m.Node(1); n.Draining || n.Drain.GetSinceMs() != since || n.Drain.TimeoutMs != 5000 {
		t.Errorf("after a restart: %v", n)
	}
	m.ok(drainLasting(1))
	if n := m.Node(1); n.Drain.GetSinceMs() != since || n.Drain.TimeoutMs != 0 {
		t.Errorf("told again: %v", n)
	}

	m.gives(Code_LAST_NODE, drainLasting(2))
	m.ok(resume(2))
	if n := m.Node(2); !n.Takes() {
		t.Errorf("the last node is drained: %v", n)
	}
	m.ok(drainLasting(2, func(d *NodeDrain) { d.Force = true }), drainLasting(2))
	m.ok(resume(2), down(place(2, 1), ReasonDrain, false))
	m.ok(resume(1), drainLasting(2)) // it is down
	m.gives(Code_LAST_NODE, drainLasting(1))
	m.ok(assign(k(2), 1, place(1, 2)))
	m.gives(Code_NOT_FOUND, drainLasting(9))
	m.ok(down(place(2, 1), ReasonDrain, true))
	m.gives(Code_NOT_FOUND, resume(2))
}

// TestAssignedInOrder checks what a node is told that it has.
func TestAssignedInOrder(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(3), task(1), task(2), task(4)))
	for _, i := range []int{2, 1, 3} {
		m.ok(assign(k(i), 1, place(1, 1)))
	}
	var got []Key
	for _, a := range m.Assigned(1) {
		got = append(got, a.Key)
		if a.At != (Start{1, 1}) || a.Attempt != 1 || a.Type != "p.f" {
			t.Errorf("assignment %+v", a)
		}
	}
	if want := []Key{k(3), k(1), k(2)}; !slices.Equal(got, want) {
		t.Errorf("node 1 has %v, want %v", got, want)
	}
	if got := m.Load(); len(got) != 1 && len(got[2]) != 0 || got[1]["p.f"] != 3 {
		t.Errorf("Load = %v, want 3 p.f at node 1", got)
	}
	if a, status, ok := m.Live(k(2)); !ok || status != Status_STARTED || a.At != (Start{1, 1}) {
		t.Errorf("Live(2) = %+v, %v, %v", a, status, ok)
	}
	m.ok(finish(k(2), 1, `1`))
	if _, _, ok := m.Live(k(2)); ok {
		t.Error("a finished task is live")
	}
}
