package fsm

import (
	"context"
	"maps"
	"strings"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// Task returns the record of the task that callers know by id, or ErrNotFound.
func (s *State) Task(id string) (*Task, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.taskByID(id)
	if err == nil && t == nil {
		err = ErrNotFound
	}
	return t, err
}

// Counts tells how many tasks there are.
type Counts struct {
	Tasks         [Status_REVOKED + 1]int // by status
	Live          int                     // unfinished
	LiveBytes     int64                   // of their args and logs, blobs too
	Finished      int
	FinishedBytes int64 // of their records, and of the blobs that these name
}

// Counts counts the tasks in the state.
func (s *State) Counts() Counts {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := Counts{Tasks: s.done.counts, LiveBytes: s.index.bytes, FinishedBytes: s.done.bytes}
	for _, n := range s.done.counts {
		c.Finished += n
	}
	for status, n := range s.index.counts {
		c.Tasks[status] += n
		c.Live += n
	}
	return c
}

// Ready is a pending task as the scheduler sees it.
type Ready struct {
	Key      Key
	Type     string
	Pack     string // WaitKey
	Priority uint8
	Order    uint64
	Attempt  uint32 // the last one's number, 0 before the first
}

// PendingPacks returns how many pending tasks there are by WaitKey; where there are none the key is
// left out.
func (s *State) PendingPacks() map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	packs := map[string]int{}
	for key, p := range s.index.packs {
		if n := p.ready.len(); n > 0 {
			packs[key] = n
		}
		for where, q := range p.placed {
			packs[key+" "+where] = q.len()
		}
	}
	return packs
}

// Pending calls visit for the pending tasks of one WaitKey and priority whose place
// in the queue is behind after, in order, until visit returns false. Visit must
// not write to the state.
func (s *State) Pending(wait string, priority uint8, after uint64, visit func(Ready) bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	pack, where, _ := strings.Cut(wait, " ")
	p := s.index.packs[pack]
	if p == nil {
		return
	}
	q := &p.ready
	if where != "" {
		q = p.placed[where]
	}
	if q == nil || q[priority] == nil {
		return
	}
	q[priority].AscendGreaterOrEqual(&live{order: after + 1}, func(l *live) bool {
		return visit(Ready{Key: l.key, Type: l.kind, Pack: wait, Priority: l.priority, Order: l.order, Attempt: l.attempt})
	})
}

// Load returns how many unfinished tasks of each type are assigned to each node.
func (s *State) Load() map[uint32]map[string]int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(map[uint32]map[string]int, len(s.index.assigned))
	for node, g := range s.index.assigned {
		out[node] = maps.Clone(g.kinds)
	}
	return out
}

// Live returns the type of an unfinished task, and where its current attempt
// runs; ok is false for tasks that are finished or unknown. For a task that is not
// STARTED, a.At is where it ran last.
func (s *State) Live(k Key) (a Assignment, status Status, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l, ok := s.index.tasks[k]
	if !ok {
		return Assignment{}, Status_UNKNOWN, false
	}
	return Assignment{l.key, l.kind, l.at, l.attempt}, l.status, true
}

// TaskByKey returns the record of a task, nil if there is none.
func (s *State) TaskByKey(k Key) (*Task, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.task(k)
}

// NextDue returns the earliest time at which a scheduled task is due, in ms since
// 1970.
func (s *State) NextDue() (ms int64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l, ok := s.index.due.Min()
	if !ok {
		return 0, false
	}
	return l.due, true
}

// WaitingSince returns when the pending task that has been in the queue for longest was queued, or due, in ms since 1970; 0 where
// none is pending. One that was given to a node in vain is as old as it was before.
func (s *State) WaitingSince() (ms int64, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var oldest *live
	for _, p := range s.index.packs {
		for _, q := range p.ready {
			if q == nil {
				continue
			}
			if l, ok := q.Min(); ok && (oldest == nil || l.order < oldest.order) {
				oldest = l
			}
		}
	}
	if oldest == nil {
		return 0, nil
	}
	t, err := s.task(oldest.key)
	if err != nil || t == nil {
		return 0, err
	}
	return max(t.CreatedMs, t.DueMs), nil
}

// Assignment is a task that a node has been given.
type Assignment struct {
	Key     Key
	Type    string
	At      Start
	Attempt uint32
}

// Assigned returns what a node has been given and not finished, in the order of
// the queue.
func (s *State) Assigned(node uint32) []Assignment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ls := s.index.assignedTo(node)
	out := make([]Assignment, len(ls))
	for i, l := range ls {
		out[i] = Assignment{l.key, l.kind, l.at, l.attempt}
	}
	return out
}

// Oldest returns the time of the oldest finished task, in ms since 1970, and
// of the first Idempotency-Key to lapse; 0 where there is none. Both are of what
// the store holds: some milliseconds old.
func (s *State) Oldest() (finishedMs, keyMs int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_ = s.view(func(tx *bolt.Tx) error {
		if k, _ := readBucket(tx, bucketExpiry).cursor().first(); k != nil {
			finishedMs = int64(readU64(k[:8]))
		}
		if k, _ := readBucket(tx, bucketKeyUntil).cursor().first(); k != nil {
			keyMs = int64(readU64(k[:8]))
		}
		return nil
	})
	return finishedMs, keyMs
}

// hub wakes who waits for a task to finish.
type hub struct {
	mu      sync.Mutex
	waiting map[Key][]chan *Task // guarded by mu; each has room for one
}

func (h *hub) finished(t *Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 {
		return
	}
	for _, ch := range h.waiting[Key(t.Key)] {
		ch <- t
	}
	delete(h.waiting, Key(t.Key))
}

func (h *hub) add(k Key) chan *Task {
	ch := make(chan *Task, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting[k] = append(h.waiting[k], ch)
	return ch
}

func (h *hub) remove(k Key, ch chan *Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	chans := h.waiting[k]
	for i, c := range chans {
		if c == ch {
			chans[i] = chans[len(chans)-1]
			h.waiting[k] = chans[:len(chans)-1]
			break
		}
	}
	if len(h.waiting[k]) == 0 {
		delete(h.waiting, k)
	}
}

// WaitFinished returns the record of a task once it is final, or ctx ends; then
// with the cause. A task that this state does not know is waited for if its id is
// a key, as it may be on its way here; otherwise it is ErrNotFound.
func (s *State) WaitFinished(ctx context.Context, id string) (*Task, error) {
	s.mu.RLock()
	k, ok, err := s.key(id)
	s.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrNotFound
	}
	ch := s.hub.add(k)
	defer s.hub.remove(k, ch)
	t, err := s.TaskByKey(k)
	if err != nil || t != nil && t.Status.Final() {
		return t, err
	}
	select {
	case t := <-ch:
		return t, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// wakeAll tells everyone who waits for a task that is final by now, after the
// whole state was replaced.
func (h *hub) wakeAll(s *State) {
	h.mu.Lock()
	keys := make([]Key, 0, len(h.waiting))
	for k := range h.waiting {
		keys = append(keys, k)
	}
	h.mu.Unlock()
	for _, k := range keys {
		if t, err := s.TaskByKey(k); err == nil && t != nil && t.Status.Final() {
			h.finished(t)
		}
	}
}
