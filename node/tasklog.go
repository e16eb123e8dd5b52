package node

import (
	"context"
	"fmt"
	"sync"
)

// logHalf is how much of the beginning and of the end of an attempt's log is kept, in bytes.
const logHalf = 32<<10 - 64

// taskLog takes what an attempt prints and keeps its beginning and its end. Positions in it are those
// in all that was printed. It is safe for concurrent use.
type taskLog struct {
	mu    sync.Mutex
	head  []byte        // guarded by mu
	tail  []byte        // what follows head, its last logHalf to 2*logHalf bytes; guarded by mu
	total int64         // bytes printed; guarded by mu
	ended bool          // guarded by mu
	moved chan struct{} // closed at the next change, if somebody waits; guarded by mu
}

// Write never fails and never waits.
func (l *taskLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	l.total += int64(n)
	room := min(logHalf-len(l.head), n)
	l.head = append(l.head, p[:room]...)
	p = p[room:]
	if len(p) > logHalf {
		p, l.tail = p[len(p)-logHalf:], l.tail[:0]
	}
	if len(l.tail)+len(p) > 2*logHalf {
		l.tail = l.tail[:copy(l.tail, l.tail[len(l.tail)-logHalf:])]
	}
	l.tail = append(l.tail, p...)
	l.wake()
	return n, nil
}

// end says that nothing more will be printed.
func (l *taskLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.wake()
}

// wake wakes who waits. mu is held.
func (l *taskLog) wake() {
	if l.moved != nil {
		close(l.moved)
		l.moved = nil
	}
}

func (l *taskLog) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total == 0
}

// kept returns what is stored with the task: at most 64 KiB, with a line in the place of what
// is left out; nil if nothing was printed.
func (l *taskLog) kept() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out, _ := l.from(0)
	return out
}

// from returns what is kept from a position on, and the position after it. mu is held.
func (l *taskLog) from(at int64) (part []byte, next int64) {
	tail := l.tail[max(0, len(l.tail)-logHalf):]
	first := l.total - int64(len(tail)) // position of tail
	if at < int64(len(l.head)) {
		part = append(part, l.head[at:]...)
		at = int64(len(l.head))
	}
	if at < first {
		part = fmt.Appendf(part, "\n... %d bytes are left out here ...\n", first-at)
		at = first
	}
	if at < l.total {
		part = append(part, tail[at-first:]...)
	}
	return part, l.total
}

// read returns what was printed from a position on, waiting for it until ctx ends, the position
// after it, and whether it is the end.
func (l *taskLog) read(ctx context.Context, at int64) (part []byte, next int64, ended bool) {
	for {
		l.mu.Lock()
		part, next = l.from(at)
		ended = l.ended
		if l.moved == nil {
			l.moved = make(chan struct{})
		}
		moved := l.moved
		l.mu.Unlock()
		if len(part) > 0 || ended || ctx.Err() != nil {
			return part, next, ended
		}
		select {
		case <-moved:
		case <-ctx.Done():
		}
	}
}
