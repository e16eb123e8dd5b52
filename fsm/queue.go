package fsm

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// A call to the leader carries at most so many commands, and about so many
	// bytes of arguments and results.
	maxCallCommands = 1024
	maxCallBytes    = 512 << 10
	// callsInFlight is how many calls of one lane are under way at once; what
	// comes meanwhile gathers behind them and travels together.
	callsInFlight = 3
	// retryPause is how long a failed call waits before the next try.
	retryPause = 25 * time.Millisecond
)

// Log carries commands to the leader and brings back what applying them gave,
// one outcome for each. An error that is ErrNoLeader means that none was
// written; any other that some may have been.
type Log interface {
	Do(ctx context.Context, cmds []*Command) ([]*Outcome, error)
}

// Queue writes to the replicated state. It gathers the commands of many callers
// into few calls, and tries a call again until its callers give up: every command
// can be applied twice and has its effect once.
type Queue struct {
	log    Log
	logger *slog.Logger
	lanes  [2]chan *write
	over   chan struct{} // closed when Run has ended
}

// Reporting what was done has a lane of its own, so that it never waits behind
// new work.
const (
	laneSubmit = iota
	laneFinish
)

// write is a command of one caller on its way.
type write struct {
	ctx   context.Context
	cmd   *Command
	size  int
	out   *Outcome
	err   error
	done  chan struct{}
	tries int // that may have been written; lane only
	// state says whether a try may have been written, and lets either the lane
	// take the write or its caller abandon it.
	state atomic.Int32
}

// The states of a write.
const (
	writeWaits     = iota // nothing of it can have been written
	writeSent             // it may have been
	writeAbandoned        // its caller gave up while it waited
)

// NewQueue returns a queue over log. Run makes it work.
func NewQueue(log Log, logger *slog.Logger) *Queue {
	q := &Queue{log: log, logger: logger, over: make(chan struct{})}
	for i := range q.lanes {
		q.lanes[i] = make(chan *write, maxCallCommands)
	}
	return q
}

// Run carries commands until ctx ends; then all that are left fail. It runs once.
func (q *Queue) Run(ctx context.Context) error {
	defer close(q.over)
	done := make(chan struct{})
	n := 0
	for _, lane := range q.lanes {
		for range callsInFlight {
			n++
			go func() {
				q.carry(ctx, lane)
				done <- struct{}{}
			}()
		}
	}
	for range n {
		<-done
	}
	return ctx.Err()
}

// carry makes one call after another of what a lane holds.
func (q *Queue) carry(ctx context.Context, lane chan *write) {
	for {
		var batch []*write
		select {
		case w := <-lane:
			batch = append(batch, w)
		case <-ctx.Done():
			return
		}
		for size := batch[0].size; len(batch) < maxCallCommands && size < maxCallBytes; {
			select {
			case w := <-lane:
				batch = append(batch, w)
				size += w.size
				continue
			default:
			}
			break
		}
		q.call(ctx, batch)
	}
}

// call brings a batch to the leader, again and again until it is answered or
// nobody waits any more.
func (q *Queue) call(ctx context.Context, batch []*write) {
	for {
		batch = take(batch)
		if len(batch) == 0 {
			return
		}
		cmds := make([]*Command, len(batch))
		for i, w := range batch {
			cmds[i] = w.cmd
		}
		callCtx, cancel := callersContext(ctx, batch)
		outs, err := q.log.Do(callCtx, cmds)
		cancel()
		if err == nil && len(outs) != len(cmds) {
			err = errors.New("the leader answered another number of commands")
		}
		if err == nil {
			for i, w := range batch {
				w.out = outs[i]
				close(w.done)
			}
			return
		}
		q.logger.Debug("call to the leader failed", "commands", len(cmds), "err", err)
		if errors.Is(err, ErrNoLeader) {
			for _, w := range batch {
				if w.tries == 1 {
					w.state.CompareAndSwap(writeSent, writeWaits)
				}
				w.tries--
			}
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			for _, w := range batch {
				w.err = ErrUnknown
				if w.tries == 0 {
					w.err = ErrNoLeader
				}
				close(w.done)
			}
			return
		}
	}
}

