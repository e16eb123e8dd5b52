package fsm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"
)

// An entry in the log is two bytes and a protobuf message: the version of the
// format, and how the message is packed.
const (
	entryVersion = 1

	packedPlain = 0
	packedS2    = 1

	// packAbove is where an entry is large enough for packing to pay: below it
	// the bytes saved cost more time than they take.
	packAbove = 16 << 10
	// maxEntry bounds an entry, and what one may unpack to, so that a damaged length
	// cannot ask for all memory. A call of a node is below 20 MiB.
	maxEntry = 64 << 20
)

// EncodeEntry returns the bytes of an entry for the log.
func EncodeEntry(e *Entry) ([]byte, error) {
	size := e.SizeVT()
	if size > maxEntry {
		return nil, fmt.Errorf("encode log entry: %d bytes, %d at most", size, maxEntry)
	}
	buf := make([]byte, 2+size)
	buf[0], buf[1] = entryVersion, packedPlain
	if _, err := e.MarshalToSizedBufferVT(buf[2:]); err != nil {
		return nil, fmt.Errorf("encode log entry: %w", err)
	}
	if size < packAbove {
		return buf, nil
	}
	packed := make([]byte, 2+s2.MaxEncodedLen(size))
	packed[0], packed[1] = entryVersion, packedS2
	n := len(s2.Encode(packed[2:], buf[2:]))
	if n > size*9/10 {
		return buf, nil
	}
	return bytes.Clone(packed[:2+n]), nil // what is kept of it should not keep the rest
}

// DecodeEntry reads the bytes of a log entry. The entry shares memory with data.
func DecodeEntry(data []byte) (*Entry, error) {
	if len(data) < 2 {
		return nil, errors.New("decode log entry: too short")
	}
	if data[0] != entryVersion {
		return nil, fmt.Errorf("decode log entry: version %d, this build knows %d: run a newer release", data[0], entryVersion)
	}
	body := data[2:]
	switch data[1] {
	case packedPlain:
	case packedS2:
		n, err := s2.DecodedLen(body)
		if err != nil || n > maxEntry {
			return nil, fmt.Errorf("decode log entry: unpacked length %d: %w", n, errors.Join(err, errTooLarge))
		}
		if body, err = s2.Decode(nil, body); err != nil {
			return nil, fmt.Errorf("decode log entry: %w", err)
		}
	default:
		return nil, fmt.Errorf("decode log entry: packing %d is not known: run a newer release", data[1])
	}
	e := new(Entry)
	if err := e.UnmarshalVTUnsafe(body); err != nil {
		return nil, fmt.Errorf("decode log entry: %w", err)
	}
	for i, c := range e.Commands {
		if c.Kind == nil {
			number, _, _ := protowire.ConsumeTag(c.unknownFields)
			return nil, fmt.Errorf("decode log entry: command %d of %d has number %d, which this build does not know: run a newer release",
				i, len(e.Commands), max(number, 0))
		}
	}
	return e, nil
}

var errTooLarge = errors.New("not a sane length")
