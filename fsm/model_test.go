package fsm

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"
)

// model is the state machine told a second time and as plainly as can be: records in
// maps that every command walks from end to end, no index, no store, no cache. It is
// written from fsm.proto and doc.go and calls nothing of what it is to check; what both
// share are the messages.
type model struct {
	index uint64 // of the entry that is applied
	now   int64
	order uint64
	tasks map[Key]*Task  // replaced, never changed
	ended map[Key]uint64 // finished tasks: the entry that finished them
	keys  map[string]*Remembered
	nodes map[uint32]*Node // replaced, never changed
	packs map[string]*Pack // replaced, never changed
	users map[string]*User // replaced, never changed

	signing  *Keys     // replaced, never changed
	rotation *Rotation // replaced, never changed
	audits   []noted   // in the order of the log
	number   int       // of the command in its entry
	sub      string    // who asked for it
	what     string    // it changed, where the audit log says so
}

func newModel() *model {
	return &model{
		tasks: map[Key]*Task{}, ended: map[Key]uint64{}, keys: map[string]*Remembered{}, nodes: map[uint32]*Node{},
		packs: map[string]*Pack{}, users: map[string]*User{},
	}
}

// begin starts an entry.
func (m *model) begin(index uint64, now int64) {
	m.index, m.now, m.number = index, max(m.now, now), 0
}

// command applies one command of the entry and says what its outcome must be.
func (m *model) command(c *Command) *Outcome {
	m.sub, m.what = c.Actor.GetSub(), ""
	out := &Outcome{Code: Code_MISFIT}
	if len(m.sub) <= 64 {
		out = m.obey(c)
	}
	m.audit(m.number, c, out)
	m.number++
	return out
}

func (m *model) obey(c *Command) *Outcome {
	switch k := c.Kind.(type) {
	case *Command_Submit:
		return m.submit(k.Submit)
	case *Command_Assign:
		return m.assign(k.Assign)
	case *Command_Finish:
		return m.finish(k.Finish)
	case *Command_Release:
		t, out := m.fence(k.Release.Key, k.Release.Attempt)
		if t != nil {
			out = &Outcome{Status: m.requeue(t, k.Release.Reason)}
		}
		return out
	case *Command_Cancel:
		return m.cancel(k.Cancel.Id)
	case *Command_Tick:
		return m.tick(k.Tick)
	case *Command_Purge:
		return m.purge(k.Purge)
	case *Command_NodeUp:
		return m.nodeUp(k.NodeUp)
	case *Command_NodeDown:
		return m.nodeDown(k.NodeDown)
	case *Command_NodeDrain:
		return m.nodeDrain(k.NodeDrain)
	case *Command_NodePacks:
		return m.changeNode(k.NodePacks.Place, func(n *Node) { n.Packs = k.NodePacks.Packs })
	case *Command_NodeLabel:
		return m.nodeLabel(k.NodeLabel)
	case *Command_PackPut:
		return m.packPut(k.PackPut)
	case *Command_PackUse:
		return m.packUse(k.PackUse)
	case *Command_UserPut:
		return m.userPut(k.UserPut)
	case *Command_UserRemove:
		return m.userRemove(k.UserRemove.Name)
	case *Command_KeysPut:
		return m.keysPut(k.KeysPut)
	case *Command_SecretPut:
		return m.secretPut(k.SecretPut)
	default:
		return m.packRemove(c.GetPackRemove())
	}
}

// byID returns the task that callers know by id.
func (m *model) byID(id string) *Task {
	for k, t := range m.tasks {
		if t.Name == id || t.Name == "" && k.String() == id {
			return t
		}
	}
	return nil
}

// inOrder returns the tasks that fit, in the order of the queue.
func (m *model) inOrder(fits func(*Task) bool) []*Task {
	var ts []*Task
	for _, t := range m.tasks {
		if fits(t) {
			ts = append(ts, t)
		}
	}
	slices.SortFunc(ts, func(a, b *Task) int { return cmp.Compare(a.Order, b.Order) })
	return ts
}

// change replaces the record of a task by a copy that f has changed.
func (m *model) change(t *Task, f func(*Task)) Status {
	t = proto.CloneOf(t)
	f(t)
	key := Key(t.Key)
	if t.Status == Status_SUCCESS || t.Status == Status_FAILURE || t.Status == Status_REVOKED {
		t.FinishedMs = m.now
		m.ended[key] = m.index
	}
	m.tasks[key] = t
	return t.Status
}

