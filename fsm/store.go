package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"
)

// The store's buckets. Unfinished tasks stand apart from finished ones, so that
// what changes stays small and what is kept is written once, in order.
var (
	bucketMeta     = []byte("meta")     // see the meta keys
	bucketLive     = []byte("live")     // task key -> Task, unfinished
	bucketDone     = []byte("done")     // task key -> Task, finished
	bucketExpiry   = []byte("expiry")   // finished_ms, log index -> tasks that finished there, see appendEnded
	bucketFailed   = []byte("failed")   // task key -> nothing: FAILURE and REVOKED
	bucketNames    = []byte("names")    // id of the caller's choice -> task key
	bucketKeys     = []byte("keys")     // Idempotency-Key -> Remembered
	bucketKeyUntil = []byte("keyuntil") // until_ms, Idempotency-Key -> nothing
	bucketNodes    = []byte("nodes")    // number -> Node

	buckets = [][]byte{
		bucketMeta, bucketLive, bucketDone, bucketExpiry, bucketFailed,
		bucketNames, bucketKeys, bucketKeyUntil, bucketNodes,
	}

	metaApplied = []byte("applied") // log index
	metaNow     = []byte("now")     // the state's clock, ms
	metaSeq     = []byte("seq")     // last order given out
)

// memtable holds what was applied since the store was last written. A nil value
// is a deletion.
type memtable struct {
	tasks map[Key]change
	names map[string]*Key
	keys  map[string]*Remembered
	nodes map[uint32]*Node
	// What each log entry finished: records for bucketExpiry.
	endings []ending
	// Finished tasks to delete, and records of bucketExpiry and bucketKeyUntil,
	// before anything is put.
	purged          []Key
	expired, lapsed [][]byte
	// The state's counters when the memtable was sealed.
	applied, seq uint64
	now          int64
	since        time.Time // when it got its first change
}

// change is a task's newest record; its Task is nil if it was purged.
type change struct {
	*Task
	saved bool // the store has an unfinished record of it
}

// ending is the tasks that one log entry finished.
type ending struct{ key, val []byte }

// newMemtable returns a memtable with room for so many tasks.
func newMemtable(tasks int) *memtable {
	return &memtable{
		tasks: make(map[Key]change, tasks),
		names: map[string]*Key{},
		keys:  map[string]*Remembered{},
		nodes: map[uint32]*Node{},
	}
}

func (m *memtable) size() int {
	return len(m.tasks) + len(m.names) + len(m.keys) + len(m.nodes) + len(m.purged) + len(m.lapsed)
}

// openStore opens the bbolt file of the state. It is a cache of the log, so
// nothing waits for the disk; the wide mapping lets it grow without waiting for
// long readers.
func openStore(path string) (*bolt.DB, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         2 * time.Second,
		NoSync:          true,
		NoGrowSync:      true,
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: 64 << 30,
	})
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open state %s: %w", path, err), db.Close())
	}
	return db, nil
}

