package fsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// A memtable is written to the store when it is this old, or this large.
	// Most tasks should have finished by then: one that has not is written twice.
	flushAge   = 200 * time.Millisecond
	flushSize  = 16 << 10 // changes
	flushBytes = 8 << 20  // of arguments and results: writing them takes three times as much memory
	// maxBehind is how many times as large the next memtable may grow while one is
	// written; then applying waits for the disk.
	maxBehind = 4
	// flushHang is how long a write may take before the disk counts as hung.
	flushHang = 10 * time.Second
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
	// BootID names the machine's current start: a text that changes with every one,
	// nil if it is unknown. Nil: the kernel's.
	BootID func() []byte
	// Fatal is called when the store can no longer be written, a write hangs, or the file
	// is damaged: the node has to stop. It must not wait for the State. Nil: panic.
	Fatal func(error)
}

// Changes is what applying one log entry changed.
type Changes struct {
	Index uint64
	Tasks []Change
	Nodes bool // some node's record changed
	Packs bool // some pack's record changed
	Users bool // some user's record changed
	Keys  bool // the signing keys changed
	// Rotation says that the change of the cluster's secret went on, began or ended.
	Rotation bool
	Reset    bool // the whole state was replaced by a snapshot
}

// Change is one task's step from one record to the next. Old is nil for a new
// task.
type Change struct {
	Old, New *Task
}

