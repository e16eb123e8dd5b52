package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/hashicorp/raft"
	"github.com/klauspost/compress/s2"
	bolt "go.etcd.io/bbolt"

	"pytasks/node/failpoint"
)

// A snapshot is a line that names the format, then, packed with s2: each bucket's
// records in the order of their keys, as length and bytes of key and value, a
// bucket being opened by its name and closed by an empty key; then the SHA-256 of
// all that. The same state gives the same bytes.
const (
	snapshotFormat = "pytasks snapshot 3\n"
	// snapshotFormat2 has neither users nor what belongs to them.
	snapshotFormat2 = "pytasks snapshot 2\n"
	// snapshotFormat1 has neither packs nor blobs, either.
	snapshotFormat1 = "pytasks snapshot 1\n"
	// SnapshotFormat is the number of the format that snapshots are written in; older ones are read as well.
	SnapshotFormat = "3"
	// maxRecord bounds one key or value of a snapshot.
	maxRecord = 64 << 20
	// restoreBatch is how many records a restore writes in one transaction.
	restoreBatch = 10_000
)

var (
	errBadSnapshot = errors.New("the snapshot is damaged")
	errAbandoned   = errors.New("the state is abandoned")
)

// snapshot holds a read transaction over the store: a view that stays as it is
// while writing goes on.
type snapshot struct {
	state *State
	db    *store
	tx    *bolt.Tx
}

var _ raft.FSMSnapshot = (*snapshot)(nil)

func (s *State) snapshot() (*snapshot, error) {
	if err := s.flush(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	abandoned := s.abandoned
	s.mu.RUnlock()
	if abandoned {
		return nil, errAbandoned
	}
	return s.begin()
}

// begin returns a view of the store as it is now. What is read in it must be checked and
// under guard.
func (s *State) begin() (*snapshot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if broken := s.broken.Load(); broken != nil {
		return nil, broken
	}
	tx, err := s.db.begin()
	if err != nil {
		return nil, s.checked(err)
	}
	return &snapshot{s, s.db, tx}, nil
}

// Persist streams the snapshot into sink.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	err := s.writeTo(sink)
	if err == nil {
		err = failpoint.Err("fsm.snapshot.before")
	}
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	err = sink.Close()
	failpoint.Point("fsm.snapshot.after")
	return err
}

// Release ends the view.
func (s *snapshot) Release() { _ = s.tx.Rollback() }

