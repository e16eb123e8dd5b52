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
	bucketExpiry   = []byte("expiry")   // finished_ms, task key -> status, size
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
	tasks map[Key]*Task
	names map[string]*Key
	keys  map[string]*Remembered
	nodes map[uint32]*Node
	// Keys of index entries to delete, in bucketExpiry (with the finished task that
	// it stands for) and bucketKeyUntil, before anything is put.
	expired, lapsed [][]byte
	// The state's counters when the memtable was sealed.
	applied, seq uint64
	now          int64
	since        time.Time // when it got its first change
}

func newMemtable() *memtable {
	return &memtable{
		tasks: map[Key]*Task{},
		names: map[string]*Key{},
		keys:  map[string]*Remembered{},
		nodes: map[uint32]*Node{},
	}
}

func (m *memtable) size() int {
	return len(m.tasks) + len(m.names) + len(m.keys) + len(m.nodes) + len(m.expired) + len(m.lapsed)
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
		if err := errors.Join(expiry.Delete(k), done.Delete(k[8:]), failed.Delete(k[8:])); err != nil {
			return err
		}
	}
	keys := make([]Key, 0, len(m.tasks))
	for k := range m.tasks {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
	for i := range keys {
		k, t := keys[i][:], m.tasks[keys[i]]
		switch {
		case t == nil: // purged: its record went with its expiry, above
		case !t.Status.Final():
			val, err := encodeTask(t)
			if err != nil {
				return err
			}
			if err := live.Put(k, val); err != nil {
				return err
			}
		default:
			val, err := encodeTask(t)
			if err != nil {
				return err
			}
			err = errors.Join(live.Delete(k), done.Put(k, val), expiry.Put(expiryKey(t.FinishedMs, k), expiryValue(t, len(val))))
			if err == nil && t.Status != Status_SUCCESS {
				err = failed.Put(k, nil)
			}
			if err != nil {
				return err
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

// encodeTask returns the record of a task without its key, which is the key of
// the record.
func encodeTask(t *Task) ([]byte, error) {
	bare := t.next()
	bare.Key = nil
	return bare.MarshalVT()
}

func decodeTask(key, val []byte) (*Task, error) {
	t := new(Task)
	if err := t.UnmarshalVT(val); err != nil {
		return nil, fmt.Errorf("decode record of task %x: %w", key, err)
	}
	t.Key = bytes.Clone(key)
	return t, nil
}

func expiryKey(ms int64, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(ms)), key...)
}

func untilKey(ms int64, key string) []byte { return append(u64(uint64(ms)), key...) }

func expiryValue(t *Task, size int) []byte {
	return protowire.AppendVarint([]byte{byte(t.Status)}, uint64(size))
}

func readExpiryValue(v []byte) (Status, int64) {
	n, _ := protowire.ConsumeVarint(v[1:])
	return Status(v[0]), int64(n)
}

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
