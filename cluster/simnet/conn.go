package simnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// conn is one end of a stream, a net.Conn.
type conn struct {
	host          *Host
	local, remote *net.TCPAddr
	stream        *stream
	in, out       *half
	listener      *listener // that accepts this end; nil = this end dialled

	closed  bool  // guarded by mu: by Close, or with the process
	err     error // guarded by mu: the connection broke
	writing bool  // guarded by mu: a Write is under way, others wait
	reading deadline
	sending deadline
}

func newConn(h *Host, local, remote *net.TCPAddr) *conn {
	return &conn{host: h, local: local, remote: remote}
}

// Read reads what has arrived, or waits for it.
func (c *conn) Read(b []byte) (int, error) {
	mu := &c.host.net.mu
	mu.Lock()
	defer mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fault("read", net.ErrClosed)
		case c.reading.passed():
			return 0, c.fault("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case c.in.ready > 0:
			return c.in.read(b), nil
		case c.err != nil:
			return 0, c.fault("read", os.NewSyscallError("read", c.err))
		case c.in.ended:
			return 0, io.EOF
		}
		c.reading.wait(&c.in.arrived)
	}
}

// Write sends bytes; it waits while the reader is too far behind.
func (c *conn) Write(b []byte) (int, error) {
	mu := &c.host.net.mu
	mu.Lock()
	defer mu.Unlock()
	sent, mine := 0, false
	defer func() {
		if mine {
			c.writing = false
			c.out.room.Broadcast()
		}
	}()
	for {
		switch {
		case c.closed:
			return sent, c.fault("write", net.ErrClosed)
		case c.sending.passed():
			return sent, c.fault("write", os.ErrDeadlineExceeded)
		case c.err != nil:
			return sent, c.fault("write", os.NewSyscallError("write", c.err))
		case c.out.shut:
			return sent, c.fault("write", os.NewSyscallError("write", syscall.EPIPE))
		case mine || !c.writing:
			mine, c.writing = true, true
			sent += c.out.write(b[sent:])
			if sent == len(b) {
				return sent, nil
			}
			if c.over() {
				continue
			}
		}
		c.sending.wait(&c.out.room)
	}
}

// Close ends the connection. What was written still arrives, and then the end of the stream; or a reset, if there is
// something unread on this side.
func (c *conn) Close() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.fault("close", net.ErrClosed)
	}
	last := ending
	if c.in.ready > 0 {
		last = reset
	}
	c.close(last)
	return nil
}

// CloseWrite sends the end of the stream; reading goes on.
func (c *conn) CloseWrite() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.fault("close", net.ErrClosed)
	}
	if c.err == nil && !c.out.shut {
		c.out.shut = true
		c.out.transmit(ending, 0)
		c.out.room.Broadcast()
	}
	return nil
}

// LocalAddr returns this end's address, a *net.TCPAddr.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the other end's address, a *net.TCPAddr.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.reading, &c.sending) }

// SetReadDeadline ends reads at a time, those under way too, with os.ErrDeadlineExceeded. Zero = never.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.reading) }

// SetWriteDeadline ends writes at a time, those under way too, with os.ErrDeadlineExceeded. Zero = never.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.sending) }

func (c *conn) setDeadlines(t time.Time, which ...*deadline) error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.fault("set", net.ErrClosed)
	}
	for _, d := range which {
		d.at = t
	}
	c.wake()
	return nil
}

// close ends this end and sends the last segment.
func (c *conn) close(last kind) {
	c.closed = true
	if c.err == nil && (last == reset || !c.out.shut) {
		c.out.shut = true
		c.out.transmit(last, 0)
	}
	c.in.discard()
	c.stop()
}

// abort ends this end without its own doing: the process is gone, or nobody accepts it.
func (c *conn) abort() {
	if c.stream.index < 0 || c.err != nil {
		c.closed = true
		return
	}
	if c.out.path.closed {
		c.out.drop() // nobody is there to send it again
	}
	c.close(reset)
}

// fail ends this end because the network says so. What has arrived can still be read.
func (c *conn) fail(err syscall.Errno) {
	if c.over() {
		return
	}
	c.host.net.stats.Resets++
	c.err = err
	c.out.drop()
	c.stop()
}

// over reports whether this end takes no part any more.
func (c *conn) over() bool { return c.closed || c.err != nil }

func (c *conn) stop() {
	c.reading.stop()
	c.sending.stop()
	c.wake()
	c.stream.settle()
}

func (c *conn) wake() {
	c.in.arrived.Broadcast()
	c.out.room.Broadcast()
}

func (c *conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// deadline ends the waiting of one direction. It is guarded by mu. Its timer runs only while somebody waits, and goes
// off early rather than being set anew each time: deadlines are moved often and seldom reached.
type deadline struct {
	at    time.Time // zero = none
	armed time.Time // when the timer goes off; zero = it does not run
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// wait waits for the condition or the deadline, or less.
func (d *deadline) wait(cond *sync.Cond) {
	if !d.at.IsZero() && (d.armed.IsZero() || d.armed.After(d.at)) {
		d.armed = d.at
		if d.timer == nil {
			d.timer = time.AfterFunc(time.Until(d.at), func() {
				cond.L.Lock()
				defer cond.L.Unlock()
				d.armed = time.Time{}
				cond.Broadcast()
			})
		} else {
			d.timer.Reset(time.Until(d.at))
		}
	}
	cond.Wait()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