func (m *model) submit(c *Submit) *Outcome {
	ids := make([]string, len(c.Tasks))
	for i, n := range c.Tasks {
		if ids[i] = n.Name; n.Name == "" && len(n.Key) == 16 {
			ids[i] = Key(n.Key).String()
		}
	}
	once := c.IdempotencyKey
	if once != "" && m.sub != "" {
		once = m.sub + "\x00" + once
	}
	r := m.keys[once]
	switch {
	case len(c.IdempotencyKey) > 1024:
		return &Outcome{Code: Code_MISFIT}
	case r != nil && r.UntilMs > m.now && !bytes.Equal(r.BodyHash, c.BodyHash):
		return &Outcome{Code: Code_KEY_REUSED}
	case r != nil && r.UntilMs > m.now:
		return m.again(r.Ids)
	}
	for i, n := range c.Tasks {
		if len(n.Key) != 16 || len(n.Name) > 1024 || !nameable(n.ArgsBlob) || n.ArgsBlob != nil && len(n.Args) != 0 {
			return &Outcome{Code: Code_MISFIT}
		}
		if m.tasks[Key(n.Key)] != nil {
			return m.again(ids)
		}
		misplaced := n.Where == "zone=,x" || n.Where == "b=1,a=1"
		if n.Name == "" && misplaced {
			return &Outcome{Code: Code_MISFIT}
		}
		if n.Name == "" && !m.takes(n) {
			return &Outcome{Code: Code_NO_PACK}
		}
		if n.Name == "" {
			continue
		}
		old := m.byID(n.Name)
		if old != nil && len(c.Tasks) == 1 && old.Name == n.Name && old.Owner == m.sub && old.Type == n.Type && bytes.Equal(old.Args, n.Args) &&
			bytes.Equal(old.ArgsBlob.GetDigest(), n.ArgsBlob.GetDigest()) {
			return m.again(ids)
		}
		if old != nil || slices.Contains(ids[:i], n.Name) {
			return &Outcome{Code: Code_ID_TAKEN, Ids: []string{n.Name}}
		}
		if misplaced {
			return &Outcome{Code: Code_MISFIT}
		}
		if !m.takes(n) {
			return &Outcome{Code: Code_NO_PACK}
		}
	}
	out := &Outcome{Ids: ids}
	for i, n := range c.Tasks {
		if s := m.queue(n); i == 0 {
			out.Status = s
		}
	}
	if c.IdempotencyKey != "" {
		m.keys[once] = &Remembered{BodyHash: c.BodyHash, Ids: ids, UntilMs: m.now + c.KeepKeyMs}
	}
	return out
}

// again answers a Submit that was answered before, with these ids.
func (m *model) again(ids []string) *Outcome {
	out := &Outcome{Ids: ids}
	if t := m.byID(ids[0]); t != nil {
		out.Status = t.Status
	}
	return out
}

func (m *model) queue(n *New) Status {
	m.order++
	t := &Task{
		Key: n.Key, Name: n.Name, Type: n.Type, Args: n.Args, Priority: min(n.Priority, 9), Retry: n.Retry, Tags: n.Tags,
		TimeoutMs: n.TimeoutMs, CreatedMs: m.now, DueMs: n.EtaMs, Order: m.order, Release: n.Release, ArgsBlob: n.ArgsBlob,
		Owner: m.sub, Where: n.Where,
	}
	if n.EtaMs == 0 && n.DelayMs > 0 {
		t.DueMs = m.now + n.DelayMs
	}
	return m.change(t, func(t *Task) {
		switch {
		case t.DueMs > m.now:
			t.Status = Status_SCHEDULED
		case m.open(n.Place):
			m.start(t, n.Place)
		default:
			t.Status = Status_PENDING
		}
	})
}

// open says whether that start of that node takes tasks.
func (m *model) open(p *Place) bool {
	n := m.nodes[p.GetNode()]
	return n != nil && n.Boot == p.Boot && !n.Down && !n.Gone && !n.Draining && n.Drain == nil
}

func (m *model) start(t *Task, p *Place) {
	t.Status, t.Place, t.AssignedMs = Status_STARTED, p, m.now
	t.Attempt++
}

func (m *model) assign(c *Assign) *Outcome {
	t := m.tasks[keyOf(c.Key)]
	if t == nil {
		return &Outcome{Code: Code_NOT_FOUND}
	}
	due := (t.Status == Status_SCHEDULED || t.Status == Status_RETRY) && t.DueMs <= m.now
	if t.Status != Status_PENDING && !due || c.Attempt != t.Attempt+1 || !m.open(c.Place) {
		return &Outcome{Code: Code_MISFIT, Status: t.Status}
	}
	return &Outcome{Status: m.change(t, func(t *Task) { m.start(t, c.Place) })}
}

// keyOf returns a key that no task has for bytes that are none.
func keyOf(b []byte) Key {
	if len(b) != 16 {
		return Key{0: 0xff}
	}
	return Key(b)
}

