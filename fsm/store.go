package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
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
	bucketPacks    = []byte("packs")    // name -> Pack
	bucketBlobs    = []byte("blobs")    // digest, task key, 0 for args or 1 for result -> size
	bucketUsers    = []byte("users")    // name -> User
	bucketAuth     = []byte("auth")     // "keys" -> Keys, "rotation" -> Rotation
	bucketAudit    = []byte("audit")    // class, log index -> Audits

	// buckets are the state. Beside them is what they hold in total: name -> tally.
	buckets = [][]byte{
		bucketMeta, bucketLive, bucketDone, bucketExpiry, bucketFailed,
		bucketNames, bucketKeys, bucketKeyUntil, bucketNodes, bucketPacks, bucketBlobs,
		bucketUsers, bucketAuth, bucketAudit,
	}
	// buckets1 are those of the first release, buckets2 those of the one with packs: the
	// others came after.
	buckets1      = buckets[:9:9]
	buckets2      = buckets[:11:11]
	bucketTallies = []byte("tallies")

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
	packs map[string]*Pack
	blobs map[blobRef]*Blob
	users map[string]*User
	auth  map[string][]byte // records of bucketAuth
	// What each log entry finished: records for bucketExpiry.
	endings []ending
	audits  []ending // records for bucketAudit
	// Finished tasks to delete, and records of bucketExpiry and bucketKeyUntil,
	// before anything is put.
	purged          []Key
	expired, lapsed [][]byte
	dropped         [2][][]byte // records of bucketAudit, by class; likewise
	// The state's counters when the memtable was sealed.
	applied, seq uint64
	now          int64
	since        time.Time // when it got its first change
	bytes        int       // of arguments, results, logs and packs that were put in
}

// change is a task's newest record; its Task is nil if it was purged.
type change struct {
	*Task
	saved bool // the store has an unfinished record of it
}

// ending is a record of what one log entry finished, or did.
type ending struct{ key, val []byte }

// newMemtable returns a memtable with room for so many tasks.
func newMemtable(tasks int) *memtable {
	return &memtable{
		tasks: make(map[Key]change, tasks),
		names: map[string]*Key{},
		keys:  map[string]*Remembered{},
		nodes: map[uint32]*Node{},
		packs: map[string]*Pack{},
		blobs: map[blobRef]*Blob{},
		users: map[string]*User{},
		auth:  map[string][]byte{},
	}
}

func (m *memtable) size() int {
	return len(m.tasks) + len(m.names) + len(m.keys) + len(m.nodes) + len(m.packs) + len(m.blobs) + len(m.users) + len(m.auth) +
		len(m.audits) + len(m.dropped[0]) + len(m.dropped[1]) + len(m.purged) + len(m.lapsed)
}

// full says whether it holds as much as so many memtables should.
func (m *memtable) full(times int) bool {
	return m.size() >= times*flushSize || m.bytes >= times*flushBytes
}

// write puts a sealed memtable into the store, in one transaction.
func (m *memtable) write(db *store) error {
	return db.update(func(tx *bolt.Tx) error {
		if err := m.writeTasks(tx); err != nil {
			return err
		}
		if err := m.writeNames(tx); err != nil {
			return err
		}
		if err := m.writeKeys(tx); err != nil {
			return err
		}
		if err := m.writeNodes(tx); err != nil {
			return err
		}
		if err := m.writePacks(tx); err != nil {
			return err
		}
		if err := m.writeBlobs(tx); err != nil {
			return err
		}
		if err := m.writeUsers(tx); err != nil {
			return err
		}
		if err := m.writeAuth(tx); err != nil {
			return err
		}
		if err := m.writeAudits(tx); err != nil {
			return err
		}
		meta := writeBucket(tx, bucketMeta)
		return errors.Join(
			meta.put(metaApplied, u64(m.applied)),
			meta.put(metaNow, u64(uint64(m.now))),
			meta.put(metaSeq, u64(m.seq)),
			meta.done(),
		)
	})
}

func (m *memtable) writeNodes(tx *bolt.Tx) error {
	nodes := writeBucket(tx, bucketNodes)
	for number, n := range m.nodes {
		val, err := n.MarshalVT()
		if err != nil {
			return err
		}
		if err := nodes.put(binary.BigEndian.AppendUint32(nil, number), val); err != nil {
			return err
		}
	}
	return nodes.done()
}

