package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pytasks/cluster"
	"pytasks/fsm"
	"pytasks/scheduler"
)

// Methods of node-to-node calls.
const (
	methodDo        = "do"        // Batch -> Outcomes, at the leader
	methodTask      = "task"      // id -> Task, at the leader
	methodWait      = "wait"      // id -> Task when it is final, at the leader
	methodHeartbeat = "heartbeat" // Heartbeat -> nothing, at the leader
	methodNudge     = "nudge"     // Nudge -> nothing, at any node
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

	mu    sync.Mutex
	loads map[string]uint8 // gossiped pressure by node id; guarded by mu
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
		methodTask: func(_ context.Context, _ string, body []byte) ([]byte, error) {
			if !l.cluster.IsLeader() {
				return nil, fsm.ErrNoLeader
			}
			t, err := l.state.Task(string(body))
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
		methodHeartbeat: func(_ context.Context, _ string, body []byte) ([]byte, error) {
			h := new(fsm.Heartbeat)
			if err := h.UnmarshalVT(body); err != nil {
				return nil, fmt.Errorf("decode heartbeat: %w", err)
			}
			return nil, l.sched.Heartbeat(h)
		},
		methodNudge: func(_ context.Context, _ string, body []byte) ([]byte, error) {
			n := new(fsm.Nudge)
			if err := n.UnmarshalVTUnsafe(body); err != nil {
				return nil, fmt.Errorf("decode nudge: %w", err)
			}
			l.exec.offer(n)
			return nil, nil
		},
	}
	for method, h := range handlers {
		handlers[method] = func(ctx context.Context, from string, body []byte) ([]byte, error) {
			select {
			case <-l.ready:
				return h(ctx, from, body)
			case <-ctx.Done():
				return nil, fsm.ErrNoLeader
			}
		}
	}
	return handlers
}

// waitHere waits for a task on the leader, which knows of it if anybody does.
func (l *link) waitHere(ctx context.Context, id string) (*fsm.Task, error) {
	if !l.cluster.IsLeader() {
		return nil, fsm.ErrNoLeader
	}
	if _, err := l.state.Task(id); err != nil {
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

// Pressure returns how busy a node says its machine is; see scheduler.Cluster.
func (l *link) Pressure(id string) uint8 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loads[id]
}

// watchMembers keeps the nodes' pressure, and has the leader look after members
// that gossip lost.
func (l *link) watchMembers(ctx context.Context) {
	for {
		changed := l.cluster.MembersChanged()
		loads := map[string]uint8{}
		for _, m := range l.cluster.Members() {
			loads[m.ID] = m.Load
			if m.Status != cluster.Alive {
				l.sched.Suspect(m.ID)
			}
		}
		l.mu.Lock()
		l.loads = loads
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
