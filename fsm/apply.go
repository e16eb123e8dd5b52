package fsm

import (
	"bytes"
	"fmt"
)

const (
	// maxLost is how often a task may take its node down before it fails.
	maxLost = 3
	// maxLog is how much of an attempt's log is kept, in bytes: its end.
	maxLog = 64 << 10
)

// Reasons that a task's record, or an attempt in it, ends with.
const (
	ReasonError       = "error"       // the func returned an error
	ReasonPanic       = "panic"       // the func panicked
	ReasonTimeout     = "timeout"     // the attempt took too long
	ReasonWorkerLost  = "worker_lost" // its node died, or did not answer for a lease
	ReasonCutOff      = "cut_off"     // its node lost contact with the leader, and stopped it
	ReasonDrain       = "drain"       // its node is shutting down
	ReasonNotStarted  = "not_started" // its node had no slot for it after all
	ReasonCancelled   = "cancelled"
	ReasonCrash       = "crash"        // the process that ran it died
	ReasonMemory      = "memory"       // it took more memory than it may
	ReasonPackRemoved = "pack_removed" // its pack was removed by force
	ReasonRestored    = "restored"     // its cluster ended, and this one was made of a snapshot of it
)

// apply applies one log entry. It is arithmetic: what it does depends on the
// entry and the state alone.
func (s *State) apply(index uint64, e *Entry) ([]*Outcome, error) {
	s.mu.Lock()
	if err := s.makeRoom(e); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	a := &applier{State: s, changes: Changes{Index: index, Tasks: make([]Change, 0, len(e.Commands))}}
	s.now = max(s.now, e.NowMs)
	outs := make([]*Outcome, len(e.Commands))
	for i, c := range e.Commands {
		var err error
		if outs[i], err = a.command(c); err == nil {
			err = a.note(i, c, outs[i])
		}
		if err != nil {
			s.mu.Unlock()
			return nil, fmt.Errorf("apply command %d of log entry %d: %w", i, index, err)
		}
	}
	if len(a.ended) > 0 {
		s.active.endings = append(s.active.endings, ending{endingKey(s.now, index), a.ended})
	}
	a.keepAudits()
	s.advance(index)
	s.mu.Unlock()
	s.publish(a.changes)
	return outs, nil
}

// makeRoom writes the memtable first where the entry needs to find everything in
// the store, or where writing has fallen behind. mu is held.
func (s *State) makeRoom(e *Entry) error {
	if broken := s.broken.Load(); broken != nil {
		return broken
	}
	full := s.active.full(maxBehind)
	for _, c := range e.Commands {
		if _, ok := c.Kind.(*Command_Purge); ok {
			full = true
		}
	}
	if !full {
		return nil
	}
	return s.flushLocked()
}

// advance moves the applied index and wakes who waits for it. mu is held.
func (s *State) advance(index uint64) {
	s.applied = index
	if s.waits {
		s.waits = false
		close(s.moved)
	}
	if s.active.size() > 0 {
		s.dirty()
	}
}

func (s *State) publish(c Changes) {
	for _, t := range c.Tasks {
		if t.New.Status.Final() {
			s.hub.finished(t.New)
		}
	}
	s.cfg.Observe(c)
}

// applier applies the commands of one entry, with the state's mu held.
type applier struct {
	*State
	changes Changes
	ended   []byte // tasks that the entry finished, see appendEnded
	actor   *Actor // of the current command, nil if nobody asked for it
	what    string // what the current command changed, where the command does not tell
}

func (a *applier) command(c *Command) (*Outcome, error) {
	a.what = ""
	if a.actor = c.Actor; len(c.Actor.GetSub()) > maxUserName {
		return &Outcome{Code: Code_MISFIT}, nil
	}
	switch k := c.Kind.(type) {
	case *Command_Submit:
		return a.submit(k.Submit)
	case *Command_Assign:
		return a.assign(k.Assign)
	case *Command_Finish:
		return a.finish(k.Finish)
	case *Command_Release:
		return a.release(k.Release)
	case *Command_Cancel:
		return a.cancel(k.Cancel)
	case *Command_Tick:
		return a.tick(k.Tick)
	case *Command_Purge:
		return a.purge(k.Purge)
	case *Command_NodeUp:
		return a.nodeUp(k.NodeUp)
	case *Command_NodeDown:
		return a.nodeDown(k.NodeDown)
	case *Command_NodeDrain:
		return a.nodeDrain(k.NodeDrain)
	case *Command_NodeLabel:
		return a.nodeLabel(k.NodeLabel), nil
	case *Command_PackPut:
		return a.packPut(k.PackPut)
	case *Command_PackUse:
		return a.packUse(k.PackUse)
	case *Command_PackRemove:
		return a.packRemove(k.PackRemove)
	case *Command_NodePacks:
		return a.nodePacks(k.NodePacks)
	case *Command_UserPut:
		return a.userPut(k.UserPut)
	case *Command_UserRemove:
		return a.userRemove(k.UserRemove)
	case *Command_KeysPut:
		return a.keysPut(k.KeysPut)
	case *Command_SecretPut:
		return a.secretPut(k.SecretPut)
	default:
		return nil, fmt.Errorf("command %T is not known to this build", k)
	}
}