// fence returns a task whose current attempt is running and is that one, or else the
// outcome.
func (m *model) fence(key []byte, attempt uint32) (*Task, *Outcome) {
	t := m.tasks[keyOf(key)]
	if t == nil {
		return nil, &Outcome{Code: Code_NOT_FOUND}
	}
	if t.Status != Status_STARTED || t.Attempt != attempt {
		return nil, &Outcome{Code: Code_STALE, Status: t.Status}
	}
	return t, nil
}

// nameable says whether a command may name a blob, or names none.
func nameable(b *Blob) bool { return b == nil || len(b.Digest) == 32 && b.Size > 0 }

func (m *model) finish(c *Finish) *Outcome {
	if !nameable(c.ResultBlob) {
		return &Outcome{Code: Code_MISFIT}
	}
	t, out := m.fence(c.Key, c.Attempt)
	if t == nil {
		return out
	}
	return &Outcome{Status: m.change(t, func(t *Task) {
		t.StartedMs = max(t.AssignedMs, m.now-c.RunUs/1000)
		t.Log = c.Log[max(0, len(c.Log)-64<<10):]
		if c.Error == nil {
			t.Status, t.Result, t.ResultBlob = Status_SUCCESS, c.Result, c.ResultBlob
			return
		}
		t.Failures++
		if c.Permanent || t.Failures >= max(1, t.Retry.GetMaxAttempts()) {
			t.Status, t.Error, t.Reason = Status_FAILURE, c.Error, c.Reason
			return
		}
		t.Status, t.DueMs = Status_RETRY, m.now+max(0, c.RetryInMs)
		m.past(t, c.Reason, c.Error.Message)
	})}
}

// past notes an attempt that did not finish its task; a record keeps twenty.
func (m *model) past(t *Task, reason, message string) {
	t.Past = append(t.Past, &Past{
		Attempt: t.Attempt, Node: t.Place.Node, StartMs: t.AssignedMs, EndMs: m.now, Reason: reason, Message: message,
	})
	t.Past = t.Past[max(0, len(t.Past)-20):]
}

// requeue ends an attempt without an outcome. The third lost node ends the task.
func (m *model) requeue(t *Task, reason string) Status {
	return m.change(t, func(t *Task) {
		if reason == "worker_lost" {
			t.Lost++
		}
		if t.Lost >= 3 {
			t.Status, t.Reason = Status_FAILURE, reason
			t.Error = &Failure{Type: "WorkerLost", Message: "the node that ran it was lost 3 times: the task may be what kills it"}
			return
		}
		t.Status = Status_PENDING
		if reason != "not_started" {
			m.past(t, reason, "")
		}
	})
}

func (m *model) cancel(id string) *Outcome {
	t := m.byID(id)
	switch {
	case t == nil:
		return &Outcome{Code: Code_NOT_FOUND}
	case m.ended[Key(t.Key)] != 0:
		return &Outcome{Code: Code_FINISHED, Status: t.Status}
	}
	return &Outcome{Status: m.change(t, func(t *Task) { t.Status, t.Reason = Status_REVOKED, "cancelled" })}
}

func (m *model) tick(c *Tick) *Outcome {
	due := m.inOrder(func(t *Task) bool {
		return (t.Status == Status_SCHEDULED || t.Status == Status_RETRY) && t.DueMs <= m.now
	})
	slices.SortStableFunc(due, func(a, b *Task) int { return cmp.Compare(a.DueMs, b.DueMs) })
	for _, t := range due[:min(len(due), int(c.Limit))] {
		m.order++
		m.change(t, func(t *Task) { t.Status, t.Order = Status_PENDING, m.order })
	}
	return &Outcome{}
}

// purge forgets the tasks that one entry finished together, the oldest entry first,
// until the limits are kept. What its own entry finished is counted and stays.
func (m *model) purge(c *Purge) *Outcome {
	count, size := uint64(len(m.ended)), uint64(0)
	for k := range m.ended {
		size += uint64(finishedSize(m.tasks[k]))
	}
	forgotten := uint32(0)
	for _, index := range slices.Compact(slices.Sorted(maps.Values(m.ended))) {
		var together []Key
		oldest := int64(math.MaxInt64)
		for k, i := range m.ended {
			if i == index {
				together = append(together, k)
				oldest = m.tasks[k].FinishedMs
			}
		}
		kept := oldest >= c.FinishedBeforeMs && count <= c.MaxCount && size <= c.MaxBytes
		if kept || index == m.index || forgotten >= c.Limit {
			break
		}
		for _, k := range together {
			count, size, forgotten = count-1, size-uint64(finishedSize(m.tasks[k])), forgotten+1
			delete(m.tasks, k)
			delete(m.ended, k)
		}
	}
	m.purgeAudits(c)
	return &Outcome{}
}

// finishedSize is what a finished task counts for, in bytes.
func finishedSize(t *Task) int64 {
	return int64(proto.Size(t)) + t.ArgsBlob.GetSize() + t.ResultBlob.GetSize()
}