func (m *memtable) writePacks(tx *bolt.Tx) error {
	packs := writeBucket(tx, bucketPacks)
	for name, p := range m.packs {
		if p == nil {
			if err := packs.delete([]byte(name)); err != nil {
				return err
			}
			continue
		}
		val, err := p.MarshalVT()
		if err != nil {
			return err
		}
		if err := packs.put([]byte(name), val); err != nil {
			return err
		}
	}
	return packs.done()
}

func (m *memtable) writeTasks(tx *bolt.Tx) error {
	live, done := writeBucket(tx, bucketLive), writeBucket(tx, bucketDone)
	expiry, failed := writeBucket(tx, bucketExpiry), writeBucket(tx, bucketFailed)
	done.b.FillPercent, expiry.b.FillPercent = 0.95, 0.95 // both grow at their end
	for _, k := range m.expired {
		if err := expiry.delete(k); err != nil {
			return err
		}
	}
	for _, k := range m.purged {
		if err := errors.Join(done.delete(k[:]), failed.delete(k[:])); err != nil {
			return err
		}
	}
	for _, e := range m.endings {
		if err := expiry.put(e.key, e.val); err != nil {
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
			if err := live.put(k, val); err != nil {
				return err
			}
		default:
			if t.saved {
				if err := live.delete(k); err != nil {
					return err
				}
			}
			if err := done.put(k, val); err != nil {
				return err
			}
			if t.Status != Status_SUCCESS {
				if err := failed.put(k, nil); err != nil {
					return err
				}
			}
		}
	}
	return errors.Join(live.done(), done.done(), expiry.done(), failed.done())
}

func (m *memtable) writeNames(tx *bolt.Tx) error {
	names := writeBucket(tx, bucketNames)
	for name, key := range m.names {
		var err error
		if key == nil {
			err = names.delete([]byte(name))
		} else {
			err = names.put([]byte(name), key[:])
		}
		if err != nil {
			return err
		}
	}
	return names.done()
}

func (m *memtable) writeKeys(tx *bolt.Tx) error {
	keys, until := writeBucket(tx, bucketKeys), writeBucket(tx, bucketKeyUntil)
	for _, k := range m.lapsed {
		if err := until.delete(k); err != nil {
			return err
		}
	}
	for key, r := range m.keys {
		if r == nil {
			if err := keys.delete([]byte(key)); err != nil {
				return err
			}
			continue
		}
		val, err := r.MarshalVT()
		if err != nil {
			return err
		}
		if err := errors.Join(keys.put([]byte(key), val), until.put(untilKey(r.UntilMs, key), nil)); err != nil {
			return err
		}
	}
	return errors.Join(keys.done(), until.done())
}

// recordArena is how much memory records are given at a time.
const recordArena = 64 << 10

// appendRecord encodes t behind what *buf holds and returns the record, with room for
// its seal.
func appendRecord(buf *[]byte, t *Task) ([]byte, error) {
	size := t.SizeVT()
	if cap(*buf)-len(*buf) < size+sealSize {
		*buf = make([]byte, 0, max(size+sealSize, recordArena))
	}
	n := len(*buf)
	*buf = (*buf)[:n+size+sealSize]
	val := (*buf)[n : n+size : n+size+sealSize]
	_, err := t.MarshalToSizedBufferVT(val)
	return val, err
}

func decodeTask(val []byte) (*Task, error) {
	t := new(Task)
	if err := t.UnmarshalVT(val); err != nil {
		return nil, damaged("decode task record: %w", err)
	}
	return t, nil
}

func decodeRemembered(val []byte) (*Remembered, error) {
	r := new(Remembered)
	if err := r.UnmarshalVT(val); err != nil {
		return nil, damaged("decode Idempotency-Key: %w", err)
	}
	return r, nil
}

// endingKey orders what finished by time.
func endingKey(ms int64, index uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(ms)), index)
}

// appendEnded adds a finished task to an ending: key, status, size.
func appendEnded(val []byte, t *Task) []byte {
	val = append(append(val, t.Key...), byte(t.Status))
	return protowire.AppendVarint(val, uint64(t.size()))
}

// eachEnded calls f for every task of an ending.
func eachEnded(val []byte, f func(k Key, status Status, size int64) error) error {
	for len(val) > 0 {
		const head = len(Key{}) + 1
		if len(val) < head {
			return damaged("the record of what finished is cut short")
		}
		size, n := protowire.ConsumeVarint(val[head:])
		if n < 0 {
			return damaged("the record of what finished: %w", protowire.ParseError(n))
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