// take marks the writes that are still waited for as sent, and drops the others.
func take(batch []*write) []*write {
	kept := batch[:0:0]
	for _, w := range batch {
		if w.ctx.Err() == nil && (w.state.CompareAndSwap(writeWaits, writeSent) || w.state.Load() == writeSent) {
			w.tries++
			kept = append(kept, w)
		}
	}
	return kept
}

// callersContext ends when the last of the callers gives up.
func callersContext(ctx context.Context, batch []*write) (context.Context, context.CancelFunc) {
	var last time.Time
	for _, w := range batch {
		d, ok := w.ctx.Deadline()
		if !ok {
			return context.WithCancel(ctx)
		}
		if d.After(last) {
			last = d
		}
	}
	return context.WithDeadline(ctx, last)
}

// do brings one command to the leader and returns what it gave.
func (q *Queue) do(ctx context.Context, lane int, cmd *Command, size int) (*Outcome, error) {
	cmd.Actor = ActorOf(ctx)
	w := &write{ctx: ctx, cmd: cmd, size: size, done: make(chan struct{})}
	select {
	case q.lanes[lane] <- w:
	case <-ctx.Done():
		return nil, ErrNoLeader
	case <-q.over:
		return nil, ErrNoLeader
	}
	select {
	case <-w.done:
	case <-ctx.Done():
	case <-q.over:
	}
	select {
	case <-w.done: // whatever else happened
	default:
		if w.state.CompareAndSwap(writeWaits, writeAbandoned) {
			return nil, ErrNoLeader
		}
		return nil, ErrUnknown
	}
	if w.err != nil {
		return nil, w.err
	}
	return w.out, w.out.Code.Err()
}

// Submit queues tasks, all or none. The outcome's Ids are theirs, in order.
func (q *Queue) Submit(ctx context.Context, s *Submit) (*Outcome, error) {
	size := 0
	for _, n := range s.Tasks {
		size += len(n.Args) + 64
	}
	return q.do(ctx, laneSubmit, &Command{Kind: &Command_Submit{s}}, size)
}

// Cancel revokes a task that is not finished; ErrFinished with the task's status
// in the outcome if it is.
func (q *Queue) Cancel(ctx context.Context, id string) (*Outcome, error) {
	return q.do(ctx, laneSubmit, &Command{Kind: &Command_Cancel{&Cancel{Id: id}}}, 64)
}

// Finish reports the outcome of an attempt. ErrStale: another attempt has taken
// its place, or the task is finished.
func (q *Queue) Finish(ctx context.Context, f *Finish) error {
	_, err := q.do(ctx, laneFinish, &Command{Kind: &Command_Finish{f}}, len(f.Result)+len(f.Log)+64)
	return err
}

// Release hands an attempt back, to be assigned again.
func (q *Queue) Release(ctx context.Context, r *Release) error {
	_, err := q.do(ctx, laneFinish, &Command{Kind: &Command_Release{r}}, 64)
	return err
}

// NodeUp registers a start of this node and returns its number.
func (q *Queue) NodeUp(ctx context.Context, n *NodeUp) (uint32, error) {
	out, err := q.do(ctx, laneFinish, &Command{Kind: &Command_NodeUp{n}}, len(n.Packs)+64)
	return out.GetNode(), err
}

// NodeDown says that a start of a node will run nothing more.
func (q *Queue) NodeDown(ctx context.Context, n *NodeDown) error {
	_, err := q.do(ctx, laneFinish, &Command{Kind: &Command_NodeDown{n}}, 64)
	return err
}

// NodeDrain makes a node take no new tasks, or take them again. ErrStale: of a start that is over; ErrNotFound: there is
// no such node; ErrLastNode: it is the last that takes tasks.
func (q *Queue) NodeDrain(ctx context.Context, n *NodeDrain) error {
	_, err := q.do(ctx, laneFinish, &Command{Kind: &Command_NodeDrain{n}}, 64)
	return err
}

