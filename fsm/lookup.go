package fsm

import (
	"bytes"
	"errors"

	bolt "go.etcd.io/bbolt"
)

// view reads the store. mu is held.
func (s *State) view(f func(tx *bolt.Tx) error) error {
	if broken := s.broken.Load(); broken != nil && errors.Is(broken, errDamaged) {
		return broken
	}
	return s.checked(s.db.view(f))
}

// task returns the record of a task, nil if there is none. mu is held.
func (s *State) task(k Key) (*Task, error) {
	l := s.index.tasks[k]
	if l != nil && l.record != nil {
		return l.record, nil
	}
	if c, ok := s.active.tasks[k]; ok {
		return c.Task, nil
	}
	if s.sealed != nil {
		if c, ok := s.sealed.tasks[k]; ok {
			return c.Task, nil
		}
	}
	if bytes.Compare(k[:], s.newest[:]) > 0 {
		return nil, nil // most new tasks: their keys are newer than all in the store
	}
	return s.readTask(k, l)
}

// readTask reads a task's record from the store, nil if there is none. l is what the
// index has of it, nil if it is not unfinished. mu is held.
func (s *State) readTask(k Key, l *live) (*Task, error) {
	bucket := bucketDone
	if l != nil {
		bucket = bucketLive
	}
	var t *Task
	err := s.view(func(tx *bolt.Tx) (err error) {
		val, ok := readBucket(tx, bucket).get(k[:])
		if !ok && l == nil {
			return nil
		}
		if t, err = decodeTask(val); err != nil {
			return err
		}
		if l != nil && (t.Status != l.status || t.Attempt != l.attempt || t.Order != l.order) {
			return damaged("the record of task %s is missing or an old one", k)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// taskByID returns the record of the task that callers know by id, nil if there is
// none. A task with an id of its caller's choice is not known by its key. mu is held.
func (s *State) taskByID(id string) (*Task, error) {
	k, ok, err := s.key(id)
	if !ok {
		return nil, err
	}
	t, err := s.task(k)
	if t == nil || t.ID() != id {
		return nil, err
	}
	return t, nil
}

// key returns the key of the task that callers know by id. mu is held.
func (s *State) key(id string) (k Key, ok bool, err error) {
	for _, m := range []*memtable{s.active, s.sealed} {
		if m == nil {
			continue
		}
		if k, ok := m.names[id]; ok {
			if k == nil { // purged; the store may still have it
				key, ok := ParseKey(id)
				return key, ok, nil
			}
			return *k, true, nil
		}
	}
	err = s.view(func(tx *bolt.Tx) error {
		var v []byte
		if v, ok = readBucket(tx, bucketNames).get([]byte(id)); ok && copy(k[:], v) < len(k) {
			return damaged("the name %q leads to %x", id, v)
		}
		return nil
	})
	if err != nil {
		return Key{}, false, err
	}
	if !ok {
		k, ok = ParseKey(id)
	}
	return k, ok, nil
}

// remembered returns what an Idempotency-Key stands for, nil if nothing. mu is
// held.
func (s *State) remembered(key string) (*Remembered, error) {
	for _, m := range []*memtable{s.active, s.sealed} {
		if m == nil {
			continue
		}
		if r, ok := m.keys[key]; ok {
			return r, nil
		}
	}
	var r *Remembered
	err := s.view(func(tx *bolt.Tx) (err error) {
		if val, ok := readBucket(tx, bucketKeys).get([]byte(key)); ok {
			r, err = decodeRemembered(val)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}
