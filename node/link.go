package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"pytasks/cluster"
	"pytasks/fsm"
	"pytasks/node/failpoint"
	"pytasks/scheduler"
)

// Methods of node-to-node calls.
const (
	methodDo        = "do"        // Batch -> Outcomes, at the leader
	methodTask      = "task"      // id -> Task, at the leader
	methodWait      = "wait"      // id -> Task when it is final, at the leader
	methodName      = "name"      // number -> name of a node, at the leader
	methodHeartbeat = "heartbeat" // Heartbeat -> index that the leader has applied, at the leader
	methodNudge     = "nudge"     // Nudge -> nothing, at any node
	methodStepDown  = "stepdown"  // nothing -> id of the next leader, at the leader
	methodLog       = "log"       // logRequest -> a part of an attempt's log, at the node that runs it
)

// nudgeTimeout bounds a nudge: later the log has done its work.
const nudgeTimeout = time.Second

// link joins the parts through the cluster: commands to the leader's scheduler,
// entries to the log, nudges to nodes.
type link struct {
	cluster *cluster.Cluster
	sched   *scheduler.Scheduler
	state   *fsm.State
	exec    *executor
	self    string        // node id
	ready   chan struct{} // closed when all of the above is set

	mu     sync.Mutex
	loads  map[string]uint8     // gossiped pressure by node id; guarded by mu
	failed map[string]time.Time // since when gossip holds nodes for failed; guarded by mu
}

// handlers are the calls that other nodes may make.
func (l *link) handlers() map[string]cluster.Handler {
	handlers := map[string]cluster.Handler{
		methodDo: func(ctx context.Context, _ string, body []byte) ([]byte, error) {
			b := new(fsm.Batch)
			if err := b.UnmarshalVTUnsafe(body); err != nil {
				return nil, fmt.Errorf("decode commands: %w", err)
			}
			outs, err := l.sched.Do(ctx, b.Commands)
			if err != nil {
				return nil, err
			}
			return (&fsm.Outcomes{Outcomes: outs}).MarshalVT()
		},
		methodTask: func(ctx context.Context, _ string, body []byte) ([]byte, error) {
			t, err := l.taskHere(ctx, string(body))
			if err != nil {
				return nil, err
			}
			return t.MarshalVT()
		},
		methodWait: func(ctx context.Context, _ string, body []byte) ([]byte, error) {
			t, err := l.waitHere(ctx, string(body))
			if err != nil {
				return nil, err
			}
			return t.MarshalVT()
		},
		methodName: func(_ context.Context, _ string, body []byte) ([]byte, error) {
			if !l.cluster.IsLeader() {
				return nil, fsm.ErrNoLeader
			}
			if len(body) != 4 {
				return nil, fmt.Errorf("number of %d bytes", len(body))
			}
			return []byte(l.state.Node(binary.BigEndian.Uint32(body)).GetName()), nil
		},
		methodHeartbeat: func(_ context.Context, _ string, body []byte) ([]byte, error) {
			h := new(fsm.Heartbeat)
			if err := h.UnmarshalVT(body); err != nil {
				return nil, fmt.Errorf("decode heartbeat: %w", err)
			}
			if err := l.sched.Heartbeat(h); err != nil {
				return nil, err
			}
			return binary.BigEndian.AppendUint64(nil, l.state.Applied()), nil
		},
		methodNudge: func(_ context.Context, _ string, body []byte) ([]byte, error) {
			n := new(fsm.Nudge)
			if err := n.UnmarshalVTUnsafe(body); err != nil {
				return nil, fmt.Errorf("decode nudge: %w", err)
			}
			l.exec.offer(n)
			return nil, nil
		},
		methodStepDown: func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			id, err := l.stepDown(ctx)
			return []byte(id), err
		},
		methodLog: func(ctx context.Context, _ string, body []byte) ([]byte, error) { return l.logHere(ctx, body) },
	}
	return handlers
}

// whenReady returns handlers that wait until the node is whole: calls may come before.
func (l *link) whenReady(handlers map[string]cluster.Handler) map[string]cluster.Handler {
	waiting := make(map[string]cluster.Handler, len(handlers))
	for method, h := range handlers {
		waiting[method] = func(ctx context.Context, from string, body []byte) ([]byte, error) {
			select {
			case <-l.ready:
				return h(ctx, from, body)
			case <-ctx.Done():
				return nil, fsm.ErrNoLeader
			}
		}
	}
	return waiting
}

