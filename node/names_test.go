package node

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"pytasks/fsm"
)

type fakeNodes map[uint32]*fsm.Node

func (f fakeNodes) Node(number uint32) *fsm.Node { return f[number] }

// TestNamesLearn: nodes that this node's state does not show are asked for once; where the
// leader cannot tell, the record is not to be shown.
func TestNamesLearn(t *testing.T) {
	asked := 0
	n := &names{state: fakeNodes{1: {Name: "a"}}, ask: func(_ context.Context, number []byte) ([]byte, error) {
		if asked++; binary.BigEndian.Uint32(number) != 2 {
			return nil, fsm.ErrNoLeader
		}
		return []byte("b"), nil
	}}
	task := &fsm.Task{Place: &fsm.Place{Node: 2}, Past: []*fsm.Past{{Node: 1}, {Node: 2}}}
	for range 2 {
		if err := n.learn(t.Context(), task); err != nil {
			t.Fatal(err)
		}
	}
	if n.of(1) != "a" || n.of(2) != "b" || n.of(3) != "" || asked != 1 {
		t.Errorf("got %q, %q and %q after %d questions, want a, b and nothing after one", n.of(1), n.of(2), n.of(3), asked)
	}
	if err := n.learn(t.Context(), &fsm.Task{Place: &fsm.Place{Node: 3}}); !errors.Is(err, fsm.ErrNoLeader) {
		t.Errorf("got %v, want %v", err, fsm.ErrNoLeader)
	}
	if err := n.learn(t.Context(), &fsm.Task{}); err != nil {
		t.Errorf("a record without a place: %v", err)
	}
}
