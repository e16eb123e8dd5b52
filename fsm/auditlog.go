package fsm

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// AuditRecord is what one command did that somebody asked for.
type AuditRecord struct {
	Index  uint64 // of the log entry; Audit.Number says which of its commands it was
	TimeMs int64  // of the entry, since 1970
	*Audit
}

// EachAudit calls out for every record of the audit log whose index is above after, in the
// order of the log, up to what was applied when it was called; it ends with the first error
// of out. Out may take its time: nothing is held meanwhile, and what is forgotten meanwhile
// may be left out. Several records may have one index.
func (s *State) EachAudit(after uint64, out func(AuditRecord) error) error {
	if err := s.flush(); err != nil {
		return err
	}
	for last := s.Applied(); after < last; {
		page, err := s.auditPage(after, last)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			if err := out(r); err != nil {
				return err
			}
		}
		after = page[len(page)-1].Index
	}
	return nil
}

// auditPage returns the next records, all of an index together; none after the last.
func (s *State) auditPage(after, last uint64) (page []AuditRecord, err error) {
	snap, err := s.begin()
	if err != nil {
		return nil, err
	}
	defer snap.Release()
	err = s.checked(guard(func() (err error) {
		page, err = readAudits(snap.tx, after, last)
		return err
	}))
	return page, err
}

func readAudits(tx *bolt.Tx, after, last uint64) (page []AuditRecord, err error) {
	var walks [2]auditWalk
	for class := range walks {
		w := &walks[class]
		w.cur, w.class = readBucket(tx, bucketAudit).cursor(), class
		w.stand(w.cur.seek(auditKey(class, after+1)))
	}
	for size := 0; size < auditPage; {
		index := min(walks[0].index, walks[1].index)
		if index > last {
			break
		}
		first := len(page)
		for class := range walks {
			w := &walks[class]
			if w.index != index {
				continue
			}
			size += len(w.val)
			if page, err = appendAudits(page, index, w.val); err != nil {
				return nil, err
			}
			w.stand(w.cur.next())
		}
		slices.SortFunc(page[first:], func(a, b AuditRecord) int { return cmp.Compare(a.Number, b.Number) })
	}
	return page, nil
}

// auditWalk goes through one class.
type auditWalk struct {
	cur   cursor
	class int
	index uint64 // of the log entry, the highest behind the last one
	val   []byte
}

// stand takes the record that the cursor was moved to.
func (w *auditWalk) stand(key, val []byte) {
	if w.index, w.val = math.MaxUint64, val; key != nil && int(key[0]) == w.class {
		w.index = binary.BigEndian.Uint64(key[1:])
	}
}

func appendAudits(page []AuditRecord, index uint64, val []byte) ([]AuditRecord, error) {
	entry := new(Audits)
	if err := entry.UnmarshalVT(val); err != nil {
		return nil, damaged("decode the audit records of log entry %d: %w", index, err)
	}
	for _, a := range entry.Audits {
		page = append(page, AuditRecord{index, entry.TimeMs, a})
	}
	return page, nil
}

// AuditKept tells what is kept of the audit log: the time of its oldest record in ms since
// 1970, 0 if there is none, of what the store holds: some milliseconds old; and the bytes of
// its larger class.
func (s *State) AuditKept() (oldestMs, bytes int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_ = s.view(func(tx *bolt.Tx) error {
		for class := range s.auditBytes {
			k, v := readBucket(tx, bucketAudit).cursor().seek([]byte{byte(class)})
			if k == nil || int(k[0]) != class {
				continue
			}
			if ms, err := auditTime(v); err == nil && (oldestMs == 0 || ms < oldestMs) {
				oldestMs = ms
			}
		}
		return nil
	})
	return oldestMs, max(s.auditBytes[auditAdmin], s.auditBytes[auditTasks])
}
