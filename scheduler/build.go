package scheduler

import (
	"math"
	"math/rand/v2"
	"time"

	"pytasks/fsm"
)

const (
	// A log entry holds about so many commands and bytes; a call is never split.
	maxEntryCommands = 512
	maxEntryBytes    = 256 << 10
	// tickLimit is how many due tasks one entry makes ready.
	tickLimit = 1000
	// oldestEvery is how often the oldest pending task goes first, whatever its
	// priority, so that none waits for ever.
	oldestEvery = 16
)

// entry is a log entry being made.
type entry struct {
	now    int64
	cmds   []*fsm.Command
	asked  []*request
	from   []origin    // of each command
	placed []placement // tasks given to nodes
	taken  []fsm.Ready // pending tasks that it assigns
	submit int         // tasks that it queues
	ticks  bool
	bytes  int
}

// origin is where a command's outcome goes: a request's i-th answer, or nowhere.
type origin struct {
	r *request
	i int
}

// placement is a task on its way to a node.
type placement struct {
	at   fsm.Start
	id   string // the node's
	task *fsm.Task
}

// answer gives every request of the entry its outcomes, or err.
func (e *entry) answer(outs []*fsm.Outcome, err error) {
	for i, out := range outs {
		if o := e.from[i]; o.r != nil {
			o.r.outs[o.i] = out
		}
	}
	for _, r := range e.asked {
		r.answer(err)
	}
}

func (e *entry) add(c *fsm.Command, o origin) {
	e.cmds = append(e.cmds, c)
	e.from = append(e.from, o)
	e.bytes += size(c)
}

// build makes the next entry: the commands that were asked for, stamped with what
// only the leader decides, and assignments of pending tasks to free slots.
func (t *term) build(rs []*request) *entry {
	e := &entry{now: t.clock.now(), asked: rs}
	if ms, ok := t.cfg.State.NextDue(); ok && ms <= e.now && !t.flight.ticking() {
		e.ticks = true
		e.add(&fsm.Command{Kind: &fsm.Command_Tick{Tick: &fsm.Tick{Limit: tickLimit}}}, origin{})
	}
	b := t.board()
	for _, r := range rs {
		for i, c := range r.cmds {
			t.stamp(e, b, c, origin{r, i})
		}
	}
	t.assignPending(e, b)
	t.flight.launch(e)
	return e
}

// stamp adds a command that was asked for to the entry.
func (t *term) stamp(e *entry, b *board, c *fsm.Command, o origin) {
	switch k := c.Kind.(type) {
	case *fsm.Command_Submit:
		if out := t.refuse(k.Submit, e); out != nil {
			o.r.outs[o.i] = out
			t.metrics.refused.Add(float64(len(k.Submit.Tasks)))
			return
		}
		for _, n := range k.Submit.Tasks {
			n.Place = nil // a second try may come with the first one's
			t.place(e, b, n)
		}
		e.submit += len(k.Submit.Tasks)
	case *fsm.Command_Finish:
		t.stampFinish(k.Finish)
	}
	e.add(c, o)
}

// refuse says why a Submit may not be queued now, nil if it may. Nothing else is ever
// refused: what finishes, cancels or purges makes room.
func (t *term) refuse(s *fsm.Submit, e *entry) *fsm.Outcome {
	if t.full(s, e) || t.scattered(s) {
		return &fsm.Outcome{Code: fsm.Code_QUEUE_FULL}
	}
	if n := t.workers.shortOfDisk(); n != nil {
		return &fsm.Outcome{Code: fsm.Code_DISK_FULL, Node: n.Number}
	}
	return nil
}

// maxPlaces bounds how many different keys tasks wait by: each is looked at for every entry.
const maxPlaces = 1000

// scattered says whether a Submit asks for places while tasks wait for very many different ones.
func (t *term) scattered(s *fsm.Submit) bool {
	for _, n := range s.Tasks {
		if n.Where != "" {
			return len(t.cfg.State.PendingPacks()) >= maxPlaces
		}
	}
	return false
}

// full says whether the queue has no room for a Submit. What is in flight counts.
func (t *term) full(s *fsm.Submit, e *entry) bool {
	size := int64(0)
	for _, n := range s.Tasks {
		size += int64(len(n.Args)) + n.ArgsBlob.GetSize()
	}
	c := t.cfg.State.Counts()
	return c.Live+t.flight.submitting()+e.submit+len(s.Tasks) > t.cfg.MaxQueued || c.LiveBytes+size > t.cfg.MaxQueuedBytes
}

