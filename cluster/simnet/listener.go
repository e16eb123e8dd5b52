package simnet

import "net"

const backlog = 1024 // connections that may wait to be accepted; more are not answered

// listener is a net.Listener.
type listener struct {
	host  *Host
	addr  *net.TCPAddr
	queue chan net.Conn
	done  chan struct{} // closed by close
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	if !l.closed() {
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.done:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
}

// Close stops listening. Connections that nobody accepted are reset.
func (l *listener) Close() error {
	l.host.net.mu.Lock()
	defer l.host.net.mu.Unlock()
	if l.closed() {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.close()
	return nil
}

// Addr returns the address as it was bound.
func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *listener) close() {
	if l.closed() {
		return
	}
	close(l.done)
	delete(l.host.listeners, uint16(l.addr.Port))
	for {
		select {
		case c := <-l.queue:
			c.(*conn).abort()
		default:
			return
		}
	}
}

// take queues a connection that was opened, or resets it.
func (l *listener) take(c *conn) {
	if l.closed() {
		c.abort()
		return
	}
	select {
	case l.queue <- c:
	default:
		c.abort()
	}
}
