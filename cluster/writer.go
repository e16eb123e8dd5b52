package cluster

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxUnsent   = 8 << 20   // bytes that may wait behind a write; more senders block
	writeStep   = 256 << 10 // bytes that must be accepted within the write timeout
	writeRounds = 4         // writes that a sender does for others before it hands the duty on
	keepBuffer  = 1 << 20   // larger buffers are given back to the garbage collector
)

// frameWriter gathers the frames of many senders. A sender that finds nobody writing writes at once, on its own
// goroutine; frames that arrive meanwhile leave together in the next write. So an idle connection costs no handover and
// a busy one few system calls.
type frameWriter struct {
	conn    net.Conn
	timeout time.Duration
	wrote   atomic.Int64 // unix nanoseconds of the last write

	mu      sync.Mutex
	room    sync.Cond
	unsent  []byte // guarded by mu
	spare   []byte // guarded by mu
	writing bool   // guarded by mu: somebody is in drain
	err     error  // guarded by mu: why the connection is broken
}

func newFrameWriter(conn net.Conn, timeout time.Duration) *frameWriter {
	w := &frameWriter{conn: conn, timeout: timeout}
	w.room.L = &w.mu
	return w
}

// send queues one frame and sees to it that it is written. An error means that no byte of it left.
func (w *frameWriter) send(kind byte, id uint32, body []byte) error {
	return w.add(func(b []byte) []byte { return appendFrame(b, kind, id, body) })
}

// sendPair is send for a payload of two parts.
func (w *frameWriter) sendPair(kind byte, id uint32, first string, body []byte) error {
	return w.add(func(b []byte) []byte { return appendPair(b, kind, id, first, body) })
}

func (w *frameWriter) add(appendTo func([]byte) []byte) error {
	w.mu.Lock()
	for len(w.unsent) > maxUnsent && w.err == nil {
		w.room.Wait()
	}
	if err := w.err; err != nil {
		w.mu.Unlock()
		return err
	}
	w.unsent = appendTo(w.unsent)
	if w.writing {
		w.mu.Unlock()
		return nil
	}
	w.writing = true
	w.drain(writeRounds)
	return nil
}

// drain writes until nothing is left. It is called with mu held and writing set, and releases both.
func (w *frameWriter) drain(rounds int) {
	for ; len(w.unsent) > 0 && w.err == nil; rounds-- {
		if rounds == 0 {
			w.mu.Unlock()
			go func() { // ends with the connection at the latest: writes have a deadline
				w.mu.Lock()
				w.drain(-1)
			}()
			return
		}
		out := w.unsent
		w.unsent, w.spare = w.spare[:0], nil
		w.mu.Unlock()
		err := w.write(out)
		w.mu.Lock()
		if cap(out) <= keepBuffer {
			w.spare = out
		}
		if err != nil && w.err == nil {
			w.err = err
			w.conn.Close()
		}
		w.room.Broadcast()
	}
	w.writing = false
	w.mu.Unlock()
}

func (w *frameWriter) write(out []byte) error {
	for len(out) > 0 {
		now := time.Now()
		w.wrote.Store(now.UnixNano())
		if err := w.conn.SetWriteDeadline(now.Add(w.timeout)); err != nil {
			return err
		}
		n, err := w.conn.Write(out[:min(len(out), writeStep)])
		if err != nil {
			return err
		}
		out = out[n:]
	}
	return nil
}

// fail breaks the connection: later sends return err.
func (w *frameWriter) fail(err error) {
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.room.Broadcast()
	w.mu.Unlock()
	w.conn.Close()
}

// keepAlive pings whenever nothing was written for the period, until done is closed.
func (w *frameWriter) keepAlive(period time.Duration, done <-chan struct{}) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-ticker.C:
			if now.UnixNano()-w.wrote.Load() >= int64(period/2) {
				if w.send(kindPing, 0, nil) != nil {
					return
				}
			}
		}
	}
}
