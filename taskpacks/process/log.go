package process

import (
	"io"
	"strings"
	"sync"
)

const (
	// pipeSize is what a pipe holds at most, in bytes.
	pipeSize = 64 << 10
	// maxQuiet bounds what a worker's output adds to the node's own log between two calls, in bytes.
	maxQuiet = 4 << 10
)

// logPipe is what a process prints. It goes to the log of the call that runs, of which the end is kept; between calls to the
// node's own log.
type logPipe struct {
	in    *inlet
	ended chan struct{}     // closed when all is read
	quiet func(text string) // takes what is printed between calls

	mu   sync.Mutex // held while bytes are on their way from the pipe to to
	to   io.Writer  // of the call; nil between calls; guarded by mu
	tail tail       // of what the call printed; guarded by mu
	room int        // bytes for quiet until the next call; guarded by mu
	buf  []byte     // guarded by mu
}

// newLogPipe returns a logPipe that keeps so many bytes of the end.
func newLogPipe(in *inlet, keep int, quiet func(text string)) *logPipe {
	return &logPipe{in: in, ended: make(chan struct{}), quiet: quiet, tail: tail{keep: keep}, buf: make([]byte, 32<<10)}
}

// run reads until the pipe ends. It closes the node's end.
func (l *logPipe) run() {
	defer close(l.ended)
	defer l.in.f.Close()
	err := l.in.raw.Read(func(fd uintptr) (done bool) {
		for {
			switch l.pass(func(p []byte) int { return pollFD(fd, p) }) {
			case -1:
				return false
			case 0:
				return true
			}
		}
	})
	if err != nil {
		l.drain()
	}
}

// begin makes w the place for what is printed from now on.
func (l *logPipe) begin(w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = w
	l.tail.kept = l.tail.kept[:0]
}

// finish passes on what has been printed so far and lets go of the call's log. It returns the end of what was printed.
func (l *logPipe) finish() string {
	l.drain()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to, l.room = nil, maxQuiet
	return strings.ToValidUTF8(string(l.tail.kept), "\ufffd")
}

// drain passes on what is in the pipe, and no more: who prints all the time must not keep it busy.
func (l *logPipe) drain() {
	for left := pipeSize; left > 0; {
		n := l.pass(l.in.poll)
		if n <= 0 {
			return
		}
		left -= n
	}
}

// pass hands one read on.
func (l *logPipe) pass(read func(p []byte) int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := read(l.buf)
	if n <= 0 {
		return n
	}
	p := l.buf[:n]
	if l.to != nil {
		l.tail.add(p)
		l.to.Write(p)
	} else if l.room > 0 {
		p = p[:min(n, l.room)]
		l.room -= len(p)
		l.quiet(string(p))
	}
	return n
}

// tail keeps the end of a text.
type tail struct {
	keep int // bytes
	kept []byte
}

func (t *tail) add(p []byte) {
	p = p[max(0, len(p)-t.keep):]
	if over := len(t.kept) + len(p) - t.keep; over > 0 {
		t.kept = t.kept[:copy(t.kept, t.kept[over:])]
	}
	t.kept = append(t.kept, p...)
}
