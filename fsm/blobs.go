package fsm

import (
	"bytes"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// digestLen is the length of a blob's digest, and of that of a pack's archive, in bytes.
const digestLen = 32

// blobRef says that the record of a task names a blob.
type blobRef struct {
	digest [digestLen]byte
	task   Key
	result bool // as its result, not as its arguments
}

func (r *blobRef) key() []byte {
	key := make([]byte, 0, digestLen+len(Key{})+1)
	key = append(append(key, r.digest[:]...), r.task[:]...)
	if r.result {
		return append(key, 1)
	}
	return append(key, 0)
}

// fits says whether a blob may be named. None at all may be.
func (b *Blob) fits() bool { return b == nil || len(b.Digest) == digestLen && b.Size > 0 }

func (b *Blob) copyOf() *Blob {
	if b == nil {
		return nil
	}
	return &Blob{Digest: bytes.Clone(b.Digest), Size: b.Size}
}

// same says whether two blobs, or none, have the same bytes.
func (b *Blob) same(other *Blob) bool { return bytes.Equal(b.GetDigest(), other.GetDigest()) }

// blobs calls f for the blobs that a record names.
func (t *Task) blobs(f func(blobRef, *Blob)) {
	if b := t.ArgsBlob; b != nil {
		f(blobRef{[digestLen]byte(b.Digest), Key(t.Key), false}, b)
	}
	if b := t.ResultBlob; b != nil {
		f(blobRef{[digestLen]byte(b.Digest), Key(t.Key), true}, b)
	}
}

// blobBytes is the size of the blobs that a record names.
func (t *Task) blobBytes() int64 { return t.ArgsBlob.GetSize() + t.ResultBlob.GetSize() }

// refer notes the blobs of a record that is put in.
func (m *memtable) refer(t *Task) {
	t.blobs(func(r blobRef, b *Blob) { m.blobs[r] = b })
}

// unrefer notes that a record goes, and with it what it says of blobs.
func (m *memtable) unrefer(t *Task) {
	t.blobs(func(r blobRef, _ *Blob) { m.blobs[r] = nil })
}

func (m *memtable) writeBlobs(tx *bolt.Tx) error {
	blobs := writeBucket(tx, bucketBlobs)
	for r, b := range m.blobs {
		var err error
		if b == nil {
			err = blobs.delete(r.key())
		} else {
			err = blobs.put(r.key(), u64(uint64(b.Size)))
		}
		if err != nil {
			return err
		}
	}
	return blobs.done()
}

// EachBlob calls f for every blob that the record of a task names, once for each such record
// and in the order of the digests. It writes what is in memory and reads the store.
func (s *State) EachBlob(f func(digest []byte, size int64)) error {
	snap, err := s.snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	return s.checked(guard(func() error {
		return readBucket(snap.tx, bucketBlobs).each(func(key, val []byte) error {
			if len(key) != digestLen+len(Key{})+1 || len(val) != 8 {
				return damaged("the record %x of a blob has %d bytes", key, len(val))
			}
			f(key[:digestLen], int64(binary.BigEndian.Uint64(val)))
			return nil
		})
	}))
}
