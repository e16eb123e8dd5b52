package fsm

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// store is the bbolt file of the state. All that reads or writes it goes through view,
// update, or begin and guard, which find damage.
type store struct {
	*bolt.DB
	file   *os.File
	newest atomic.Int64 // the last transaction that was written
	stuck  atomic.Bool  // something was given up in the middle, with bbolt's locks held
}

// openStore opens the bbolt file of the state. It is a cache of the log, so
// nothing waits for the disk; the wide mapping lets it grow without waiting for
// long readers.
func openStore(path string) (*store, error) {
	s := new(store)
	var err error
	s.DB, err = bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         2 * time.Second,
		NoSync:          true,
		NoGrowSync:      true,
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: 64 << 30,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			var err error
			s.file, err = os.OpenFile(name, flag, mode)
			return s.file, err
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", path, err)
	}
	if err := s.update(createBuckets); err != nil {
		return nil, errors.Join(fmt.Errorf("open state %s: %w", path, err), s.close())
	}
	return s, nil
}

// createBuckets makes the buckets of a new store, and those that a store of an earlier
// release lacks.
func createBuckets(tx *bolt.Tx) error {
	missing := buckets
	if tx.Bucket(bucketTallies) == nil {
		if _, err := tx.CreateBucket(bucketTallies); err != nil {
			return err
		}
	} else {
		missing = buckets[len(buckets1):]
	}
	for _, name := range missing {
		if _, there := readBucket(tx, bucketTallies).get(name); there {
			continue
		}
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
		if err := writeTally(tx, name, tally{}); err != nil {
			return err
		}
	}
	return nil
}

// begin starts a read transaction, which sees the store as it is now while writing goes
// on.
func (s *store) begin() (tx *bolt.Tx, err error) {
	newest := s.newest.Load()
	err = guard(func() (err error) { tx, err = s.DB.Begin(false); return err })
	if err != nil {
		s.stuck.Store(true) // bbolt panics with its locks held
		return nil, fmt.Errorf("read state: %w", err)
	}
	if int64(tx.ID()) < newest { // bbolt goes back where the newest head is damaged
		return nil, errors.Join(damaged("what was written last is gone"), tx.Rollback())
	}
	return tx, nil
}

// view reads the store. What f returns must not be of the store's memory.
func (s *store) view(f func(tx *bolt.Tx) error) error {
	tx, err := s.begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	return guard(func() error { return f(tx) })
}

// update writes to the store, all of f or nothing.
func (s *store) update(f func(tx *bolt.Tx) error) error {
	var tx *bolt.Tx
	var id int64
	err := guard(func() (err error) {
		if tx, err = s.Begin(true); err != nil {
			return err
		}
		id = int64(tx.ID())
		if newest := s.newest.Load(); newest != 0 && id != newest+1 {
			return damaged("what was written last is gone")
		}
		if err = f(tx); err != nil {
			return err
		}
		return tx.Commit()
	})
	switch {
	case err == nil:
		s.newest.Store(id)
		return nil
	case errors.Is(err, errDamaged):
		// To roll back bbolt reads every page, and panics on a goroutine of its own
		// over those that are damaged.
		s.stuck.Store(true)
		return err
	case tx == nil:
		return err
	}
	if rollback := tx.Rollback(); !errors.Is(rollback, bolterrors.ErrTxClosed) { // by Commit
		err = errors.Join(err, rollback)
	}
	return err
}

// close closes the file. A stuck one is left as it is, but unlocked.
func (s *store) close() error {
	if s.stuck.Load() {
		return s.file.Close()
	}
	return s.DB.Close()
}

// removeStore deletes the file of a state.
func removeStore(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("discard state: %w", err)
	}
	return nil
}