// taskHere returns a task's record on the leader, which knows of it if anybody does.
func (l *link) taskHere(ctx context.Context, id string) (*fsm.Task, error) {
	if !l.cluster.IsLeader() {
		return nil, fsm.ErrNoLeader
	}
	t, err := l.state.Task(id)
	if err == nil {
		return l.withProgress(t), nil
	}
	if !errors.Is(err, fsm.ErrNotFound) {
		return nil, err
	}
	// A leader that has been deposed may not have noticed: then the next one may have
	// what this one does not.
	index, err := l.cluster.ReadIndex(ctx)
	if err != nil {
		return nil, fsm.ErrNoLeader
	}
	if err := l.state.WaitApplied(ctx, index); err != nil {
		return nil, fsm.ErrNoLeader
	}
	return l.state.Task(id)
}

// withProgress adds to a record what the leader knows of the progress of its attempt.
func (l *link) withProgress(t *fsm.Task) *fsm.Task {
	if t.Status != fsm.Status_STARTED {
		return t
	}
	p := l.sched.Progress(fsm.Key(t.Key), t.Attempt)
	if p == nil {
		return t
	}
	return t.WithProgress(p)
}

// waitHere waits for a task on the leader.
func (l *link) waitHere(ctx context.Context, id string) (*fsm.Task, error) {
	if _, err := l.taskHere(ctx, id); err != nil {
		return nil, err
	}
	return l.state.WaitFinished(ctx, id)
}

// Do brings commands to the leader; see fsm.Log.
func (l *link) Do(ctx context.Context, cmds []*fsm.Command) ([]*fsm.Outcome, error) {
	if l.cluster.IsLeader() {
		return l.sched.Do(ctx, cmds)
	}
	body, err := (&fsm.Batch{Commands: cmds}).MarshalVT()
	if err != nil {
		return nil, fmt.Errorf("encode commands: %w", err)
	}
	answer, err := l.cluster.CallLeader(ctx, methodDo, body)
	if err != nil {
		return nil, outcomeOf(err)
	}
	failpoint.Point("link.forward.after")
	outs := new(fsm.Outcomes)
	if err := outs.UnmarshalVT(answer); err != nil {
		return nil, fmt.Errorf("decode outcomes: %w", err)
	}
	return outs.Outcomes, nil
}

// outcomeOf says in the queue's words what an error of the cluster means for a
// write: that nothing was written, or that nobody knows.
func outcomeOf(err error) error {
	for _, definite := range []error{cluster.ErrNoLeader, cluster.ErrNotLeader, cluster.ErrRefused, cluster.ErrUnreachable, fsm.ErrNoLeader} {
		if errors.Is(err, definite) {
			return fsm.ErrNoLeader
		}
	}
	return fsm.ErrUnknown
}

// Propose brings an entry into the log; see scheduler.Cluster.
func (l *link) Propose(ctx context.Context, entry []byte) (any, uint64, error) {
	resp, index, err := l.cluster.Propose(ctx, entry)
	if err != nil {
		return nil, 0, outcomeOf(err)
	}
	return resp, index, nil
}

// Probe asks a node which start of it is running; see scheduler.Cluster.
func (l *link) Probe(ctx context.Context, id string) (uint64, error) {
	boot, err := l.cluster.Probe(ctx, id)
	if errors.Is(err, cluster.ErrRefused) {
		return 0, scheduler.ErrDead
	}
	return boot, err
}

// Nudge tells a node of its assignments; see scheduler.Cluster.
func (l *link) Nudge(id string, n *fsm.Nudge) {
	if id == l.self {
		return // its own state has told it
	}
	go func() {
		body, err := n.MarshalVT()
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), nudgeTimeout)
		defer cancel()
		_, _ = l.cluster.Call(ctx, id, methodNudge, body) // best effort: the log tells it too
	}()
}

// Silent returns for how long gossip has held a node for failed; see
// scheduler.Cluster.
func (l *link) Silent(id string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if since, ok := l.failed[id]; ok {
		return time.Since(since)
	}
	return 0
}

// Pressure returns how busy a node says its machine is; see scheduler.Cluster.
func (l *link) Pressure(id string) uint8 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loads[id]
}

// Votes says whether a node's disk counts for the majority; see scheduler.Cluster.
func (l *link) Votes(id string) bool { return l.cluster.Votes(id) }

// watchMembers keeps the nodes' pressure, and has the leader look after members
// that gossip lost.
func (l *link) watchMembers(ctx context.Context) {
	for {
		changed := l.cluster.MembersChanged()
		loads, failed := map[string]uint8{}, map[string]time.Time{}
		for _, m := range l.cluster.Members() {
			loads[m.ID] = m.Load
			if m.Status == cluster.Failed && !m.Since.IsZero() {
				failed[m.ID] = m.Since
			}
			if m.Status != cluster.Alive {
				l.sched.Suspect(m.ID)
			}
		}
		l.mu.Lock()
		l.loads, l.failed = loads, failed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
