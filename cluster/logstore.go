package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"pytasks/node/failpoint"
)

const (
	logFile     = "raft.db"
	deleteChunk = 2048 // entries per write transaction, so that compaction cannot stall an append
	openTimeout = 2 * time.Second
	sumVersion  = 1
	sumSize     = 1 + 4
)

// LogStore keeps a raft log and raft's stable values.
type LogStore interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// logStore puts three things around raft-boltdb, which trusts its disk: a checksum for every entry (bbolt has none for
// data), an end of the process when a call fails or hangs (raft never replaces a leader whose disk hangs), and counts
// of what was appended since the last snapshot.
type logStore struct {
	store   LogStore
	path    string // of its file
	hang    time.Duration
	fatal   func(error)
	observe func(time.Duration) // of each append; set before raft starts
	bytes   atomic.Int64        // appended since the trigger last reset it
	entries atomic.Int64
}

// newLogStore puts a log store around the log in dir.
func newLogStore(store LogStore, dir string, hang time.Duration, fatal func(error)) *logStore {
	return &logStore{
		store: store, path: filepath.Join(dir, logFile), hang: hang, fatal: fatal, observe: func(time.Duration) {},
	}
}

// openBolt opens raft.db in dir. It fails, rather than wait, if another process has it open.
func openBolt(dir string) (_ LogStore, err error) {
	path := filepath.Join(dir, logFile)
	if err := checkLogFile(path); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the raft log %s is damaged: %v: %s", path, p, advice)
		}
	}()
	db, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{
		Timeout: openTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	}})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open raft log %s: the data directory is in use by another process", path)
	}
	if errors.Is(err, bolterrors.ErrIncompatibleValue) {
		return nil, fmt.Errorf("the raft log %s is damaged: %w: %s", path, err, advice)
	}
	if err != nil {
		return nil, fmt.Errorf("open raft log %s: %w", path, err)
	}
	return db, nil
}

// guard runs one call to the store and makes it fatal if it takes too long. It looks several times, each a step after
// the last, so that a process that was stopped meanwhile, and wakes with every timer overdue, does not blame its disk.
func (s *logStore) guard(what string, call func() error) error {
	const looks = 10
	var ended atomic.Bool
	var look func(left int)
	look = func(left int) {
		switch {
		case ended.Load():
		case left == 0:
			s.fatal(fmt.Errorf("%s takes longer than %s: the disk hangs", what, s.hang))
		default:
			time.AfterFunc(s.hang/looks, func() { look(left - 1) })
		}
	}
	alarm := time.AfterFunc(s.hang/looks, func() { look(looks - 1) })
	defer alarm.Stop()
	defer ended.Store(true)
	return call()
}

// FirstIndex returns the first index of the log, 0 if it is empty.
func (s *logStore) FirstIndex() (index uint64, err error) {
	err = s.guard("read raft log", func() error { index, err = s.store.FirstIndex(); return err })
	return index, err
}

// LastIndex returns the last index of the log, 0 if it is empty.
func (s *logStore) LastIndex() (index uint64, err error) {
	err = s.guard("read raft log", func() error { index, err = s.store.LastIndex(); return err })
	return index, err
}

// GetLog reads one entry and verifies it.
func (s *logStore) GetLog(index uint64, entry *raft.Log) error {
	if err := s.guard("read raft log", func() error { return s.store.GetLog(index, entry) }); err != nil {
		if errors.Is(err, raft.ErrLogNotFound) || errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			return err // raft compares with ==
		}
		return s.corrupt(index, err.Error())
	}
	ext := entry.Extensions
	entry.Extensions = nil
	switch {
	case entry.Index != index:
		return s.corrupt(index, fmt.Sprintf("it holds entry %d", entry.Index))
	case len(ext) != sumSize || ext[0] != sumVersion:
		return s.corrupt(index, "it has no checksum")
	case binary.BigEndian.Uint32(ext[1:]) != checksum(entry):
		return s.corrupt(index, "its checksum is wrong")
	}
	return nil
}

