package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	bolt "go.etcd.io/bbolt"
)

// bbolt takes the pages of a file for granted: over damaged ones it panics, on goroutines
// of its own too, or does not find what is there. So the file is read here first, page by
// page and with every length checked. The format is that of bbolt's internal/common, in
// the byte order of the machine.
const (
	pageHead   = 16 // id uint64, flags uint16, count uint16, overflow uint32
	elemHead   = 16 // of a leaf: flags, pos, ksize, vsize uint32; of a branch: pos, ksize uint32, id uint64
	branchPage = 0x01
	leafPage   = 0x02
	belowRoot  = 8    // depth where the pages of buckets begin; those that list the buckets are above
	isBucket   = 0x01 // flag of a leaf's element: its value is a bucket's root id and sequence, uint64

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSize    = 64 // from magic to checksum
)

// verifyStore reads the whole file of a state and returns an error that is errDamaged
// unless every page, record and tally in it is as it was written. No file is whole.
func verifyStore(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	defer f.Close()
	v := &verifier{file: f, pageSize: os.Getpagesize()}
	return guard(func() error { // of unseal, which panics
		root, err := v.head()
		if err != nil {
			return err
		}
		return v.verify(root)
	})
}

// verify reads all pages that tx sees. It must be used under guard.
func (s *store) verify(tx *bolt.Tx) error {
	v := &verifier{file: s.file, pageSize: os.Getpagesize()}
	v.seen = make([]bool, tx.Size()/int64(v.pageSize))
	return v.verify(uint64(tx.Cursor().Bucket().RootPage()))
}

// verifier reads the pages of a file.
type verifier struct {
	file     io.ReaderAt
	pageSize int
	seen     []bool   // pages by id; each belongs to one place
	buffers  [][]byte // of the pages from the root down to the current one
}

// page is the content of a page that was read, or of a small bucket inside another.
type page struct {
	data   []byte // with its header
	branch bool
	count  int
}

// verify reads everything from the root page on.
func (v *verifier) verify(root uint64) error {
	got, tallies := map[string]tally{}, map[string]tally{}
	err := v.walk(root, 0, nil, nil, func(name, val []byte, nested bool) error {
		if !nested || len(val) < 16 {
			return damaged("a record %q outside of the buckets", name)
		}
		var t tally
		each := func(key, sealed []byte, nested bool) error {
			if nested {
				return damaged("bucket %q has a bucket %x inside", name, key)
			}
			val, sum := unseal(key, sealed)
			t.add(sum)
			if bytes.Equal(name, bucketTallies) && len(val) == 16 {
				tallies[string(key)] = tally{binary.BigEndian.Uint64(val), binary.BigEndian.Uint64(val[8:])}
			}
			return nil
		}
		var err error
		if id := binary.NativeEndian.Uint64(val); id != 0 {
			err = v.walk(id, belowRoot, nil, nil, each) // the buffers above it are in use
		} else {
			var p page
			if p, err = parse(val[16:], 0); err == nil {
				err = v.leaf(p, nil, nil, each)
			}
		}
		got[string(name)] = t
		return err
	})
	if err != nil {
		return err
	}
	for i, name := range buckets {
		want, ok := tallies[string(name)]
		t, there := got[string(name)]
		if !ok && !there && i >= len(buckets1) {
			continue // the file is one of an earlier release
		}
		if !ok || !there || t != want {
			return damaged("bucket %s has %d records where %d were written, or old ones", name, t.records, want.records)
		}
	}
	return nil
}

// head reads the two heads of the file and returns the root page of the newer one.
func (v *verifier) head() (root uint64, err error) {
	newest, found := uint64(0), false
	for i := range int64(2) {
		b := make([]byte, pageHead+metaSize)
		if _, err := v.file.ReadAt(b, i*int64(v.pageSize)); err != nil {
			return 0, damaged("read head %d: %w", i, err)
		}
		m, n := b[pageHead:], binary.NativeEndian
		sum := fnv.New64a()
		sum.Write(m[:metaSize-8])
		txid := n.Uint64(m[48:])
		if n.Uint32(m) != metaMagic || n.Uint32(m[4:]) != metaVersion || n.Uint32(m[8:]) != uint32(v.pageSize) ||
			n.Uint64(m[56:]) != sum.Sum64() {
			return 0, damaged("head %d has another checksum", i)
		}
		if !found || txid > newest {
			found, newest, root = true, txid, n.Uint64(m[16:])
			v.seen = make([]bool, min(n.Uint64(m[40:]), 1<<34))
		}
	}
	return root, nil
}

