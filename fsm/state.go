package fsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// A memtable is written to the store when it is this old, or this large.
	// Most tasks should have finished by then: one that has not is written twice.
	flushAge  = 200 * time.Millisecond
	flushSize = 16 << 10
	// maxBehind is how large the next memtable may grow while one is written;
	// then applying waits for the disk.
	maxBehind = 4 * flushSize
)

// Config is what a State is opened with.
type Config struct {
	// Dir is where the state keeps its files; it exists.
	Dir string
	// Observe is told of every change after it is applied, in order, on the
	// goroutine that applies; it must be quick and may read the State. Nil: nobody
	// is told.
	Observe func(Changes)
	// Logger takes the state's log lines. Nil: discarded.
	Logger *slog.Logger
	// Fatal is called when the store can no longer be written: the node has to
	// stop. Nil: panic.
	Fatal func(error)
}

// Changes is what applying one log entry changed.
type Changes struct {
	Index uint64
	Tasks []Change
	Nodes bool // some node's record changed
	Reset bool // the whole state was replaced by a snapshot
}

// Change is one task's step from one record to the next. Old is nil for a new
// task.
type Change struct {
	Old, New *Task
}

// State is the replicated state: tasks, nodes and what the cluster remembers. Its
// records live in a bbolt file, what changed in the last moments in memory over
// it, and small indexes of the unfinished tasks beside them.
//
// Reads may be made from any goroutine and see all entries up to Applied.
// Records that it hands out are never changed again and must not be changed.
type State struct {
	cfg  Config
	boot *bootMark

	mu      sync.RWMutex
	db      *bolt.DB         // guarded by mu
	active  *memtable        // guarded by mu
	sealed  *memtable        // guarded by mu; being written, or nil
	flushed chan struct{}    // guarded by mu; closed when sealed has been written
	index   *index           // guarded by mu
	nodes   map[uint32]*Node // guarded by mu
	done    finished         // guarded by mu
	applied uint64           // guarded by mu
	stored  uint64           // guarded by mu; what the store has applied
	now     int64            // guarded by mu
	seq     uint64           // guarded by mu
	newest  Key              // guarded by mu; no key in the store is higher
	moved   chan struct{}    // guarded by mu; closed when applied grows and somebody waits
	waits   bool             // guarded by mu; somebody holds moved

	hub    hub
	wake   chan struct{} // to the flusher, capacity 1
	stop   chan struct{}
	wg     sync.WaitGroup
	closed sync.Once
}

// finished counts what is kept of finished tasks.
type finished struct {
	counts [Status_REVOKED + 1]int
	bytes  int64
}

// Open opens the state in cfg.Dir, or starts an empty one. A state that may have
// lost writes, because the machine went down while it was open, is discarded: the
// log and its snapshots rebuild it.
func Open(cfg Config) (*State, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Fatal == nil {
		cfg.Fatal = func(err error) { panic(err) }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Changes) {}
	}
	s := &State{cfg: cfg, boot: newBootMark(cfg.Dir), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	s.hub.waiting = map[Key][]chan *Task{}
	trusted, err := s.boot.trusted()
	if err != nil {
		return nil, err
	}
	if !trusted {
		cfg.Logger.Warn("state discarded: the machine went down while it was open; rebuilding it from the log")
		if err := removeStore(s.path()); err != nil {
			return nil, err
		}
	}
	if err := s.boot.open(); err != nil {
		return nil, err
	}
	db, err := openStore(s.path())
	if err != nil {
		return nil, err
	}
	if err := s.load(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	_ = s.Trim() // of what load has read; a failure costs memory only
	s.wg.Go(s.flusher)
	return s, nil
}

func (s *State) path() string { return s.cfg.Dir + "/state.db" }

// load makes db the store and rebuilds what is derived from it. Called by Open,
// or with mu held.
func (s *State) load(db *bolt.DB) error {
	x, nodes, done := newIndex(), map[uint32]*Node{}, finished{}
	var applied, seq uint64
	var now int64
	var newest Key
	err := db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		applied, seq = readU64(meta.Get(metaApplied)), readU64(meta.Get(metaSeq))
		now = int64(readU64(meta.Get(metaNow)))
		for _, name := range [][]byte{bucketLive, bucketDone} {
			if k, _ := tx.Bucket(name).Cursor().Last(); bytes.Compare(k, newest[:]) > 0 {
				newest = Key(k)
			}
		}
		err := tx.Bucket(bucketLive).ForEach(func(_, v []byte) error {
			t, err := decodeTask(v)
			if err == nil {
				x.set(t)
				x.tasks[Key(t.Key)].saved = true
			}
			return err
		})
		if err != nil {
			return err
		}
		err = tx.Bucket(bucketNodes).ForEach(func(k, v []byte) error {
			n := new(Node)
			nodes[binary.BigEndian.Uint32(k)] = n
			return n.UnmarshalVT(v)
		})
		if err != nil {
			return err
		}
		return tx.Bucket(bucketExpiry).ForEach(func(_, v []byte) error {
			return eachEnded(v, func(_ Key, status Status, size int64) error {
				if !status.Final() || status > Status_REVOKED {
					return fmt.Errorf("a finished task has the status %d", status)
				}
				done.counts[status]++
				done.bytes += size
				return nil
			})
		})
	})
	if err != nil {
		return fmt.Errorf("read state %s: %w", db.Path(), err)
	}
	s.db, s.index, s.nodes, s.done = db, x, nodes, done
	s.applied, s.stored, s.seq, s.now = applied, applied, seq, now
	s.active, s.sealed, s.newest = newMemtable(0), nil, newest
	return nil
}

