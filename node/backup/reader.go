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
	"strings"
)

// Reader reads a file and verifies every byte of it. What it gives out is to be trusted once Next has returned io.EOF.
type Reader struct {
	in   *bufio.Reader
	sum  hash.Hash
	at   int64 // bytes read
	head Header
	err  error // ends all

	seen    Header
	record  Record
	content hash.Hash // of a blob
	size    int64     // of the content of the current record so far
	chunk   []byte    // what is left of the current one
	buf     []byte
	done    bool // the current record has ended
}

// Record is one part of a file: the state, a blob, or the note that one is missing.
type Record struct {
	Kind Kind
	Name [sha256.Size]byte // of a blob
}

// NewReader begins to read a file, up to its header.
func NewReader(r io.Reader) (*Reader, error) {
	f := &Reader{in: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), content: sha256.New(), done: true}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *Reader) open() error {
	line := make([]byte, len(magic))
	if err := f.fill(line); err != nil || string(line) != magic {
		if errors.Is(err, ErrDamaged) || err == nil {
			return f.other(line)
		}
		return err
	}
	if err := f.begin(); err != nil {
		return err
	}
	if f.record.Kind != KindHeader {
		return f.damage("a record of kind %q where the header should be", f.record.Kind)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxHeader+1))
	if err != nil {
		return err
	}
	if len(text) > maxHeader {
		return f.damage("the header has more than %d bytes", maxHeader)
	}
	if err := json.Unmarshal(text, &f.head); err != nil {
		return f.damage("the header cannot be read: %v", err)
	}
	return nil
}

// other says what a file is that does not begin as one of ours does.
func (f *Reader) other(line []byte) error {
	if version, ok := strings.CutPrefix(strings.TrimRight(string(line), "\x00"), "pytasks backup "); ok && version != "" && version != "1\n" {
		return fmt.Errorf("the file is a snapshot of format %.10q, and this program reads format %d: use the release that wrote it, or a newer one", strings.TrimSpace(version), Version)
	}
	return fmt.Errorf("the file is no snapshot of a cluster: it does not begin with %q, as those of `pytasks snapshot save` do", strings.TrimSpace(magic))
}

// Header returns what the file says of itself.
func (f *Reader) Header() Header { return f.head }

// Offset returns how many bytes of the file were read so far.
func (f *Reader) Offset() int64 { return f.at }

// Next goes to the next record, whose content Read gives. What is left of the last one is read and verified before. At the
// end of a file that is whole it returns io.EOF.
func (f *Reader) Next() (Record, error) {
	if f.err != nil {
		return Record{}, f.err
	}
	if !f.done {
		if _, err := io.Copy(io.Discard, f); err != nil {
			return Record{}, err
		}
	}
	last := f.record
	if err := f.begin(); err != nil {
		return Record{}, err
	}
	r := f.record
	switch {
	case r.Kind == kindEnd:
		return Record{}, f.end()
	case r.Kind == KindState && last.Kind != KindHeader, r.Kind == KindHeader, r.Kind != KindState && last.Kind == KindHeader:
		return Record{}, f.damage("a record of kind %q out of place", r.Kind)
	case last.Kind.named() && bytes.Compare(r.Name[:], last.Name[:]) <= 0:
		return Record{}, f.damage("blob %x out of order", r.Name)
	}
	return r, nil
}

// Read reads the content of the current record, to io.EOF at its end.
func (f *Reader) Read(p []byte) (int, error) {
	for f.err == nil && !f.done && len(f.chunk) == 0 {
		if err := f.nextChunk(); err != nil {
			return 0, err
		}
	}
	if f.err != nil {
		return 0, f.err
	}
	if len(f.chunk) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.chunk)
	f.chunk = f.chunk[n:]
	return n, nil
}

