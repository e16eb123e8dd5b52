package fsm

import (
	"bytes"
	"encoding/base64"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// maxScan bounds the records that one List looks at. A filter that fits few of
// many tasks gets short pages, and a cursor to go on.
const maxScan = 50_000

// Filter chooses tasks. A zero field does not filter.
type Filter struct {
	Status Status
	Type   string
	Tag    string
	Owner  string // where Owned
	Owned  bool   // only the tasks of Owner
	Limit  int    // tasks in a page; 0 means 50
	Cursor string // Page.Next of the page before
}

// Page is a part of a list.
type Page struct {
	Tasks []*Task
	Next  string // Cursor of the next page, "" after the last
}

// List returns tasks, newest first. A page may hold fewer than Limit tasks, even
// none, and still have a Next.
func (s *State) List(f Filter) (Page, error) {
	if f.Limit <= 0 {
		f.Limit = 50
	}
	var before []byte
	if f.Cursor != "" {
		b, err := base64.RawURLEncoding.DecodeString(f.Cursor)
		if err != nil || len(b) != len(Key{}) {
			return Page{}, ErrBadCursor
		}
		before = b
	}
	if err := s.flush(); err != nil {
		return Page{}, err
	}
	snap, err := s.begin()
	if err != nil {
		return Page{}, err
	}
	defer snap.Release()
	var page Page
	err = s.checked(guard(func() (err error) {
		page, err = f.scan(snap.tx, before)
		return err
	}))
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

// scan walks the buckets that the filter needs, side by side, downwards.
func (f *Filter) scan(tx *bolt.Tx, before []byte) (Page, error) {
	var walks []*walk
	for _, name := range f.buckets() {
		walks = append(walks, newWalk(readBucket(tx, name).cursor(), before))
	}
	done := readBucket(tx, bucketDone)
	var page Page
	for range maxScan {
		w := newest(walks)
		if w == nil {
			return page, nil
		}
		key, val := w.key, w.val
		if len(val) == 0 {
			val, _ = done.get(key)
		}
		t, err := decodeTask(val)
		if err != nil {
			return Page{}, err
		}
		if f.fits(t) {
			page.Tasks = append(page.Tasks, t)
		}
		w.next()
		if len(page.Tasks) == f.Limit {
			if newest(walks) != nil {
				page.Next = base64.RawURLEncoding.EncodeToString(t.Key)
			}
			return page, nil
		}
		before = t.Key
	}
	page.Next = base64.RawURLEncoding.EncodeToString(before)
	return page, nil
}

func (f *Filter) buckets() [][]byte {
	switch {
	case f.Status == Status_UNKNOWN:
		return [][]byte{bucketLive, bucketDone}
	case !f.Status.Final():
		return [][]byte{bucketLive}
	case f.Status == Status_SUCCESS:
		return [][]byte{bucketDone}
	default:
		return [][]byte{bucketFailed}
	}
}

func (f *Filter) fits(t *Task) bool {
	return (f.Status == Status_UNKNOWN || t.Status == f.Status) &&
		(!f.Owned || t.Owner == f.Owner) &&
		(f.Type == "" || t.Type == f.Type) &&
		(f.Tag == "" || slices.Contains(t.Tags, f.Tag))
}

// walk goes down a bucket.
type walk struct {
	cur      cursor
	key, val []byte
}

// newWalk starts below a key, or at the end.
func newWalk(cur cursor, before []byte) *walk {
	w := &walk{cur: cur}
	if before == nil {
		w.key, w.val = cur.last()
		return w
	}
	if k, _ := cur.seek(before); k == nil {
		w.key, w.val = cur.last()
	} else {
		w.key, w.val = cur.prev()
	}
	return w
}

func (w *walk) next() { w.key, w.val = w.cur.prev() }

// newest returns the walk that stands at the highest key, nil when all are done.
func newest(walks []*walk) *walk {
	var best *walk
	for _, w := range walks {
		if w.key != nil && (best == nil || bytes.Compare(w.key, best.key) > 0) {
			best = w
		}
	}
	return best
}