// write puts a sealed memtable into the store, in one transaction.
func (m *memtable) write(db *bolt.DB) error {
	return db.Update(func(tx *bolt.Tx) error {
		if err := m.writeTasks(tx); err != nil {
			return err
		}
		if err := m.writeNames(tx); err != nil {
			return err
		}
		if err := m.writeKeys(tx); err != nil {
			return err
		}
		nodes := tx.Bucket(bucketNodes)
		for number, n := range m.nodes {
			val, err := n.MarshalVT()
			if err != nil {
				return err
			}
			if err := nodes.Put(binary.BigEndian.AppendUint32(nil, number), val); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(
			meta.Put(metaApplied, u64(m.applied)),
			meta.Put(metaNow, u64(uint64(m.now))),
			meta.Put(metaSeq, u64(m.seq)),
		)
	})
}

func (m *memtable) writeTasks(tx *bolt.Tx) error {
	live, done := tx.Bucket(bucketLive), tx.Bucket(bucketDone)
	expiry, failed := tx.Bucket(bucketExpiry), tx.Bucket(bucketFailed)
	done.FillPercent, expiry.FillPercent = 0.95, 0.95 // both grow at their end
	for _, k := range m.expired {
		if err := expiry.Delete(k); err != nil {
			return err
		}
	}
	for _, k := range m.purged {
		if err := errors.Join(done.Delete(k[:]), failed.Delete(k[:])); err != nil {
			return err
		}
	}
	for _, e := range m.endings {
		if err := expiry.Put(e.key, e.val); err != nil {
			return err
		}
	}
	keys := make([]Key, 0, len(m.tasks))
	for k := range m.tasks {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
	var arena []byte
	for i := range keys {
		k, t := keys[i][:], m.tasks[keys[i]]
		if t.Task == nil {
			continue // purged, above
		}
		val, err := appendRecord(&arena, t.Task)
		if err != nil {
			return err
		}
		switch {
		case !t.Status.Final():
			if err := live.Put(k, val); err != nil {
				return err
			}
		default:
			if t.saved {
				if err := live.Delete(k); err != nil {
					return err
				}
			}
			if err := done.Put(k, val); err != nil {
				return err
			}
			if t.Status != Status_SUCCESS {
				if err := failed.Put(k, nil); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (m *memtable) writeNames(tx *bolt.Tx) error {
	names := tx.Bucket(bucketNames)
	for name, key := range m.names {
		var err error
		if key == nil {
			err = names.Delete([]byte(name))
		} else {
			err = names.Put([]byte(name), key[:])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *memtable) writeKeys(tx *bolt.Tx) error {
	keys, until := tx.Bucket(bucketKeys), tx.Bucket(bucketKeyUntil)
	for _, k := range m.lapsed {
		if err := until.Delete(k); err != nil {
			return err
		}
	}
	for key, r := range m.keys {
		if r == nil {
			if err := keys.Delete([]byte(key)); err != nil {
				return err
			}
			continue
		}
		val, err := r.MarshalVT()
		if err != nil {
			return err
		}
		if err := errors.Join(keys.Put([]byte(key), val), until.Put(untilKey(r.UntilMs, key), nil)); err != nil {
			return err
		}
	}
	return nil
}

// recordArena is how much memory records are given at a time.
const recordArena = 64 << 10

// appendRecord encodes t behind what *buf holds and returns the record.
func appendRecord(buf *[]byte, t *Task) ([]byte, error) {
	size := t.SizeVT()
	if cap(*buf)-len(*buf) < size {
		*buf = make([]byte, 0, max(size, recordArena))
	}
	n := len(*buf)
	*buf = (*buf)[:n+size]
	val := (*buf)[n : n+size : n+size]
	_, err := t.MarshalToSizedBufferVT(val)
	return val, err
}

func decodeTask(val []byte) (*Task, error) {
	t := new(Task)
	if err := t.UnmarshalVT(val); err != nil {
		return nil, fmt.Errorf("decode task record: %w", err)
	}
	return t, nil
}

// endingKey orders what finished by time.
func endingKey(ms int64, index uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(ms)), index)
}

// appendEnded adds a finished task to an ending: key, status, size of its record.
func appendEnded(val []byte, t *Task) []byte {
	val = append(append(val, t.Key...), byte(t.Status))
	return protowire.AppendVarint(val, uint64(t.SizeVT()))
}

// eachEnded calls f for every task of an ending.
func eachEnded(val []byte, f func(k Key, status Status, size int64) error) error {
	for len(val) > 0 {
		const head = len(Key{}) + 1
		if len(val) < head {
			return errors.New("the record of what finished is cut short")
		}
		size, n := protowire.ConsumeVarint(val[head:])
		if n < 0 {
			return fmt.Errorf("the record of what finished is damaged: %w", protowire.ParseError(n))
		}
		if err := f(Key(val), Status(val[head-1]), int64(size)); err != nil {
			return err
		}
		val = val[head+n:]
	}
	return nil
}

func untilKey(ms int64, key string) []byte { return append(u64(uint64(ms)), key...) }

func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), v) }

func readU64(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// removeStore deletes the file of a state.
func removeStore(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("discard state: %w", err)
	}
	return nil
}
