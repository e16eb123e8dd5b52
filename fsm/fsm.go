package fsm

import (
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// FSM is the state as raft sees it. It applies whole batches of log entries and
// skips those that the state has applied already, as after a restart.
type FSM struct{ state *State }

var _ raft.BatchingFSM = (*FSM)(nil)

// FSM returns the state as raft sees it.
func (s *State) FSM() *FSM { return &FSM{s} }

// Apply applies one log entry and returns its outcomes, []*Outcome. An entry that
// cannot be applied stops the node: going on would let the replicas drift apart.
func (f *FSM) Apply(l *raft.Log) any {
	if f.state.broken.Load() != nil {
		return []*Outcome(nil) // the node is about to stop
	}
	if l.Type != raft.LogCommand {
		f.state.pass(l.Index)
		return []*Outcome(nil)
	}
	if l.Index <= f.state.Applied() {
		return []*Outcome(nil)
	}
	if len(l.Data) == 0 {
		f.state.pass(l.Index)
		return []*Outcome(nil)
	}
	e, err := DecodeEntry(l.Data)
	if err != nil {
		panic(fmt.Sprintf("log entry %d: %v", l.Index, err))
	}
	outs, err := f.state.apply(l.Index, e)
	if err != nil && f.state.broken.Load() != nil {
		return []*Outcome(nil) // the node stops; the log brings the entry again after its next start
	}
	if err != nil {
		panic(err.Error())
	}
	return outs
}

// ApplyBatch applies log entries in order.
func (f *FSM) ApplyBatch(ls []*raft.Log) []any {
	out := make([]any, len(ls))
	for i, l := range ls {
		out[i] = f.Apply(l)
	}
	return out
}

// Snapshot returns a view of the state as it is now.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) { return f.state.snapshot() }

// Restore replaces the state by a snapshot.
func (f *FSM) Restore(r io.ReadCloser) error {
	defer r.Close()
	return f.state.restore(r)
}

// pass notes a log entry that has no meaning for the state.
func (s *State) pass(index uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index > s.applied && s.broken.Load() == nil {
		s.advance(index)
	}
}