func (s *logStore) corrupt(index uint64, why string) error {
	err := fmt.Errorf("the raft log %s is damaged: entry %d: %s: %s", s.path, index, why, advice)
	s.fatal(err)
	return err
}

// checksum is CRC-32C over type, term, index and data.
func checksum(entry *raft.Log) uint32 {
	var head [17]byte
	head[0] = byte(entry.Type)
	binary.BigEndian.PutUint64(head[1:], entry.Term)
	binary.BigEndian.PutUint64(head[9:], entry.Index)
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(0, table, head[:]), table, entry.Data)
}

// StoreLog appends one entry.
func (s *logStore) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs appends entries and returns when they are on disk. A failure is fatal: raft would elect this node again.
func (s *logStore) StoreLogs(entries []*raft.Log) error {
	start := time.Now()
	summed := make([]*raft.Log, len(entries)) // copies: raft and its cache go on using theirs
	copies := make([]raft.Log, len(entries))
	sums := make([]byte, 0, sumSize*len(entries))
	size := 0
	for i, entry := range entries {
		at := len(sums)
		sums = binary.BigEndian.AppendUint32(append(sums, sumVersion), checksum(entry))
		copies[i] = *entry
		copies[i].Extensions = sums[at:len(sums):len(sums)]
		summed[i] = &copies[i]
		size += len(entry.Data)
	}
	err := failpoint.Err("raft.append.before")
	if err == nil {
		err = s.guard("append to raft log", func() error { return s.store.StoreLogs(summed) })
	}
	if err != nil {
		return s.failed("append to raft log", err)
	}
	failpoint.Point("raft.append.after")
	s.bytes.Add(int64(size))
	s.entries.Add(int64(len(entries)))
	s.observe(time.Since(start))
	return nil
}

// DeleteRange deletes entries, both ends included, in chunks. Raft deletes a conflicting tail from its front, a chunk
// at a time too, so a crash between two chunks must not leave a hole: a tail is deleted from its end.
func (s *logStore) DeleteRange(first, last uint64) error {
	start, err := s.FirstIndex()
	if err != nil {
		return err
	}
	for first <= last {
		from, to := first, min(last, first+deleteChunk-1)
		if first > start {
			from, to = max(first, last-min(last, deleteChunk-1)), last
		}
		if err := s.guard("delete from raft log", func() error { return s.store.DeleteRange(from, to) }); err != nil {
			return err
		}
		failpoint.Point("raft.compact.middle")
		if first > start {
			last = from - 1
		} else {
			first = to + 1
			start = first
		}
	}
	return nil
}

// Set stores a stable value.
func (s *logStore) Set(key, val []byte) error {
	if err := s.guard("write raft state", func() error { return s.store.Set(key, val) }); err != nil {
		return s.failed("write raft state", err)
	}
	return nil
}

// SetUint64 stores a stable number.
func (s *logStore) SetUint64(key []byte, val uint64) error {
	if err := s.guard("write raft state", func() error { return s.store.SetUint64(key, val) }); err != nil {
		return s.failed("write raft state", err)
	}
	failpoint.Point("raft.stable.after")
	return nil
}

// failed ends the process over a write that failed.
func (s *logStore) failed(what string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		what += fmt.Sprintf(": no space is left in %s: free some and start the node again", filepath.Dir(s.path))
	}
	err = fmt.Errorf("%s: %w", what, err)
	s.fatal(err)
	return err
}

// Get reads a stable value.
func (s *logStore) Get(key []byte) (val []byte, err error) {
	err = s.guard("read raft state", func() error { val, err = s.store.Get(key); return err })
	return val, err
}

// GetUint64 reads a stable number.
func (s *logStore) GetUint64(key []byte) (val uint64, err error) {
	err = s.guard("read raft state", func() error { val, err = s.store.GetUint64(key); return err })
	return val, err
}

func (s *logStore) close() error { return s.store.Close() }
