// Package backup is the file that a whole cluster is saved in: its state and the blobs that the state names, from one log
// index. It knows the container and not what the state means; both ends stream, so that gigabytes take no more memory than
// kilobytes.
//
// A file is the line "pytasks backup 1\n", then records, then nothing. Numbers are big-endian:
//
//	record   kind, 1 byte · name, 32 bytes, of kinds b and m alone · CRC-32C of these, 4 bytes · chunks
//	chunk    length, 4 bytes, at most 1 MiB · so many bytes · their CRC-32C, 4 bytes
//	         one of length 0 ends the record, without bytes or checksum
//	kinds    h  the header: JSON, see Header; the first record
//	         s  the state, as the state machine writes its snapshots; the second
//	         b  a blob, named by its SHA-256; in the order of the names
//	         m  a blob that the state names and no node had; in the same order; empty
//	         e  the end: kind and SHA-256 of all bytes before it, 33 bytes, no chunks
//
// The checksums of chunks say where a file is damaged, that at its end says that nothing is missing, moved or doubled.
//
// Start with Writer, then Reader.
package backup

import (
	"errors"
	"hash/crc32"
	"time"
)

const (
	// Version is the newest version of the format, which Writer writes.
	Version = 1

	magic     = "pytasks backup 1\n"
	maxChunk  = 1 << 20
	chunkSize = 256 << 10 // of those that are written
	maxHeader = 64 << 10
)

// ErrDamaged is in the chain of what Reader returns for a file that is not what was written. The error says where.
var ErrDamaged = errors.New("the file is damaged")

// Kind is what a record is.
type Kind byte

// The kinds of records. The last is read by Reader itself.
const (
	KindHeader  Kind = 'h'
	KindState   Kind = 's'
	KindBlob    Kind = 'b'
	KindMissing Kind = 'm'
	kindEnd     Kind = 'e'
)

// named says whether records of the kind have a name.
func (k Kind) named() bool { return k == KindBlob || k == KindMissing }

// Header is what a file says of itself.
type Header struct {
	Cluster string    `json:"cluster"` // id
	Node    string    `json:"node"`    // name of the one that wrote it
	Release string    `json:"release"` // of the program
	Time    time.Time `json:"time"`    // by the clock of that node
	Index   uint64    `json:"index"`   // log index that the state has applied
	Term    uint64    `json:"term"`    // in which the node was then

	StateBytes   int64 `json:"state_bytes"`
	Blobs        int   `json:"blobs"`         // records
	BlobBytes    int64 `json:"blob_bytes"`    // of their content
	MissingBlobs int   `json:"missing_blobs"` // records
}

// Total is how many bytes of state and blobs the file has.
func (h *Header) Total() int64 { return h.StateBytes + h.BlobBytes }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
