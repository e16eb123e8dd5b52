package fsm

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// Rehomed is what Rehome has changed.
type Rehomed struct {
	Index    uint64 // log index that the state has applied now
	Requeued int    // tasks that were given to nodes
	Nodes    int    // that are gone
}

// Rehome makes a state that was restored the first of a new cluster, as if by a log entry behind its last:
//
//   - every node is gone for good. Their records stay, for the tasks that name them, and their numbers are not given out again;
//   - what was given to them is queued again, in its old place, and none of it has lost an attempt by that, nor counts a lost
//     node. Attempts keep their numbers, so that whatever still runs of the old cluster stays without effect;
//   - the keys of tokens and a change of the secret that was under way are forgotten: they are sealed with the secrets of the old
//     cluster, whose tokens are void here. The new one makes keys.
//
// All else stays as it was, the clock too. It is called before anything applies log entries to the state.
func (s *State) Rehome() (*Rehomed, error) {
	s.mu.Lock()
	a := &applier{State: s, changes: Changes{Index: s.applied + 1, Nodes: true, Keys: true, Rotation: true}}
	out := &Rehomed{Index: a.changes.Index}
	if err := a.rehome(out); err != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("take the state out of its cluster: %w", err)
	}
	s.advance(a.changes.Index)
	s.mu.Unlock()
	s.publish(a.changes)
	return out, s.flush()
}

func (a *applier) rehome(out *Rehomed) error {
	if broken := a.broken.Load(); broken != nil {
		return broken
	}
	for _, number := range slices.Sorted(maps.Keys(a.nodes)) {
		for _, l := range a.index.assignedTo(number) {
			old, err := a.task(l.key)
			if err != nil {
				return err
			}
			a.requeue(old, ReasonRestored)
			out.Requeued++
		}
		if n := a.nodes[number]; !n.Gone {
			n = n.copyOf()
			n.Down, n.Gone = true, true
			a.putNode(n)
			out.Nodes++
		}
	}
	a.auth = auth{}
	a.active.auth[authKeys], a.active.auth[authRotation] = nil, nil
	return nil
}

// Restore replaces the state by a snapshot, of any format.
func (s *State) Restore(r io.Reader) error { return s.restore(r) }

// WriteSnapshot writes the state as its snapshots are written.
func (s *State) WriteSnapshot(w io.Writer) error {
	snap, err := s.snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	return snap.writeTo(w)
}
