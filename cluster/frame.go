package cluster

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// A frame is: payload length (uint32, big endian), kind (1 byte), request id (uint32), payload. A request's payload is
// its method and body, an error's its code and message, each pair as: length of the first (1 byte), first, second.
const (
	kindRequest byte = iota + 1
	kindResponse
	kindError
	kindCancel // the caller no longer waits for the request
	kindPing   // keeps an idle connection alive; never answered, both sides send their own

	headerSize = 9
	maxFrame   = 32 << 20 // bytes of a payload
	readStep   = 1 << 20  // memory is taken in such steps as a large payload arrives, not as it is announced
)

// appendFrame appends a frame whose payload is body.
func appendFrame(b []byte, kind byte, id uint32, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, id)
	return append(b, body...)
}

// appendPair appends a frame whose payload is a short string (at most 255 bytes) and a body.
func appendPair(b []byte, kind byte, id uint32, first string, body []byte) []byte {
	first = first[:min(len(first), 255)]
	b = binary.BigEndian.AppendUint32(b, uint32(1+len(first)+len(body)))
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, id)
	b = append(b, byte(len(first)))
	b = append(b, first...)
	return append(b, body...)
}

// splitPair undoes the payload of appendPair.
func splitPair(payload []byte) (first, body []byte, err error) {
	if len(payload) == 0 || len(payload) < 1+int(payload[0]) {
		return nil, nil, fmt.Errorf("frame is cut short")
	}
	n := 1 + int(payload[0])
	return payload[1:n:n], payload[n:], nil
}

// frameReader reads frames and gives up when nothing at all arrives for the time called silence.
type frameReader struct {
	conn    net.Conn
	buf     *bufio.Reader
	silence time.Duration
	armed   time.Time // when the read deadline was last set
	header  [headerSize]byte
}

func newFrameReader(conn net.Conn, buf *bufio.Reader, silence time.Duration) *frameReader {
	return &frameReader{conn: conn, buf: buf, silence: silence}
}

// next returns one frame; the payload is the caller's.
func (r *frameReader) next() (kind byte, id uint32, payload []byte, err error) {
	if err = r.arm(); err != nil {
		return 0, 0, nil, err
	}
	if _, err = io.ReadFull(r.buf, r.header[:]); err != nil {
		return 0, 0, nil, err
	}
	size := int(binary.BigEndian.Uint32(r.header[:4]))
	if size > maxFrame {
		return 0, 0, nil, fmt.Errorf("frame of %d bytes: %w", size, ErrTooLarge)
	}
	kind, id = r.header[4], binary.BigEndian.Uint32(r.header[5:])
	if size == 0 {
		return kind, id, nil, nil
	}
	payload = make([]byte, min(size, readStep))
	for read := 0; ; {
		if _, err = io.ReadFull(r.buf, payload[read:]); err != nil {
			return 0, 0, nil, err
		}
		if read = len(payload); read == size {
			return kind, id, payload, nil
		}
		if err = r.arm(); err != nil {
			return 0, 0, nil, err
		}
		grown := make([]byte, min(size, 2*read))
		copy(grown, payload)
		payload = grown
	}
}

// arm moves the read deadline, at most ten times per period of silence: it costs more than reading a frame.
func (r *frameReader) arm() error {
	now := time.Now()
	if now.Sub(r.armed) < r.silence/10 {
		return nil
	}
	r.armed = now
	return r.conn.SetReadDeadline(now.Add(r.silence))
}
