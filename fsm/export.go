package fsm

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Export is what goes with an exported state.
type Export struct {
	Index  uint64                    // log index that the state has applied
	TimeMs int64                     // the state's clock, ms since 1970
	Blobs  map[[digestLen]byte]int64 // what it names: blobs of tasks and archives of packs, with their sizes
}

// Export writes the state to w, as its snapshots are written, and tells what goes with it: all as
// it is at one log index. It holds the store's pages as they are until it returns, so w must not wait
// for anybody.
func (s *State) Export(w io.Writer) (*Export, error) {
	snap, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.Release()
	e := &Export{Blobs: map[[digestLen]byte]int64{}}
	if err := s.checked(guard(func() error { return snap.describe(e) })); err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	return e, snap.writeTo(w)
}

func (s *snapshot) describe(e *Export) error {
	meta := readBucket(s.tx, bucketMeta)
	applied, _ := meta.get(metaApplied) // none in a new state
	now, _ := meta.get(metaNow)
	e.Index, e.TimeMs = readU64(applied), int64(readU64(now))
	err := readBucket(s.tx, bucketBlobs).each(func(key, val []byte) error {
		if len(key) < digestLen || len(val) != 8 {
			return damaged("the record %x of a blob has %d bytes", key, len(val))
		}
		e.Blobs[[digestLen]byte(key)] = int64(binary.BigEndian.Uint64(val))
		return nil
	})
	if err != nil {
		return err
	}
	return readBucket(s.tx, bucketPacks).each(func(_, val []byte) error {
		p := new(Pack)
		if err := p.UnmarshalVT(val); err != nil {
			return damaged("decode the record of a pack: %w", err)
		}
		for _, r := range p.Releases {
			if len(r.Digest) == digestLen {
				e.Blobs[[digestLen]byte(r.Digest)] = r.Size
			}
		}
		return nil
	})
}

// Summary is what is in a snapshot of a state.
type Summary struct {
	Index  uint64                  // log index that it has applied
	TimeMs int64                   // its clock, ms since 1970
	Tasks  [Status_REVOKED + 1]int // by status
	Packs  []*Pack                 // in the order of their names
	Users  []string                // in order
	Nodes  int                     // without those that were removed
	Keys   int                     // requests that are remembered by their Idempotency-Key
}

// Summarize reads a snapshot, of any format, and verifies it. It takes no more memory for a large one.
func Summarize(r io.Reader) (*Summary, error) {
	sum := &Summary{}
	err := readBuckets(r, func(in *summed, name []byte) error {
		for {
			key, err := in.bytes()
			if err != nil || len(key) == 0 {
				return err
			}
			val, err := in.bytes()
			if err == nil {
				err = sum.add(string(name), key, val)
			}
			if err != nil {
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return sum, nil
}

func (s *Summary) add(bucket string, key, val []byte) error {
	switch bucket {
	case string(bucketMeta):
		switch string(key) {
		case string(metaApplied):
			s.Index = readU64(val)
		case string(metaNow):
			s.TimeMs = int64(readU64(val))
		}
	case string(bucketLive), string(bucketDone):
		t, err := decodeTask(val)
		if err != nil {
			return err
		}
		if t.Status < 0 || int(t.Status) >= len(s.Tasks) {
			return fmt.Errorf("%w: a task has the status %d", errBadSnapshot, t.Status)
		}
		s.Tasks[t.Status]++
	case string(bucketKeys):
		s.Keys++
	case string(bucketNodes):
		n := new(Node)
		if err := n.UnmarshalVT(val); err != nil {
			return fmt.Errorf("%w: decode the record of a node: %w", errBadSnapshot, err)
		}
		if !n.Gone {
			s.Nodes++
		}
	case string(bucketPacks):
		p := new(Pack)
		if err := p.UnmarshalVT(val); err != nil {
			return fmt.Errorf("%w: decode the record of a pack: %w", errBadSnapshot, err)
		}
		s.Packs = append(s.Packs, p)
	case string(bucketUsers):
		s.Users = append(s.Users, string(key))
	}
	return nil
}