// walk calls each for every record below a page, in order. All keys there must be from
// low on and below high; nil is no bound.
func (v *verifier) walk(id uint64, depth int, low, high []byte, each func(key, val []byte, bucket bool) error) error {
	p, err := v.read(id, depth)
	if err != nil {
		return err
	}
	if !p.branch {
		return v.leaf(p, low, high, each)
	}
	if p.count == 0 {
		return damaged("page %d leads nowhere", id)
	}
	for i := range p.count {
		key, child, err := p.child(i)
		if err != nil {
			return err
		}
		if low != nil && bytes.Compare(key, low) < 0 || i > 0 && bytes.Equal(key, low) {
			return damaged("page %d is out of order", id)
		}
		next := high
		if i+1 < p.count {
			if next, _, err = p.child(i + 1); err != nil {
				return err
			}
		}
		if err := v.walk(child, depth+1, key, next, each); err != nil {
			return err
		}
		low = key
	}
	return nil
}

// leaf calls each for the records of a leaf.
func (v *verifier) leaf(p page, low, high []byte, each func(key, val []byte, bucket bool) error) error {
	if p.branch {
		return damaged("a bucket inside another is no leaf")
	}
	for i := range p.count {
		key, val, bucket, err := p.record(i)
		if err != nil {
			return err
		}
		if c := bytes.Compare(key, low); c < 0 || i > 0 && c == 0 || high != nil && bytes.Compare(key, high) >= 0 {
			return damaged("the record %x is out of order", key)
		}
		if err := each(key, val, bucket); err != nil {
			return err
		}
		low = key
	}
	return nil
}

// read reads a page into the buffer of its depth.
func (v *verifier) read(id uint64, depth int) (page, error) {
	const deepest = 32 + belowRoot
	if id < 2 || id >= uint64(len(v.seen)) || depth > deepest {
		return page{}, damaged("there is no page %d", id)
	}
	for len(v.buffers) <= depth {
		v.buffers = append(v.buffers, make([]byte, v.pageSize))
	}
	buf := v.buffers[depth][:v.pageSize]
	at := int64(id) * int64(v.pageSize)
	if _, err := v.file.ReadAt(buf, at); err != nil {
		return page{}, damaged("read page %d: %w", id, err)
	}
	more := uint64(binary.NativeEndian.Uint32(buf[12:]))
	if id+more >= uint64(len(v.seen)) {
		return page{}, damaged("page %d goes on behind the end", id)
	}
	for i := id; i <= id+more; i++ {
		if v.seen[i] {
			return page{}, damaged("page %d is in two places", i)
		}
		v.seen[i] = true
	}
	if size := int(more+1) * v.pageSize; more > 0 {
		if cap(buf) < size {
			buf = append(buf, make([]byte, size-len(buf))...)
			v.buffers[depth] = buf
		}
		buf = buf[:size]
		if _, err := v.file.ReadAt(buf[v.pageSize:], at+int64(v.pageSize)); err != nil {
			return page{}, damaged("read page %d: %w", id, err)
		}
	}
	return parse(buf, id)
}

// parse reads the header of a page.
func parse(b []byte, id uint64) (page, error) {
	if len(b) < pageHead {
		return page{}, damaged("page %d is cut short", id)
	}
	n := binary.NativeEndian
	flags, count := n.Uint16(b[8:]), int(n.Uint16(b[10:]))
	if n.Uint64(b) != id || flags != branchPage && flags != leafPage || pageHead+count*elemHead > len(b) {
		return page{}, damaged("page %d has another head", id)
	}
	return page{b, flags == branchPage, count}, nil
}

// record returns a record of a leaf.
func (p page) record(i int) (key, val []byte, bucket bool, err error) {
	at := pageHead + i*elemHead
	n, b := binary.NativeEndian, p.data[at:]
	flags, pos, ksize, vsize := n.Uint32(b), uint64(n.Uint32(b[4:])), uint64(n.Uint32(b[8:])), uint64(n.Uint32(b[12:]))
	if flags > isBucket || pos+ksize+vsize > uint64(len(b)) {
		return nil, nil, false, damaged("a record does not fit its page")
	}
	return b[pos : pos+ksize], b[pos+ksize : pos+ksize+vsize], flags == isBucket, nil
}

// child returns an entry of a branch: the first key below a page, and the page.
func (p page) child(i int) (key []byte, id uint64, err error) {
	at := pageHead + i*elemHead
	n, b := binary.NativeEndian, p.data[at:]
	pos, ksize := uint64(n.Uint32(b)), uint64(n.Uint32(b[4:]))
	if pos+ksize > uint64(len(b)) {
		return nil, 0, damaged("a key does not fit its page")
	}
	return b[pos : pos+ksize], n.Uint64(b[8:]), nil
}
