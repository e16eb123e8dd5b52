package fsm

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"
)

// bbolt has no checksum over what it stores: a bit that the disk flipped would be read as
// a result. So every value carries a CRC-32C over its key and itself, and every bucket
// has a sum over its records, so that none can be missing or old. Values are sealed by
// writer.put and opened by unseal; nothing else touches a bucket of the state.

const sealSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, val []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, val)
}

// unseal returns the value of a record, and its checksum. It panics with damage where
// they do not fit, for guard to catch.
func unseal(key, sealed []byte) (val []byte, sum uint32) {
	if len(sealed) < sealSize {
		panic(damaged("the record %x is cut short", key))
	}
	val = sealed[: len(sealed)-sealSize : len(sealed)-sealSize]
	sum = binary.BigEndian.Uint32(sealed[len(val):])
	if sum != checksum(key, val) {
		panic(damaged("the record %x has another checksum", key))
	}
	return val, sum
}

// tally sums up the records of a bucket, in any order.
type tally struct{ records, sum uint64 }

func (t *tally) add(sum uint32) { t.records++; t.sum += uint64(sum) }

func (t *tally) remove(sum uint32) { t.records--; t.sum -= uint64(sum) }

// reader reads a bucket. Its values are valid as long as the transaction; like all that
// reads the store it must be used under guard.
type reader struct {
	name []byte
	b    *bolt.Bucket
}

func readBucket(tx *bolt.Tx, name []byte) reader {
	b := tx.Bucket(name)
	if b == nil {
		panic(damaged("the bucket %s is missing", name))
	}
	return reader{name, b}
}

// get returns the value of a record; ok is false if there is none.
func (r reader) get(key []byte) (val []byte, ok bool) {
	sealed := r.b.Get(key)
	if sealed == nil {
		return nil, false
	}
	val, _ = unseal(key, sealed)
	return val, true
}

func (r reader) cursor() cursor { return cursor{r.b.Cursor()} }

// each calls f for every record, in the order of their keys, and checks that they are
// those that were written.
func (r reader) each(f func(key, val []byte) error) error {
	var got tally
	c := r.b.Cursor()
	for key, sealed := c.First(); key != nil; key, sealed = c.Next() {
		val, sum := unseal(key, sealed)
		if err := f(key, val); err != nil {
			return err
		}
		got.add(sum)
	}
	if want := readTally(r.b.Tx(), r.name); got != want {
		return damaged("the bucket %s has %d records where %d were written, or old ones", r.name, got.records, want.records)
	}
	return nil
}

// readTally returns the tally that a bucket was left with.
func readTally(tx *bolt.Tx, name []byte) tally {
	val, _ := readBucket(tx, bucketTallies).get(name)
	if len(val) != 16 {
		panic(damaged("the tally of the bucket %s is missing", name))
	}
	return tally{binary.BigEndian.Uint64(val), binary.BigEndian.Uint64(val[8:])}
}

// writeTally leaves a bucket with its tally.
func writeTally(tx *bolt.Tx, name []byte, t tally) error {
	w := writer{reader: readBucket(tx, bucketTallies)}
	return w.put(name, append(u64(t.records), u64(t.sum)...))
}

// cursor walks a bucket; a nil key is its end.
type cursor struct{ c *bolt.Cursor }

func (c cursor) first() (key, val []byte)         { return opened(c.c.First()) }
func (c cursor) last() (key, val []byte)          { return opened(c.c.Last()) }
func (c cursor) next() (key, val []byte)          { return opened(c.c.Next()) }
func (c cursor) prev() (key, val []byte)          { return opened(c.c.Prev()) }
func (c cursor) seek(to []byte) (key, val []byte) { return opened(c.c.Seek(to)) }
func opened(key, sealed []byte) (k []byte, v []byte) {
	if key != nil {
		v, _ = unseal(key, sealed)
	}
	return key, v
}

// writer writes to a bucket; done must follow.
type writer struct {
	reader
	tally tally
	last  []byte // no key of the bucket is higher
}

func writeBucket(tx *bolt.Tx, name []byte) *writer {
	w := &writer{reader: readBucket(tx, name), tally: readTally(tx, name)}
	w.last, _ = w.b.Cursor().Last()
	w.last = bytes.Clone(w.last) // the page may go
	return w
}

// put writes a record. The value must not change until the transaction ends; room behind
// it is used for the seal.
func (w *writer) put(key, val []byte) error {
	if bytes.Compare(key, w.last) > 0 { // most are new, and behind all others
		w.last = key
	} else if old := w.b.Get(key); old != nil {
		_, sum := unseal(key, old)
		w.tally.remove(sum)
	}
	sum := checksum(key, val)
	w.tally.add(sum)
	return w.b.Put(key, binary.BigEndian.AppendUint32(val, sum))
}

// delete deletes a record if there is one.
func (w *writer) delete(key []byte) error {
	old := w.b.Get(key)
	if old == nil {
		return nil
	}
	_, sum := unseal(key, old)
	w.tally.remove(sum)
	return w.b.Delete(key)
}

// done notes what the bucket holds now.
func (w *writer) done() error { return writeTally(w.b.Tx(), w.name, w.tally) }
