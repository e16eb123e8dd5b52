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
)

// A snapshot is a line that names the format, then, packed with s2: each bucket's
// records in the order of their keys, as length and bytes of key and value, a
// bucket being opened by its name and closed by an empty key; then the SHA-256 of
// all that. The same state gives the same bytes.
const (
	snapshotFormat = "pytasks snapshot 1\n"
	// maxRecord bounds one key or value of a snapshot.
	maxRecord = 64 << 20
	// restoreBatch is how many records a restore writes in one transaction.
	restoreBatch = 10_000
)

var errBadSnapshot = errors.New("the snapshot is damaged")

// snapshot holds a read transaction over the store: a view that stays as it is
// while writing goes on.
type snapshot struct{ tx *bolt.Tx }

var _ raft.FSMSnapshot = (*snapshot)(nil)

func (s *State) snapshot() (*snapshot, error) {
	if err := s.flush(); err != nil {
		return nil, err
	}
	tx, err := s.begin()
	if err != nil {
		return nil, err
	}
	return &snapshot{tx}, nil
}

// Persist streams the snapshot into sink.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.writeTo(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
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
	out := bufio.NewWriterSize(io.MultiWriter(packed, sum), 64<<10)
	for _, name := range buckets {
		writeBytes(out, name)
		err := s.tx.Bucket(name).ForEach(func(k, v []byte) error {
			writeBytes(out, k)
			writeBytes(out, v)
			return nil
		})
		if err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
		writeBytes(out, nil)
	}
	// Errors of out stick until Flush.
	if err := out.Flush(); err != nil {
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
		return errors.Join(fmt.Errorf("restore state: %w", err), db.Close(), removeStore(path))
	}
	if err := errors.Join(db.Sync(), db.Close()); err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	if err := s.swap(path); err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	s.hub.wakeAll(s)
	s.publish(Changes{Index: s.Applied(), Nodes: true, Reset: true})
	return nil
}

// swap makes the store at path the state's own.
func (s *State) swap(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.flushLocked(); err != nil {
		return err
	}
	if err := s.db.Close(); err != nil {
		return err
	}
	if err := os.Rename(path, s.path()); err != nil {
		return err
	}
	db, err := openStore(s.path())
	if err != nil {
		return err
	}
	if err := s.load(db); err != nil {
		return err
	}
	s.advance(s.applied)
	return nil
}

// readSnapshot fills an empty store.
func readSnapshot(db *bolt.DB, r io.Reader) error {
	head := make([]byte, len(snapshotFormat))
	if _, err := io.ReadFull(r, head); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	if string(head) != snapshotFormat {
		return fmt.Errorf("%w: it does not begin with %q", errBadSnapshot, snapshotFormat)
	}
	in := &summed{r: bufio.NewReaderSize(s2.NewReader(r), 64<<10), sum: sha256.New()}
	for _, want := range buckets {
		name, err := in.bytes()
		if err != nil {
			return fmt.Errorf("read snapshot: %w", err)
		}
		if !bytes.Equal(name, want) {
			return fmt.Errorf("%w: bucket %q where %q should be", errBadSnapshot, name, want)
		}
		if err := in.bucket(db, name); err != nil {
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
func (s *summed) bucket(db *bolt.DB, name []byte) error {
	for more := true; more; {
		err := db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket(name)
			b.FillPercent = 0.95 // keys come in order
			for range restoreBatch {
				key, err := s.bytes()
				if err != nil {
					return err
				}
				if len(key) == 0 {
					more = false
					return nil
				}
				val, err := s.bytes()
				if err != nil {
					return err
				}
				if err := b.Put(key, val); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
