package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"pytasks/fsm"
)

const (
	heartbeatEvery = time.Second
	// retryHeartbeat is how soon a heartbeat that failed is sent again: a new leader
	// gives no work to nodes that it has not heard of.
	retryHeartbeat = 100 * time.Millisecond
	// progressPause is how often the leader hears of the progress of tasks, at most.
	progressPause = 200 * time.Millisecond
	// selfFence is how long a node works on without an answer from a leader. It is
	// shorter than the leader's lease, so that a task does not run twice because
	// its node was cut off.
	selfFence = 10 * time.Second
	// registerTimeout bounds one try to register.
	registerTimeout = 5 * time.Second
	// nameTakenFor is how long another node of the same name may take to be found
	// dead before this one gives up.
	nameTakenFor = 20 * time.Second
)

// membership keeps this node registered and known to be alive.
type membership struct {
	up    func() (*fsm.NodeUp, error) // what this start of the node is to be known for
	boot  uint64
	name  string
	packs *packs
	queue *fsm.Queue
	link  *link
	exec  *executor
	disk  *disk
	log   *slog.Logger
	now   func() time.Time // this node's clock

	at   atomic.Pointer[fsm.Start] // nil until registered
	said []byte                    // what the record says of this node's packs; Run only
}

// registered says whether the cluster has taken this start of the node in, and
// this node's own state has come so far as to show it.
func (m *membership) registered() bool {
	at := m.at.Load()
	return at != nil && m.link.state.Node(at.Node).GetBoot() == at.Boot
}

// Run registers the node, then tells the leader every second that it lives. When
// no leader answers for long, or the leader has given it up, it stops its tasks.
func (m *membership) Run(ctx context.Context) error {
	if err := m.register(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	next := time.NewTimer(0)
	defer next.Stop()
	heard, cutOff, unsaid := time.Now(), false, false
	for {
		changed := m.link.cluster.LeaderChanged()
		if unsaid {
			unsaid = m.sayPacks(ctx) != nil
		}
		index, err := m.heartbeat(ctx)
		switch {
		case err == nil:
			m.exec.hear(index)
			if cutOff {
				m.log.Info("leader reached again")
			}
			heard, cutOff = time.Now(), false
		case errors.Is(err, fsm.ErrStale):
			m.log.Warn("given up by the leader, registering again")
			m.exec.abandon()
			if err := m.register(ctx); err != nil || ctx.Err() != nil {
				return err
			}
			heard, cutOff = time.Now(), false
			continue
		case time.Since(heard) > selfFence && !cutOff:
			m.log.Warn("no leader reached, stopping the tasks that run here", "for", selfFence)
			m.exec.abandon()
			cutOff = true
		}
		next.Reset(heartbeatEvery)
		if err != nil || unsaid {
			next.Reset(retryHeartbeat)
		}
		select {
		case <-next.C:
		case <-changed:
		case <-m.packs.changed:
			unsaid = true
		case <-m.exec.told: // soon, yet not each step that a task tells of
			if sleep(ctx, progressPause) != nil {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// sayPacks tells the cluster which packs this node can run now.
func (m *membership) sayPacks(ctx context.Context) error {
	text, err := m.packs.manifest()
	if err == nil && !bytes.Equal(text, m.said) {
		ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
		defer cancel()
		if err = m.queue.NodePacks(ctx, &fsm.NodePacks{Place: m.place(*m.at.Load()), Packs: text}); err == nil {
			m.said = text
		}
	}
	if err != nil {
		m.log.Debug("packs not told", "err", err)
	}
	return err
}

// register makes this start of the node known, however long that takes. It returns nil
// without it when ctx ends.
func (m *membership) register(ctx context.Context) error {
	since := time.Now()
	for {
		changed := m.link.cluster.LeaderChanged()
		tryCtx, cancel := context.WithTimeout(ctx, registerTimeout)
		up, err := m.up()
		if err != nil {
			cancel()
			return err
		}
		number, err := m.queue.NodeUp(tryCtx, up)
		cancel()
		switch {
		case err == nil:
			at := fsm.Start{Node: number, Boot: m.boot}
			m.exec.register(at)
			m.said = up.Packs
			m.at.Store(&at)
			m.log.Info("node registered", "number", number)
			return nil
		case errors.Is(err, fsm.ErrNameTaken) && time.Since(since) > nameTakenFor:
			return fmt.Errorf("the name %q belongs to another node of this cluster that is alive: choose another --name", m.name)
		case errors.Is(err, fsm.ErrMisfit):
			return fmt.Errorf("the cluster knows a later start of this node: the data directory is an old copy; start with an empty one")
		}
		m.log.Debug("not registered yet", "err", err)
		select {
		case <-time.After(heartbeatEvery / 4):
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// heartbeat tells the leader that this node lives, and returns the index that the leader
// has applied.
func (m *membership) heartbeat(ctx context.Context) (index uint64, err error) {
	at := m.at.Load()
	busy, queued := m.exec.counts()
	h := &fsm.Heartbeat{
		Place: m.place(*at), Busy: uint32(busy), Queued: uint32(queued),
		DiskLow: m.disk.low.Load(), ClockMs: m.now().UnixMilli(), Progress: m.exec.progress(),
	}
	if m.link.cluster.IsLeader() {
		return m.link.state.Applied(), m.link.sched.Heartbeat(h)
	}
	body, err := h.MarshalVT()
	if err != nil {
		return 0, fmt.Errorf("encode heartbeat: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	answer, err := m.link.cluster.CallLeader(ctx, methodHeartbeat, body)
	if err != nil {
		return 0, err
	}
	if len(answer) != 8 {
		return 0, fmt.Errorf("answer to heartbeat of %d bytes", len(answer))
	}
	return binary.BigEndian.Uint64(answer), nil
}

func (m *membership) place(at fsm.Start) *fsm.Place { return &fsm.Place{Node: at.Node, Boot: at.Boot} }

// leave says that this start of the node takes no more tasks, lets exec finish
// and says that it runs nothing any more. ctx bounds the running tasks.
func (m *membership) leave(ctx context.Context) {
	at := m.at.Load()
	if at == nil {
		return
	}
	const patience = 2 * time.Second
	tell := func(what string, f func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if err := f(ctx); err != nil {
			m.log.Warn("could not tell the cluster", "what", what, "err", err)
		}
	}
	tell("draining", func(ctx context.Context) error {
		return m.queue.NodeDrain(ctx, &fsm.NodeDrain{Place: m.place(*at), Draining: true})
	})
	m.exec.drain(ctx)
	tell("down", func(ctx context.Context) error {
		return m.queue.NodeDown(ctx, &fsm.NodeDown{Place: m.place(*at), Reason: fsm.ReasonDrain})
	})
}