// begin reads the head of a record.
func (f *Reader) begin() error {
	at := f.at
	var head [1 + sha256.Size + 4]byte
	if err := f.fill(head[:1]); err != nil {
		return err
	}
	f.record = Record{Kind: Kind(head[0])}
	f.size, f.done, f.chunk = 0, false, nil
	f.content.Reset()
	n := 1
	switch {
	case f.record.Kind == kindEnd:
		return nil
	case f.record.Kind.named():
		n += sha256.Size
	case f.record.Kind != KindHeader && f.record.Kind != KindState:
		return f.damageAt(at, "no record begins with %q", head[0])
	}
	if err := f.fill(head[1 : n+4]); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(head[n:]) != crc32.Checksum(head[:n], castagnoli) {
		return f.damageAt(at, "the head of a record has another checksum")
	}
	copy(f.record.Name[:], head[1:n])
	return nil
}

// nextChunk reads a chunk, verified, or the end of the record.
func (f *Reader) nextChunk() error {
	at := f.at
	var number [4]byte
	if err := f.fill(number[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(number[:]))
	if n > maxChunk {
		return f.damageAt(at, "a chunk of %d bytes", n)
	}
	if n == 0 {
		return f.endRecord()
	}
	if len(f.buf) < n {
		f.buf = make([]byte, n)
	}
	if err := f.fill(f.buf[:n]); err != nil {
		return err
	}
	if err := f.fill(number[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(number[:]) != crc32.Checksum(f.buf[:n], castagnoli) {
		return f.damageAt(at, "%d bytes of %s have another checksum", n, f.what())
	}
	f.chunk = f.buf[:n]
	f.size += int64(n)
	if f.record.Kind == KindBlob {
		f.content.Write(f.chunk)
	}
	return nil
}

// what names the current record for people.
func (f *Reader) what() string {
	switch f.record.Kind {
	case KindHeader:
		return "the header"
	case KindState:
		return "the state"
	}
	return fmt.Sprintf("blob %x", f.record.Name)
}

func (f *Reader) endRecord() error {
	f.done = true
	switch f.record.Kind {
	case KindState:
		f.seen.StateBytes = f.size
	case KindBlob:
		if [sha256.Size]byte(f.content.Sum(nil)) != f.record.Name {
			return f.damage("%s has another SHA-256", f.what())
		}
		f.seen.Blobs++
		f.seen.BlobBytes += f.size
	case KindMissing:
		if f.size != 0 {
			return f.damage("%s is said to be missing and has %d bytes", f.what(), f.size)
		}
		f.seen.MissingBlobs++
	}
	return nil
}

// end verifies the whole.
func (f *Reader) end() error {
	want := f.sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if err := f.fill(got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return f.damage("the checksum of the whole is another one")
	}
	h, s := f.head, f.seen
	if h.StateBytes != s.StateBytes || h.Blobs != s.Blobs || h.BlobBytes != s.BlobBytes || h.MissingBlobs != s.MissingBlobs {
		return f.damage("it has %d bytes of state, %d blobs of %d bytes and %d missing, and its header promises %d, %d, %d and %d",
			s.StateBytes, s.Blobs, s.BlobBytes, s.MissingBlobs, h.StateBytes, h.Blobs, h.BlobBytes, h.MissingBlobs)
	}
	switch _, err := f.in.ReadByte(); {
	case err == nil:
		return f.damage("there is more behind its end")
	case !errors.Is(err, io.EOF):
		return f.fail(fmt.Errorf("read snapshot: %w", err))
	}
	return f.fail(io.EOF)
}

// fill reads as many bytes as b has.
func (f *Reader) fill(b []byte) error {
	n, err := io.ReadFull(f.in, b)
	f.sum.Write(b[:n])
	f.at += int64(n)
	switch {
	case err == io.EOF, err == io.ErrUnexpectedEOF: // of io.ReadFull; others may wrap these, as connections that broke do
		return f.damage("it ends there, in the middle: it was cut off")
	case err != nil:
		return f.fail(fmt.Errorf("read snapshot: %w", err))
	}
	return nil
}

func (f *Reader) fail(err error) error {
	f.err = err
	return err
}

func (f *Reader) damage(format string, args ...any) error { return f.damageAt(f.at, format, args...) }

// damageAt says what is wrong with the bytes from an offset on.
func (f *Reader) damageAt(at int64, format string, args ...any) error {
	return f.fail(fmt.Errorf("%w at byte %d: %s", ErrDamaged, at, fmt.Sprintf(format, args...)))
}
