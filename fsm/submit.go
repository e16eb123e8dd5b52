package fsm

import (
	"bytes"
	"strings"
)

// maxNameLen bounds ids of the caller's choice and Idempotency-Keys, in bytes; the
// API allows less. The store takes no longer keys.
const maxNameLen = 1024

func (a *applier) submit(c *Submit) (*Outcome, error) {
	if len(c.IdempotencyKey) > maxNameLen {
		return &Outcome{Code: Code_MISFIT}, nil
	}
	once, owner := a.ownKey(c.IdempotencyKey), a.owner()
	if out, err := a.answered(once, c.BodyHash); out != nil || err != nil {
		return out, err
	}
	ids := make([]string, len(c.Tasks))
	tasks := make([]*Task, len(c.Tasks))
	var names map[string]bool
	for i, n := range c.Tasks {
		if len(n.Key) != len(Key{}) || len(n.Name) > maxNameLen || !n.ArgsBlob.fits() || n.ArgsBlob != nil && len(n.Args) > 0 {
			return &Outcome{Code: Code_MISFIT}, nil
		}
		old, err := a.task(Key(n.Key))
		if err != nil {
			return nil, err
		}
		if old != nil { // this very command, a second time
			return a.same(c)
		}
		if n.Name != "" {
			if out, err := a.named(c, n, owner, names); out != nil || err != nil {
				return out, err
			}
			if names == nil {
				names = map[string]bool{}
			}
			names[n.Name] = true
		}
		if _, ok := ParseWhere(n.Where); n.Where != "" && !ok {
			return &Outcome{Code: Code_MISFIT}, nil
		}
		if !a.installed(n) {
			return &Outcome{Code: Code_NO_PACK}, nil
		}
		tasks[i] = a.newTask(n, owner)
		ids[i] = tasks[i].ID()
	}
	for _, t := range tasks {
		a.seq++
		t.Order = a.seq
		a.put(nil, t)
		if t.Name != "" {
			k := Key(t.Key)
			a.active.names[t.Name] = &k
		}
	}
	if once != "" {
		if err := a.lapse(once); err != nil {
			return nil, err
		}
		a.active.keys[once] = &Remembered{BodyHash: c.BodyHash, Ids: ids, UntilMs: a.now + c.KeepKeyMs}
	}
	out := &Outcome{Ids: ids}
	if len(tasks) > 0 {
		out.Status = tasks[0].Status
	}
	return out, nil
}

// lapse forgets until when an Idempotency-Key was kept, before it is kept anew.
func (a *applier) lapse(key string) error {
	r, err := a.remembered(key)
	if r != nil {
		a.active.lapsed = append(a.active.lapsed, untilKey(r.UntilMs, key))
	}
	return err
}

// answered returns the first answer to a request that is sent again under its
// Idempotency-Key, or nil.
func (a *applier) answered(key string, hash []byte) (*Outcome, error) {
	if key == "" {
		return nil, nil
	}
	r, err := a.remembered(key)
	if err != nil || r == nil || r.UntilMs <= a.now {
		return nil, err
	}
	if !bytes.Equal(r.BodyHash, hash) {
		return &Outcome{Code: Code_KEY_REUSED}, nil
	}
	return a.existing(r.Ids)
}

// same answers a Submit that has been applied before.
func (a *applier) same(c *Submit) (*Outcome, error) {
	ids := make([]string, len(c.Tasks))
	for i, n := range c.Tasks {
		if ids[i] = n.Name; n.Name == "" {
			ids[i] = Key(n.Key).String()
		}
	}
	return a.existing(ids)
}

// named checks the id of the caller's choice. A single task that its owner sends again
// as it was is answered again; anything else that is taken is refused.
func (a *applier) named(c *Submit, n *New, owner string, seen map[string]bool) (*Outcome, error) {
	taken := &Outcome{Code: Code_ID_TAKEN, Ids: []string{n.Name}}
	if seen[n.Name] {
		return taken, nil
	}
	old, err := a.taskByID(n.Name)
	if err != nil || old == nil {
		return nil, err
	}
	same := old.Name == n.Name && old.Owner == owner && old.Type == n.Type && bytes.Equal(old.Args, n.Args) && old.ArgsBlob.same(n.ArgsBlob)
	if len(c.Tasks) == 1 && same {
		return a.existing([]string{n.Name})
	}
	return taken, nil
}

func (a *applier) existing(ids []string) (*Outcome, error) {
	out := &Outcome{Ids: ids}
	if len(ids) == 0 {
		return out, nil
	}
	t, err := a.taskByID(ids[0])
	if t != nil {
		out.Status = t.Status
	}
	return out, err
}

// newTask returns the record of a new task. It shares no memory with the log entry,
// which would be kept as long as the task.
func (a *applier) newTask(n *New, owner string) *Task {
	ty := a.index.typeOf(n.Type, n.Release)
	t := &Task{
		Key: bytes.Clone(n.Key), Name: strings.Clone(n.Name), Type: ty.kind, Release: ty.release, Args: bytes.Clone(n.Args),
		Priority: min(n.Priority, MaxPriority), Retry: n.Retry, TimeoutMs: n.TimeoutMs,
		CreatedMs: a.now, DueMs: n.EtaMs, Status: Status_PENDING, ArgsBlob: n.ArgsBlob.copyOf(),
		Owner: owner, Where: strings.Clone(n.Where),
	}
	for _, tag := range n.Tags {
		t.Tags = append(t.Tags, strings.Clone(tag))
	}
	if n.EtaMs == 0 && n.DelayMs > 0 {
		t.DueMs = a.now + n.DelayMs
	}
	if t.DueMs > a.now {
		t.Status = Status_SCHEDULED
	} else if a.fits(n.Place) {
		t.assign(a.now, n.Place)
	}
	return t
}

// fits says whether tasks may be placed there: that start of that node is the
// current one, and takes work.
func (a *applier) fits(p *Place) bool {
	n := a.nodes[p.GetNode()]
	return n != nil && n.Boot == p.Boot && n.Takes()
}
