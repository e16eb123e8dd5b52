package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"pytasks/cluster"
	"pytasks/fsm"
)

const (
	// handOverPatience bounds one try to give up the leadership.
	handOverPatience = 5 * time.Second
	// handOverPause follows a try that failed: in each the cluster takes nothing for a moment.
	handOverPause = 3 * time.Second
)

// drainer does on this node what a drain until it is resumed asks for, which is in the node's record: it ends what
// runs here, and gives up the leadership. That nothing new comes is the leader's doing.
type drainer struct {
	link    *link
	exec    *executor
	timeout time.Duration // for what runs here, where the drain says none
	log     *slog.Logger
	changed chan struct{} // capacity 1: some node's record changed
}

// drain returns what this node's record says, nil where it is to take tasks.
func (d *drainer) drain() *fsm.Drain { return d.link.record(d.link.self).GetDrain() }

// run works until ctx ends.
func (d *drainer) run(ctx context.Context) {
	var now *fsm.Drain
	var began time.Time
	said := false // that nothing runs here
	overdue := time.NewTimer(0)
	again := time.NewTimer(0)
	defer overdue.Stop()
	defer again.Stop()
	for {
		elected := d.link.cluster.LeaderChanged()
		asked := d.drain()
		switch {
		case asked == nil && now != nil:
			d.log.Info("resumed: this node takes tasks again")
		case asked != nil && (now == nil || now.SinceMs != asked.SinceMs):
			began, said = time.Now(), false
			d.log.Info("draining until resumed", "timeout", d.patience(asked))
		}
		var empty <-chan struct{} // nil: there is nothing to wait for
		if now = asked; now != nil {
			if d.lead(ctx) {
				again.Reset(handOverPause)
			}
			left := time.Until(began.Add(d.patience(now)))
			if left > 0 {
				overdue.Reset(left)
			}
			if empty = d.handBack(left <= 0); empty == nil && !said {
				d.log.Info("drained: nothing runs here")
				said = true
			}
		}
		select {
		case <-empty:
		case <-overdue.C:
		case <-again.C:
		case <-d.changed:
		case <-elected:
		case <-ctx.Done():
			return
		}
	}
}

func (d *drainer) patience(asked *fsm.Drain) time.Duration {
	if asked.TimeoutMs > 0 {
		return time.Duration(asked.TimeoutMs) * time.Millisecond
	}
	return d.timeout
}

// handBack gives up what must not stay, and returns a channel that is closed when nothing is left; nil if nothing is.
func (d *drainer) handBack(overdue bool) <-chan struct{} {
	d.exec.handBackQueued()
	if overdue {
		d.exec.handBackRunning()
	}
	return d.exec.emptied()
}

// lead gives up the leadership if this node has it and another one takes tasks. It says whether it is to be tried again.
func (d *drainer) lead(ctx context.Context) (again bool) {
	if !d.link.cluster.IsLeader() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, handOverPatience)
	defer cancel()
	leader, err := d.link.cluster.TransferLeadership(ctx, d.link.takesTasks)
	if err != nil {
		d.log.Warn("leadership not handed over", "err", err)
		return true
	}
	d.log.Info("leadership handed over", "node", leader)
	return false
}

// takesTasks says whether a node is up and nobody drains it.
func (l *link) takesTasks(id string) bool {
	n := l.record(id)
	return n != nil && n.Takes()
}

// record returns a node's record by its id, nil if there is none.
func (l *link) record(id string) *fsm.Node {
	for _, n := range l.state.Nodes() {
		if n.Id == id {
			return n
		}
	}
	return nil
}

// stepDown gives the leadership to another node, to one that takes tasks if there is one, and returns its id.
func (l *link) stepDown(ctx context.Context) (string, error) {
	id, err := l.cluster.TransferLeadership(ctx, l.takesTasks)
	if errors.Is(err, cluster.ErrNoSuccessor) {
		id, err = l.cluster.TransferLeadership(ctx, nil)
	}
	return id, err
}