// Close writes what is in memory, makes sure that it is on disk and marks the
// state as whole. It is safe to call twice.
func (s *State) Close() error {
	var err error
	s.closed.Do(func() {
		close(s.stop)
		s.wg.Wait()
		err = s.flush()
		s.mu.Lock()
		defer s.mu.Unlock()
		err = errors.Join(err, s.db.Sync(), s.db.Close())
		if err == nil {
			err = s.boot.close()
		}
	})
	return err
}

// Applied returns the index of the newest log entry that reads see.
func (s *State) Applied() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.applied
}

// WaitApplied returns once reads see the log up to index, or ctx ends.
func (s *State) WaitApplied(ctx context.Context, index uint64) error {
	for {
		s.mu.Lock()
		if s.applied >= index {
			s.mu.Unlock()
			return nil
		}
		if !s.waits {
			s.moved, s.waits = make(chan struct{}), true
		}
		moved := s.moved
		s.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for log index %d: %w", index, context.Cause(ctx))
		}
	}
}

// Size returns the bytes of the store's file in use.
func (s *State) Size() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var size int64
	err := s.db.View(func(tx *bolt.Tx) error { size = tx.Size(); return nil })
	if err != nil {
		return 0
	}
	return size
}

// task returns the record of a task, nil if there is none. mu is held.
func (s *State) task(k Key) (*Task, error) {
	if l := s.index.tasks[k]; l != nil && l.record != nil {
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
	return readTask(s.db, k)
}

// readTask reads a task's record from the store, nil if there is none.
func readTask(db *bolt.DB, k Key) (t *Task, err error) {
	viewErr := db.View(func(tx *bolt.Tx) error {
		val := tx.Bucket(bucketDone).Get(k[:])
		if val == nil {
			val = tx.Bucket(bucketLive).Get(k[:])
		}
		if val != nil {
			t, err = decodeTask(val)
		}
		return nil
	})
	return t, errors.Join(err, viewErr)
}

// key returns the key of the task that callers know by id. mu is held.
func (s *State) key(id string) (Key, bool) {
	for _, m := range []*memtable{s.active, s.sealed} {
		if m == nil {
			continue
		}
		if k, ok := m.names[id]; ok {
			if k == nil { // purged; the store may still have it
				return ParseKey(id)
			}
			return *k, true
		}
	}
	var k Key
	found := false
	_ = s.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketNames).Get([]byte(id))
		found = copy(k[:], v) == len(k)
		return nil
	})
	if found {
		return k, true
	}
	return ParseKey(id)
}

// remembered returns what an Idempotency-Key stands for, nil if nothing. mu is
// held.
func (s *State) remembered(key string) (r *Remembered, err error) {
	for _, m := range []*memtable{s.active, s.sealed} {
		if m == nil {
			continue
		}
		if r, ok := m.keys[key]; ok {
			return r, nil
		}
	}
	viewErr := s.db.View(func(tx *bolt.Tx) error {
		if v := tx.Bucket(bucketKeys).Get([]byte(key)); v != nil {
			r = new(Remembered)
			err = r.UnmarshalVT(v)
		}
		return nil
	})
	return r, errors.Join(err, viewErr)
}
