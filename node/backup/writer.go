package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// Writer writes a file: the header by NewWriter, then State, then Blob or Missing for each blob in the order of the names,
// then Close. It holds the calls to what the header has promised. After an error it is of no more use.
type Writer struct {
	out  *bufio.Writer
	sum  hash.Hash
	head Header

	seen  Header // what was written so far
	last  []byte // name of the last blob
	stage Kind   // of the last record
	chunk []byte
}

// NewWriter begins a file in w with its header.
func NewWriter(w io.Writer, head Header) (*Writer, error) {
	sum := sha256.New()
	f := &Writer{
		out: bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10), sum: sum, head: head, stage: KindHeader,
		chunk: make([]byte, chunkSize),
	}
	text, err := json.Marshal(&head)
	if err != nil {
		return nil, fmt.Errorf("write the header of a snapshot: %w", err)
	}
	_, _ = f.out.WriteString(magic) // errors stick
	if _, err := f.record(KindHeader, nil, bytes.NewReader(text)); err != nil {
		return nil, err
	}
	return f, nil
}

// State writes the state.
func (f *Writer) State(r io.Reader) (err error) {
	if f.stage != KindHeader {
		return errors.New("write a snapshot: the state comes once, and first")
	}
	f.seen.StateBytes, err = f.record(KindState, nil, r)
	return err
}

// Blob writes the blob of that name, whose bytes r gives.
func (f *Writer) Blob(name [sha256.Size]byte, r io.Reader) error {
	if err := f.next(name); err != nil {
		return err
	}
	n, err := f.record(KindBlob, name[:], r)
	f.seen.Blobs, f.seen.BlobBytes = f.seen.Blobs+1, f.seen.BlobBytes+n
	return err
}

// Missing notes that the blob of that name was to be had nowhere.
func (f *Writer) Missing(name [sha256.Size]byte) error {
	if err := f.next(name); err != nil {
		return err
	}
	_, err := f.record(KindMissing, name[:], bytes.NewReader(nil))
	f.seen.MissingBlobs++
	return err
}

// next checks that a blob of that name may come now.
func (f *Writer) next(name [sha256.Size]byte) error {
	if f.stage == KindHeader {
		return errors.New("write a snapshot: the state comes before blobs")
	}
	if bytes.Compare(name[:], f.last) <= 0 {
		return fmt.Errorf("write a snapshot: blob %x comes after %x", name, f.last)
	}
	f.last = name[:]
	return nil
}

// Close ends the file. It does not close what it was written to.
func (f *Writer) Close() error {
	promised, got := f.head, f.head
	got.StateBytes, got.Blobs, got.BlobBytes, got.MissingBlobs = f.seen.StateBytes, f.seen.Blobs, f.seen.BlobBytes, f.seen.MissingBlobs
	if promised != got || f.stage == KindHeader {
		return fmt.Errorf("write a snapshot: its header promises %d bytes of state, %d blobs of %d bytes, %d missing; written were %d, %d, %d, %d",
			promised.StateBytes, promised.Blobs, promised.BlobBytes, promised.MissingBlobs, got.StateBytes, got.Blobs, got.BlobBytes, got.MissingBlobs)
	}
	_ = f.out.WriteByte(byte(kindEnd))
	if err := f.out.Flush(); err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	_, _ = f.out.Write(f.sum.Sum(nil))
	if err := f.out.Flush(); err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	return nil
}

// record writes one record and returns how many bytes its content has.
func (f *Writer) record(kind Kind, name []byte, r io.Reader) (size int64, err error) {
	f.stage = kind
	head := append([]byte{byte(kind)}, name...)
	_, _ = f.out.Write(binary.BigEndian.AppendUint32(head, crc32.Checksum(head, castagnoli)))
	for {
		n, err := io.ReadFull(r, f.chunk)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return size, fmt.Errorf("write a snapshot: %w", err)
		}
		if n == 0 {
			break
		}
		_, _ = f.out.Write(binary.BigEndian.AppendUint32(f.out.AvailableBuffer(), uint32(n)))
		_, _ = f.out.Write(f.chunk[:n])
		_, _ = f.out.Write(binary.BigEndian.AppendUint32(f.out.AvailableBuffer(), crc32.Checksum(f.chunk[:n], castagnoli)))
		size += int64(n)
		if err != nil {
			break
		}
	}
	if _, err := f.out.Write(make([]byte, 4)); err != nil {
		return size, fmt.Errorf("write a snapshot: %w", err)
	}
	return size, nil
}