// writeTo writes the snapshot to w.
func (s *snapshot) writeTo(w io.Writer) error {
	if _, err := io.WriteString(w, snapshotFormat); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	packed := s2.NewWriter(w, s2.WriterConcurrency(1))
	sum := sha256.New()
	if err := s.writeRecords(io.MultiWriter(packed, sum)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if _, err := packed.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := packed.Close(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// writeRecords writes the records of every bucket, without their seals. It looks at every
// page of the store before, so that damage is found now and then which a read would only
// notice by not finding something.
func (s *snapshot) writeRecords(w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	err := s.state.checked(guard(func() error {
		if err := s.db.verify(s.tx); err != nil {
			return err
		}
		for _, name := range buckets {
			writeBytes(out, name)
			err := readBucket(s.tx, name).each(func(k, v []byte) error {
				writeBytes(out, k)
				writeBytes(out, v)
				return nil
			})
			if err != nil {
				return err
			}
			writeBytes(out, nil)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	return out.Flush() // errors of out stick until here
}

func writeBytes(w *bufio.Writer, b []byte) {
	_, _ = w.Write(binary.AppendUvarint(w.AvailableBuffer(), uint64(len(b))))
	_, _ = w.Write(b)
}

// restore replaces the state by the snapshot in r. The new store is built beside
// the old one and takes its place only when it is whole.
func (s *State) restore(r io.Reader) error {
	path := s.path() + ".new"
	if err := removeStore(path); err != nil {
		return err
	}
	db, err := openStore(path)
	if err != nil {
		return err
	}
	if err := readSnapshot(db, r); err != nil {
		return errors.Join(fmt.Errorf("restore state: %w", err), db.close(), removeStore(path))
	}
	if err := errors.Join(db.Sync(), db.close()); err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	if err := s.swap(path); err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	s.hub.wakeAll(s)
	s.publish(Changes{Index: s.Applied(), Nodes: true, Packs: true, Users: true, Keys: true, Rotation: true, Reset: true})
	return nil
}

// swap makes the store at path the state's own.
func (s *State) swap(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		return errAbandoned
	}
	if err := s.flushLocked(); err != nil {
		return err
	}
	db, err := s.replaceStore(path)
	if err != nil {
		return s.fail("swap state", err) // there may be no store any more
	}
	if err := s.load(db); err != nil {
		return s.fail("swap state", errors.Join(err, db.close()))
	}
	s.advance(s.applied)
	return nil
}

func (s *State) replaceStore(path string) (*store, error) {
	if err := s.db.close(); err != nil {
		return nil, err
	}
	failpoint.Point("fsm.restore.swap")
	if err := os.Rename(path, s.path()); err != nil {
		return nil, err
	}
	return openStore(s.path())
}

// readSnapshot fills an empty store.
func readSnapshot(db *store, r io.Reader) error {
	return readBuckets(r, func(in *summed, name []byte) error { return in.bucket(db, name) })
}

// readBuckets reads a snapshot, of any format. The records of each bucket, up to the empty key behind
// them, are read by f.
func readBuckets(r io.Reader, f func(in *summed, name []byte) error) error {
	head := make([]byte, len(snapshotFormat))
	if _, err := io.ReadFull(r, head); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	names := buckets
	switch string(head) {
	case snapshotFormat:
	case snapshotFormat2:
		names = buckets2
	case snapshotFormat1:
		names = buckets1
	default:
		return fmt.Errorf("%w: it does not begin with %q", errBadSnapshot, snapshotFormat)
	}
	in := &summed{r: bufio.NewReaderSize(s2.NewReader(r), 64<<10), sum: sha256.New()}
	for _, want := range names {
		name, err := in.bytes()
		if err != nil {
			return fmt.Errorf("read snapshot: %w", err)
		}
		if !bytes.Equal(name, want) {
			return fmt.Errorf("%w: bucket %q where %q should be", errBadSnapshot, name, want)
		}
		if err := f(in, name); err != nil {
			return fmt.Errorf("read snapshot: %w", err)
		}
	}
	want := in.sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(in.r, got); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("%w: its checksum does not match", errBadSnapshot)
	}
	return nil
}

// summed reads records and sums up their bytes.
type summed struct {
	r   *bufio.Reader
	sum hash.Hash
}

func (s *summed) ReadByte() (byte, error) {
	b, err := s.r.ReadByte()
	if err == nil {
		s.sum.Write([]byte{b})
	}
	return b, err
}

func (s *summed) bytes() ([]byte, error) {
	n, err := binary.ReadUvarint(s)
	if err != nil {
		return nil, err
	}
	if n > maxRecord {
		return nil, fmt.Errorf("%w: a record of %d bytes", errBadSnapshot, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(s.r, b); err != nil {
		return nil, err
	}
	s.sum.Write(b)
	return b, nil
}

// bucket reads records into a bucket until the empty key.
func (s *summed) bucket(db *store, name []byte) error {
	for more := true; more; {
		err := db.update(func(tx *bolt.Tx) error {
			w := writeBucket(tx, name)
			w.b.FillPercent = 0.95 // keys come in order
			for range restoreBatch {
				key, err := s.bytes()
				if err != nil {
					return err
				}
				if len(key) == 0 {
					more = false
					break
				}
				val, err := s.bytes()
				if err != nil {
					return err
				}
				if err := w.put(key, val); err != nil {
					return err
				}
			}
			return w.done()
		})
		if err != nil {
			return err
		}
	}
	if bytes.Equal(name, bucketLive) {
		failpoint.Point("fsm.restore.middle")
	}
	return nil
}