// stampFinish draws when a failed attempt is tried again, and learns how long the
// task took.
func (t *term) stampFinish(f *fsm.Finish) {
	if len(f.Key) != len(fsm.Key{}) {
		return
	}
	key := fsm.Key(f.Key)
	if f.RunUs > 0 {
		if a, _, ok := t.cfg.State.Live(key); ok {
			t.pace.ran(a.Type, time.Duration(f.RunUs)*time.Microsecond)
		}
	}
	if f.Error == nil || f.Permanent {
		return
	}
	if task, err := t.cfg.State.TaskByKey(key); err == nil && task != nil {
		f.RetryInMs = backoff(task.Retry, task.Failures+1, rand.Float64())
	}
}

// backoff returns how long the n-th retry waits, in ms: initial * factor^(n-1), at
// most max, spread by jitter. draw is from 0 to 1.
func backoff(r *fsm.Retry, n uint32, draw float64) int64 {
	if r == nil {
		return 0
	}
	ms := float64(r.InitialMs) * math.Pow(max(1, r.Factor), float64(n-1))
	if r.MaxMs > 0 {
		ms = min(ms, float64(r.MaxMs))
	}
	ms *= 1 + r.Jitter*(2*draw-1)
	return int64(max(0, min(ms, float64(math.MaxInt64/4))))
}

// place puts a new task on a node in the same entry that queues it, if it may run
// now, a slot is free and nobody waits before it.
func (t *term) place(e *entry, b *board, n *fsm.New) {
	pack := t.packs.key(n.Type, n.Release, n.Where)
	if n.DelayMs > 0 || n.EtaMs > e.now || b.waiting(pack) {
		return
	}
	w := b.pick(pack, n.Type, 0)
	if w == nil {
		b.wait(pack)
		return
	}
	n.Place = &fsm.Place{Node: w.Number, Boot: w.Boot}
	e.placed = append(e.placed, placement{fsm.Start{Node: w.Number, Boot: w.Boot}, w.ID, &fsm.Task{
		Key: n.Key, Name: n.Name, Type: n.Type, Release: n.Release, Args: n.Args, ArgsBlob: n.ArgsBlob,
		TimeoutMs: n.TimeoutMs, Attempt: 1, Place: n.Place,
	}})
}

// assignPending fills the entry with assignments of pending tasks: by priority,
// then in the order of the queue, and now and then the oldest of all.
func (t *term) assignPending(e *entry, b *board) {
	q := newPending(t.cfg.State, b, t.flight)
	for len(e.cmds) < maxEntryCommands && e.bytes < maxEntryBytes {
		r, ok := q.next((t.turn+1)%oldestEvery == 0)
		if !ok {
			return
		}
		task, err := t.cfg.State.TaskByKey(r.Key)
		if err != nil || task == nil || task.Status != fsm.Status_PENDING {
			continue // it changed since it was listed
		}
		w := b.pick(r.Pack, r.Type, task.Place.GetNode())
		if w == nil {
			continue
		}
		t.turn++
		p := &fsm.Place{Node: w.Number, Boot: w.Boot}
		e.add(&fsm.Command{Kind: &fsm.Command_Assign{Assign: &fsm.Assign{
			Key: task.Key, Attempt: task.Attempt + 1, Place: p,
		}}}, origin{})
		e.taken = append(e.taken, r)
		e.placed = append(e.placed, placement{fsm.Start{Node: w.Number, Boot: w.Boot}, w.ID, &fsm.Task{
			Key: task.Key, Name: task.Name, Type: task.Type, Release: task.Release, Args: task.Args, ArgsBlob: task.ArgsBlob,
			TimeoutMs: task.TimeoutMs, Attempt: task.Attempt + 1, Place: p,
		}})
	}
}

// nudge tells the nodes at once what the entry gave them. What the state does not
// show as given is left out: the log has the last word.
func (t *term) nudge(index uint64, e *entry) {
	var nudges map[string]*fsm.Nudge
	for _, p := range e.placed {
		a, status, ok := t.cfg.State.Live(fsm.Key(p.task.Key))
		if !ok || status != fsm.Status_STARTED || a.At != p.at || a.Attempt != p.task.Attempt {
			continue
		}
		if nudges == nil {
			nudges = map[string]*fsm.Nudge{}
		}
		n := nudges[p.id]
		if n == nil {
			n = &fsm.Nudge{Index: index}
			nudges[p.id] = n
		}
		n.Tasks = append(n.Tasks, p.task)
	}
	for id, n := range nudges {
		t.cfg.Cluster.Nudge(id, n)
	}
}
