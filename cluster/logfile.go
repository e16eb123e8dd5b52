package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
)

// The format of bbolt 1.x: two meta pages, of which the newer whole one counts, then a tree of pages for each bucket.
// A page has a header, elements of one size, and behind them the keys and values in the elements' order.
const (
	boltHeader   = 16 // page id, flags, count of elements, count of further pages
	boltElement  = 16 // of a branch: position, key size, page; of a leaf: flags, position, key size, value size
	boltMetaSize = 64 // magic, version, page size, flags, root, sequence, freelist, pages, transaction, checksum
	boltMagic    = 0xED0CDAED
	boltBranch   = 1
	boltLeaf     = 2
	boltBucket   = 1  // flag of a leaf's element
	boltMaxDepth = 64 // more than any tree of 2^64 keys
)

// advice ends every refusal of damaged data.
const advice = "give the node an empty data directory, it will fetch everything from the others"

// checkLogFile looks whether bbolt can read all of a file. Bbolt itself trusts its disk: a damaged page, or the end of a
// truncated file, ends the process or keeps it busy for ever wherever it is met, also on a goroutine of bbolt's own while
// it opens; and a damaged newest meta page silently takes back the last write, which may be an entry that was
// acknowledged. What stands in the entries is not looked at: each has a checksum.
func checkLogFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open raft log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		return nil // bbolt starts it anew
	}
	b := &boltFile{f: f, seen: map[uint64]bool{}}
	if err == nil {
		err = b.check(info.Size())
	}
	if err != nil {
		return fmt.Errorf("the raft log %s is damaged: %w: %s", path, err, advice)
	}
	return nil
}

// boltFile is a file that is checked.
type boltFile struct {
	f        io.ReaderAt
	pageSize int64
	pages    uint64          // so many are in use
	seen     map[uint64]bool // none is used twice
}

// check checks both meta pages, that the file is as long as they say, and every page of the newer one's tree. A crash
// does not damage a meta page: it is smaller than what a disk writes at once.
func (b *boltFile) check(size int64) error {
	first, second := make([]byte, boltHeader+boltMetaSize), make([]byte, boltHeader+boltMetaSize)
	if _, err := b.f.ReadAt(first, 0); err != nil {
		return fmt.Errorf("its first page: %w", err)
	}
	b.pageSize = int64(binary.NativeEndian.Uint32(first[boltHeader+8:]))
	if b.pageSize < 1<<9 || b.pageSize > 1<<16 {
		return errors.New("its first page is no meta page")
	}
	if _, err := b.f.ReadAt(second, b.pageSize); err != nil {
		return fmt.Errorf("its second page: %w", err)
	}
	var newest, root uint64
	for i, page := range [][]byte{first, second} {
		meta := page[boltHeader:]
		sum := fnv.New64a()
		sum.Write(meta[:boltMetaSize-8])
		if binary.NativeEndian.Uint32(meta) != boltMagic || binary.NativeEndian.Uint64(meta[boltMetaSize-8:]) != sum.Sum64() {
			return fmt.Errorf("the checksum of meta page %d is wrong", i)
		}
		if tx := binary.NativeEndian.Uint64(meta[48:]); tx >= newest {
			newest, root, b.pages = tx, binary.NativeEndian.Uint64(meta[16:]), binary.NativeEndian.Uint64(meta[40:])
		}
	}
	if have := uint64(size / b.pageSize); b.pages > have {
		return fmt.Errorf("%d of its %d pages are missing", b.pages-have, b.pages)
	}
	return b.tree(root, 0)
}

// tree checks a page and all below it.
func (b *boltFile) tree(id uint64, depth int) error {
	head := make([]byte, boltHeader)
	if id < 2 || id >= b.pages || b.seen[id] || depth > boltMaxDepth {
		return fmt.Errorf("a reference to page %d cannot be", id)
	}
	if _, err := b.f.ReadAt(head, int64(id)*b.pageSize); err != nil {
		return err
	}
	more := uint64(binary.NativeEndian.Uint32(head[12:]))
	if got := binary.NativeEndian.Uint64(head); got != id || id+more >= b.pages {
		return fmt.Errorf("page %d is none of its own", id)
	}
	for i := id; i <= id+more; i++ {
		if b.seen[i] {
			return fmt.Errorf("page %d is used twice", i)
		}
		b.seen[i] = true
	}
	page := make([]byte, int64(more+1)*b.pageSize)
	if _, err := b.f.ReadAt(page, int64(id)*b.pageSize); err != nil {
		return err
	}
	used, err := b.elements(page, depth)
	if err == nil && used < int64(more)*b.pageSize {
		err = errors.New("it is longer than its elements")
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// elements checks what a page holds and returns how many bytes that are.
func (b *boltFile) elements(page []byte, depth int) (used int64, err error) {
	flags, count := binary.NativeEndian.Uint16(page[8:]), int(binary.NativeEndian.Uint16(page[10:]))
	if flags != boltBranch && flags != boltLeaf || flags == boltBranch && count == 0 || boltHeader+count*boltElement > len(page) {
		return 0, errors.New("its header is damaged")
	}
	end := int64(boltHeader + count*boltElement)
	var last []byte
	for i := range count {
		at := int64(boltHeader + i*boltElement)
		e := page[at : at+boltElement]
		word := func(n int) int64 { return int64(binary.NativeEndian.Uint32(e[n:])) }
		kind, pos, keySize, valueSize := word(0), word(4), word(8), word(12)
		if flags == boltBranch {
			kind, pos, keySize, valueSize = 0, word(0), word(4), 0
		}
		key, value := at+pos, at+pos+keySize
		if key != end || value+valueSize > int64(len(page)) || kind > boltBucket {
			return 0, fmt.Errorf("element %d is damaged", i)
		}
		end = value + valueSize
		if k := page[key:value]; i > 0 && string(k) <= string(last) {
			return 0, errors.New("its keys are out of order")
		}
		last = page[key:value]
		switch {
		case flags == boltBranch:
			err = b.tree(binary.NativeEndian.Uint64(e[8:]), depth+1)
		case kind == boltBucket:
			err = b.bucket(page[value:end], depth)
		}
		if err != nil {
			return 0, err
		}
	}
	return end, nil
}

// bucket checks a bucket: its root's page and a sequence number, or instead of the page a small one behind them.
func (b *boltFile) bucket(value []byte, depth int) error {
	if len(value) < 16 {
		return errors.New("a bucket is cut short")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return b.tree(root, depth+1)
	}
	if len(value) < 16+boltHeader || depth > boltMaxDepth {
		return errors.New("a small bucket is cut short")
	}
	_, err := b.elements(value[16:], depth+1)
	return err
}