// NodeLabel gives a node labels, or takes some away. ErrNotFound: there is no such node; ErrMisfit: one of the labels cannot
// be, or there are too many.
func (q *Queue) NodeLabel(ctx context.Context, n *NodeLabel) error {
	_, err := q.do(ctx, laneSubmit, &Command{Kind: &Command_NodeLabel{n}}, n.SizeVT()+64)
	return err
}

// NodePacks says what a node can run from now on. ErrStale: it has registered anew.
func (q *Queue) NodePacks(ctx context.Context, n *NodePacks) error {
	_, err := q.do(ctx, laneFinish, &Command{Kind: &Command_NodePacks{n}}, len(n.Packs)+64)
	return err
}

// UserPut makes a user or changes one. ErrConflict: the user to be made exists already;
// ErrNotFound: the one to be changed does not; ErrLastAdmin: nobody would be left who may do
// everything; ErrMisfit: it has a name or a right that cannot be, or no password.
func (q *Queue) UserPut(ctx context.Context, u *UserPut) error {
	_, err := q.do(ctx, laneSubmit, &Command{Kind: &Command_UserPut{u}}, u.SizeVT()+64)
	return err
}

// UserRemove removes a user. ErrNotFound: there is none; ErrLastAdmin: it is the last who
// may do everything.
func (q *Queue) UserRemove(ctx context.Context, name string) error {
	_, err := q.do(ctx, laneSubmit, &Command{Kind: &Command_UserRemove{&UserRemove{Name: name}}}, 64)
	return err
}

// KeysPut replaces the keys that tokens are signed with. ErrConflict: they are not those of
// the version that it is to replace.
func (q *Queue) KeysPut(ctx context.Context, k *KeysPut) error {
	_, err := q.do(ctx, laneSubmit, &Command{Kind: &Command_KeysPut{k}}, k.SizeVT()+64)
	return err
}

// SecretPut moves the change of the cluster's secret on by a phase, or ends it. ErrConflict:
// it is not at the version that is to be replaced.
func (q *Queue) SecretPut(ctx context.Context, s *SecretPut) error {
	_, err := q.do(ctx, laneSubmit, &Command{Kind: &Command_SecretPut{s}}, s.SizeVT()+64)
	return err
}

// PackPut installs a release of a pack and makes it current. ErrPackBusy: the pack is
// being removed, or too many of its releases have unfinished tasks.
func (q *Queue) PackPut(ctx context.Context, p *PackPut) error {
	_, err := q.do(ctx, laneSubmit, &Command{Kind: &Command_PackPut{p}}, len(p.Info)+64)
	return err
}

// PackUse makes another release of a pack current. ErrNotFound: it is not installed.
func (q *Queue) PackUse(ctx context.Context, p *PackUse) (*Outcome, error) {
	return q.do(ctx, laneSubmit, &Command{Kind: &Command_PackUse{p}}, 64)
}

// PackRemove removes a release of a pack, or all of it. ErrPackBusy: unfinished tasks
// refer to it, the outcome's Count of them. By force these end first, RemoveLimit of them
// at a time; where ctx ends in between, the leader goes on with it. The audit log notes the
// first step.
func (q *Queue) PackRemove(ctx context.Context, p *PackRemove) (*Outcome, error) {
	cmd := &PackRemove{Name: p.Name, Release: p.Release, Force: p.Force, Limit: RemoveLimit}
	out, err := q.do(ctx, laneSubmit, &Command{Kind: &Command_PackRemove{cmd}}, 64)
	for err == nil && out.Count > 0 {
		cmd = &PackRemove{Name: p.Name, Release: p.Release, Force: true, Limit: RemoveLimit, Resume: true}
		out, err = q.do(WithActor(ctx, nil), laneSubmit, &Command{Kind: &Command_PackRemove{cmd}}, 64)
		if errors.Is(err, ErrNotFound) { // the leader has ended it
			return &Outcome{}, nil
		}
	}
	return out, err
}