// put makes t the record of its task.
func (a *applier) put(old, t *Task) {
	saved := a.index.set(t)
	a.active.tasks[Key(t.Key)] = change{t, saved}
	a.active.bytes += len(t.Args) + len(t.Result) + len(t.Log)
	if t.ArgsBlob != nil || t.ResultBlob != nil {
		a.active.refer(t)
	}
	if t.Status.Final() {
		a.done.counts[t.Status]++
		a.done.bytes += t.size()
		a.ended = appendEnded(a.ended, t)
	}
	a.changes.Tasks = append(a.changes.Tasks, Change{old, t})
}

func (a *applier) assign(c *Assign) (*Outcome, error) {
	old, out, err := a.find(c.Key)
	if old == nil {
		return out, err
	}
	ready := old.Status == Status_PENDING ||
		(old.Status == Status_SCHEDULED || old.Status == Status_RETRY) && old.DueMs <= a.now
	if !ready || c.Attempt != old.Attempt+1 || !a.fits(c.Place) {
		return &Outcome{Code: Code_MISFIT, Status: old.Status}, nil
	}
	t := old.next()
	t.assign(a.now, c.Place)
	a.put(old, t)
	return &Outcome{Status: t.Status}, nil
}

// find returns the record of a task, or the outcome that there is none.
func (a *applier) find(key []byte) (*Task, *Outcome, error) {
	if len(key) != len(Key{}) {
		return nil, &Outcome{Code: Code_NOT_FOUND}, nil
	}
	t, err := a.task(Key(key))
	if t == nil {
		return nil, &Outcome{Code: Code_NOT_FOUND}, err
	}
	return t, nil, err
}

// current returns the record of a task whose current attempt is the one given,
// and running; or the outcome to answer. It is the fence.
func (a *applier) current(key []byte, attempt uint32) (*Task, *Outcome, error) {
	t, out, err := a.find(key)
	if t == nil {
		return nil, out, err
	}
	if t.Status != Status_STARTED || t.Attempt != attempt {
		return nil, &Outcome{Code: Code_STALE, Status: t.Status}, nil
	}
	return t, nil, nil
}

func (a *applier) finish(c *Finish) (*Outcome, error) {
	if !c.ResultBlob.fits() {
		return &Outcome{Code: Code_MISFIT}, nil
	}
	old, out, err := a.current(c.Key, c.Attempt)
	if old == nil {
		return out, err
	}
	t := old.next()
	t.StartedMs = max(old.AssignedMs, a.now-c.RunUs/1000)
	t.Log = c.Log[max(0, len(c.Log)-maxLog):]
	if c.Error == nil {
		t.Result, t.ResultBlob = c.Result, c.ResultBlob
		t.end(a.now, Status_SUCCESS, "")
		a.put(old, t)
		return &Outcome{Status: t.Status}, nil
	}
	t.Failures++
	if c.Permanent || t.Failures >= max(1, t.Retry.GetMaxAttempts()) {
		t.Error = c.Error
		t.end(a.now, Status_FAILURE, c.Reason)
	} else {
		t.endAttempt(a.now, c.Reason, c.Error.Message)
		t.Status, t.DueMs = Status_RETRY, a.now+max(0, c.RetryInMs)
		t.Log = bytes.Clone(t.Log) // see newTask
	}
	a.put(old, t)
	return &Outcome{Status: t.Status}, nil
}

func (a *applier) release(c *Release) (*Outcome, error) {
	old, out, err := a.current(c.Key, c.Attempt)
	if old == nil {
		return out, err
	}
	t := a.requeue(old, c.Reason)
	return &Outcome{Status: t.Status}, nil
}

// requeue ends the current attempt of a task without an outcome. It keeps its
// place in the queue. Only lost nodes are counted, and only so many.
func (a *applier) requeue(old *Task, reason string) *Task {
	t := old.next()
	if reason == ReasonWorkerLost {
		t.Lost++
	}
	if t.Lost >= maxLost {
		t.Error = &Failure{Type: "WorkerLost", Message: fmt.Sprintf("the node that ran it was lost %d times: the task may be what kills it", t.Lost)}
		t.end(a.now, Status_FAILURE, reason)
	} else {
		t.Status = Status_PENDING
		if reason != ReasonNotStarted {
			t.endAttempt(a.now, reason, "")
		}
	}
	a.put(old, t)
	return t
}

func (a *applier) cancel(c *Cancel) (*Outcome, error) {
	old, err := a.taskByID(c.Id)
	if err != nil || old == nil {
		return &Outcome{Code: Code_NOT_FOUND}, err
	}
	if old.Status.Final() {
		return &Outcome{Code: Code_FINISHED, Status: old.Status}, nil
	}
	t := old.next()
	t.end(a.now, Status_REVOKED, ReasonCancelled)
	a.put(old, t)
	return &Outcome{Status: t.Status}, nil
}

// tick makes due tasks ready, in the order of their times.
func (a *applier) tick(c *Tick) (*Outcome, error) {
	var due []Key
	a.index.due.Ascend(func(l *live) bool {
		if l.due > a.now || len(due) >= int(c.Limit) {
			return false
		}
		due = append(due, l.key)
		return true
	})
	for _, k := range due {
		old, err := a.task(k)
		if err != nil {
			return nil, err
		}
		t := old.next()
		a.seq++
		t.Status, t.Order = Status_PENDING, a.seq
		a.put(old, t)
	}
	return &Outcome{}, nil
}
