package simnet

import (
	"sync"
	"syscall"
	"time"
)

const (
	window     = 256 << 10 // bytes that a writer may be ahead of its reader
	maxSegment = 16 << 10  // bytes that are lost together
)

// stream is a connection: two ends and, between them, two halves. All of it is guarded by mu.
type stream struct {
	ends  [2]*conn
	pair  *pair
	index int // in pair.streams
}

// fail ends both ends with an error.
func (s *stream) fail(err syscall.Errno) {
	for _, c := range s.ends {
		c.fail(err)
	}
}

// settle forgets a stream that is over at both ends.
func (s *stream) settle() {
	if s.index < 0 || !s.ends[0].over() || !s.ends[1].over() {
		return
	}
	all := s.pair.streams
	last := len(all) - 1
	all[s.index] = all[last]
	all[s.index].index = s.index
	all[last] = nil
	s.pair.streams = all[:last]
	s.index = -1
}

// kind is what a segment of a stream says.
type kind uint8

const (
	data    kind = iota
	opening      // the connection is established, hand it to the listener
	ending       // no more bytes come
	reset        // the other end is gone
	broken       // was lost too often
)

// segment is something on its way. Its bytes are in the half's buffer.
type segment struct {
	due  time.Duration // never = held up by a cut
	n    int           // bytes
	kind kind
}

// half is one direction of a stream: bytes that arrived and bytes on their way, in one buffer. All of it is guarded by mu.
type half struct {
	path     *path
	from, to *conn
	buf      []byte // from off: ready bytes that can be read, then those on their way
	off      int
	ready    int
	flying   []segment // soonest first
	armed    bool      // an event of this half is on the agenda
	owed     int       // bytes that were read, but the acknowledgement cannot get back
	ended    bool      // the end arrived: EOF after the ready bytes
	shut     bool      // the end was sent
	arrived  sync.Cond // for the reader
	room     sync.Cond // for the writer
}

func newHalf(p *path, from, to *conn) *half {
	h := &half{path: p, from: from, to: to}
	h.arrived.L, h.room.L = &p.net.mu, &p.net.mu
	return h
}

func (h *half) free() int { return window - (len(h.buf) - h.off) - h.owed }

// write sends bytes, as many as there is room for.
func (h *half) write(b []byte) int {
	sent := 0
	for limit := min(len(b), h.free()); sent < limit && !h.from.over(); {
		n := min(limit-sent, maxSegment)
		if len(h.buf)+n > cap(h.buf) && h.off >= len(h.buf)/4 { // so that it stays below twice the window
			h.buf = h.buf[:copy(h.buf, h.buf[h.off:])]
			h.off = 0
		}
		h.buf = append(h.buf, b[sent:sent+n]...)
		sent += n
		h.transmit(data, n)
	}
	return sent
}

// transmit sends one segment, whose bytes are at the end of the buffer.
func (h *half) transmit(k kind, n int) {
	p := h.path
	p.net.stats.Segments++
	if len(h.flying) == 0 && !p.closed && p.settings().perfect() {
		h.land(k, n)
		return
	}
	s := segment{due: never, n: n, kind: k}
	if p.closed {
		p.net.stats.SegmentsCut++
	} else {
		now := p.net.now()
		s.due = now + p.delay()
		for wait := minRetry; p.lost(); wait = min(2*wait, maxRetry) {
			p.net.stats.SegmentsLost++
			if s.due += wait + p.random(wait); s.due-now > UserTimeout {
				s.kind = broken
				break
			}
		}
	}
	if last := len(h.flying) - 1; last >= 0 {
		s.due = max(s.due, h.flying[last].due)
	}
	h.flying = append(h.flying, s)
	h.arm()
}

func (h *half) arm() {
	if !h.armed && len(h.flying) > 0 && h.flying[0].due != never {
		h.armed = true
		h.path.net.at(h.flying[0].due, h)
	}
}

// happen lets the segments arrive that are due, or holds all up if the path is closed.
func (h *half) happen(now time.Duration) {
	h.armed = false
	if h.path.closed {
		for i := range h.flying {
			if h.flying[i].due != never {
				h.flying[i].due = never
				h.path.net.stats.SegmentsCut++
			}
		}
		return
	}
	done := 0
	for done < len(h.flying) && h.flying[done].due <= now {
		s := h.flying[done]
		done++
		h.land(s.kind, s.n)
	}
	h.flying = h.flying[:copy(h.flying, h.flying[min(done, len(h.flying)):])]
	h.arm()
}

// land is the arrival of a segment. It may cause a segment the other way, but none on this half.
func (h *half) land(k kind, n int) {
	switch k {
	case data:
		h.ready += n
		if h.to.over() {
			h.discard()
			h.to.out.transmit(reset, 0)
		}
	case opening:
		h.to.listener.take(h.to)
	case ending:
		h.ended = true
	case reset:
		h.to.fail(syscall.ECONNRESET)
	case broken:
		h.to.stream.fail(syscall.ETIMEDOUT)
	}
	h.arrived.Broadcast()
}

// resume sends again what a cut held up: after a while, because the sender tries at growing intervals.
func (h *half) resume(now time.Duration) {
	due := now + h.path.delay() + minRetry + h.path.random(min(now-h.path.closedAt, maxRetry))
	for i := range h.flying { // those in front may still be on their way, from before the cut
		if h.flying[i].due == never {
			h.flying[i].due = due
		}
		due = max(due, h.flying[i].due)
	}
	h.arm()
}

// acknowledge tells the writer, now that the way back is open, what was read meanwhile.
func (h *half) acknowledge() {
	h.owed = 0
	h.room.Broadcast()
}

// read takes ready bytes.
func (h *half) read(b []byte) int {
	n := copy(b, h.buf[h.off:h.off+h.ready])
	h.consume(n)
	return n
}

// discard drops the ready bytes: nobody will read them.
func (h *half) discard() { h.consume(h.ready) }

func (h *half) consume(n int) {
	h.off += n
	h.ready -= n
	if h.path.back.closed {
		h.owed += n
	} else {
		h.room.Broadcast()
	}
	if h.off == len(h.buf) {
		h.buf, h.off = h.buf[:0], 0
	}
}

// drop loses what is on its way.
func (h *half) drop() {
	h.buf = h.buf[:h.off+h.ready]
	h.flying = h.flying[:0]
}