// State is the replicated state: tasks, nodes, packs, users and what the cluster remembers. Its
// records live in a bbolt file, what changed in the last moments in memory over
// it, and small indexes of the unfinished tasks beside them.
//
// Reads may be made from any goroutine and see all entries up to Applied.
// Records that it hands out are never changed again and must not be changed.
type State struct {
	cfg   Config
	boot  *bootMark
	write func(*memtable, *store) error // (*memtable).write, but in a test

	mu      sync.RWMutex
	db      *store           // guarded by mu
	active  *memtable        // guarded by mu
	sealed  *memtable        // guarded by mu; being written, or nil
	flushed chan struct{}    // guarded by mu; closed when sealed has been written
	index   *index           // guarded by mu
	nodes   map[uint32]*Node // guarded by mu
	packs   map[string]*Pack // guarded by mu; by name
	users   map[string]*User // guarded by mu; by name
	auth    auth             // guarded by mu
	audit   auditing         // guarded by mu
	done    finished         // guarded by mu
	applied uint64           // guarded by mu
	stored  uint64           // guarded by mu; what the store has applied
	now     int64            // guarded by mu
	seq     uint64           // guarded by mu
	newest  Key              // guarded by mu; no key in the store is higher
	moved   chan struct{}    // guarded by mu; closed when applied grows and somebody waits
	waits   bool             // guarded by mu; somebody holds moved

	auditBytes [2]int64                    // guarded by mu; of the records of each class
	abandoned  bool                        // guarded by mu; the file is not written any more
	broken     atomic.Pointer[brokenError] // why nothing more is applied or written; nil = it is

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
// lost writes, because the machine went down while it was open, or whose file is
// damaged, is discarded: the log and its snapshots rebuild it.
func Open(cfg Config) (*State, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Fatal == nil {
		cfg.Fatal = func(err error) { panic(err) }
	}
	if cfg.BootID == nil {
		cfg.BootID = bootID
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Changes) {}
	}
	s := &State{
		cfg: cfg, boot: newBootMark(cfg.Dir, cfg.BootID), write: (*memtable).write,
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	s.audit.record = new(Audit)
	s.hub.waiting = map[Key][]chan *Task{}
	doubt, err := s.boot.doubt()
	if err != nil {
		return nil, err
	}
	if doubt == nil {
		doubt = verifyStore(s.path())
	}
	if doubt != nil {
		if err := s.discard(doubt); err != nil {
			return nil, err
		}
	}
	if err := s.boot.open(); err != nil {
		return nil, err
	}
	err = s.open()
	if errors.Is(err, errDamaged) { // its records make no sense
		if err = s.discard(err); err == nil {
			err = s.open()
		}
	}
	if err != nil {
		return nil, err
	}
	_ = s.Trim() // of what load has read; a failure costs memory only
	s.wg.Go(s.flusher)
	return s, nil
}

// discard removes the file of the state if that is not to be trusted: the log and its
// snapshots have all that was in it. Another doubt is returned.
func (s *State) discard(doubt error) error {
	if !errors.Is(doubt, errDamaged) && !errors.Is(doubt, errWentDown) {
		return doubt
	}
	s.cfg.Logger.Warn("state discarded, rebuilding it from the log", "err", doubt)
	return removeStore(s.path())
}

// open opens the file of the state and reads what is kept in memory of it.
func (s *State) open() error {
	db, err := openStore(s.path())
	if err != nil {
		return err
	}
	if err := s.load(db); err != nil {
		return errors.Join(err, db.close())
	}
	return nil
}

func (s *State) path() string { return s.cfg.Dir + "/state.db" }

// load makes db the store and rebuilds what is derived from it. Called by Open,
// or with mu held.
func (s *State) load(db *store) error {
	x, nodes, packs, done := newIndex(), map[uint32]*Node{}, map[string]*Pack{}, finished{}
	var users map[string]*User
	var auth auth
	var audits [2]int64
	var applied, seq uint64
	var now int64
	var newest Key
	err := db.view(func(tx *bolt.Tx) error {
		meta := map[string]uint64{} // empty in a new store
		err := readBucket(tx, bucketMeta).each(func(k, v []byte) error {
			meta[string(k)] = readU64(v)
			return nil
		})
		if err != nil {
			return err
		}
		applied, seq, now = meta[string(metaApplied)], meta[string(metaSeq)], int64(meta[string(metaNow)])
		for _, name := range [][]byte{bucketLive, bucketDone} {
			if k, _ := readBucket(tx, name).cursor().last(); bytes.Compare(k, newest[:]) > 0 {
				newest = Key(k)
			}
		}
		err = readBucket(tx, bucketLive).each(func(_, v []byte) error {
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
		err = readBucket(tx, bucketNodes).each(func(k, v []byte) error {
			n := new(Node)
			nodes[binary.BigEndian.Uint32(k)] = n
			return n.UnmarshalVT(v)
		})
		if err != nil {
			return err
		}
		err = readBucket(tx, bucketPacks).each(func(k, v []byte) error {
			p := new(Pack)
			packs[string(k)] = p
			return p.UnmarshalVT(v)
		})
		if err != nil {
			return err
		}
		if users, err = loadUsers(tx); err != nil {
			return err
		}
		if auth, err = loadAuth(tx); err != nil {
			return err
		}
		if audits, err = loadAudits(tx); err != nil {
			return err
		}
		return readBucket(tx, bucketExpiry).each(func(_, v []byte) error {
			return eachEnded(v, func(_ Key, status Status, size int64) error {
				if !status.Final() || status > Status_REVOKED {
					return damaged("a finished task has the status %d", status)
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
	s.db, s.index, s.nodes, s.packs, s.users, s.auth, s.done = db, x, nodes, packs, users, auth, done
	s.auditBytes = audits
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
		if err = s.flush(); errors.Is(err, errDamaged) {
			err = nil // Fatal was told
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		err = errors.Join(err, s.db.Sync(), s.db.close())
		if err == nil && !s.abandoned && s.broken.Load() == nil {
			err = s.boot.close()
		}
	})
	return err
}

// Abandon leaves the state's file as a killed process does: what was not written yet
// never will be, and nothing marks the file as whole. The state itself goes on in memory
// until it is closed. For simulations of a crash.
func (s *State) Abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitWrite()
	s.abandoned = true
}

// Applied returns the index of the newest log entry that reads see.
func (s *State) Applied() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.applied
}

// Now returns the time that the newest entries were applied at, ms since 1970.
func (s *State) Now() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
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
	err := s.view(func(tx *bolt.Tx) error { size = tx.Size(); return nil })
	if err != nil {
		return 0
	}
	return size
}
