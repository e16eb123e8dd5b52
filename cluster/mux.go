package cluster

import (
	"bufio"
	"context"
	"net"
	"slices"
	"sync"
	"time"
)

// mux accepts the connections of the cluster port and hands them to raft or to the call server by their first byte. It
// knows every open connection, own ones too, so that Close ends them all.
type mux struct {
	listener net.Listener
	raft     chan net.Conn // accepted for raft, hello done

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; nil = closed
}

func newMux(listener net.Listener) *mux {
	return &mux{listener: listener, raft: make(chan net.Conn), conns: make(map[net.Conn]struct{})}
}

// track returns conn such that closing it also forgets it, or false when the mux is closed.
func (m *mux) track(conn net.Conn) (net.Conn, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns == nil {
		conn.Close()
		return nil, false
	}
	m.conns[conn] = struct{}{}
	return &trackedConn{Conn: conn, mux: m}, true
}

func (m *mux) close() {
	if m.listener != nil {
		m.listener.Close()
	}
	m.mu.Lock()
	conns := m.conns
	m.conns = nil
	m.mu.Unlock()
	for conn := range conns {
		conn.Close()
	}
}

// lobby holds the connections that have not said yet who is there. When it is full, who has waited longest has to go:
// members are through in milliseconds, so that strangers who say nothing do not keep them out.
type lobby struct {
	mu    sync.Mutex
	conns []net.Conn // guarded by mu; in the order in which they came, maxShaking at most
}

func (l *lobby) enter(conn net.Conn) {
	l.mu.Lock()
	l.conns = append(l.conns, conn)
	var first net.Conn
	if len(l.conns) > maxShaking {
		first = l.conns[0]
		l.conns = slices.Delete(l.conns, 0, 1)
	}
	l.mu.Unlock()
	if first != nil {
		first.Close()
	}
}

func (l *lobby) leave(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.conns, conn); i >= 0 {
		l.conns = slices.Delete(l.conns, i, i+1)
	}
}

type trackedConn struct {
	net.Conn
	mux *mux
}

// Close closes the connection and forgets it.
func (t *trackedConn) Close() error {
	t.mux.mu.Lock()
	delete(t.mux.conns, t.Conn)
	t.mux.mu.Unlock()
	return t.Conn.Close()
}

// bufferedConn reads what a hello's reader had already taken from the connection.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

// Read reads from the buffer first.
func (b *bufferedConn) Read(p []byte) (int, error) { return b.r.Read(p) }

// accept runs until the listener is closed.
func (c *Cluster) accept(ctx context.Context) {
	for pause := time.Duration(0); ; {
		conn, err := c.mux.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			c.log.Warn("accept failed", "addr", c.mux.listener.Addr(), "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		conn, ok := c.mux.track(conn)
		if !ok {
			continue
		}
		c.lobby.enter(conn)
		c.wg.Go(func() { c.welcome(ctx, conn) })
	}
}

// welcome finds out who is there and what for, and serves calls until the connection ends or passes it to raft.
func (c *Cluster) welcome(ctx context.Context, conn net.Conn) {
	raw := conn
	conn, r, proto, from, ok := c.identify(raw)
	c.lobby.leave(raw)
	switch {
	case !ok:
		conn.Close()
	case proto == protoCall:
		c.serve(ctx, conn, r, from)
	default:
		select {
		case c.mux.raft <- &bufferedConn{Conn: conn, r: r}:
		case <-ctx.Done():
			conn.Close()
		}
	}
}

// identify reads the first byte and the hello of a new connection.
func (c *Cluster) identify(raw net.Conn) (conn net.Conn, r *bufio.Reader, proto byte, from string, ok bool) {
	raw.SetDeadline(time.Now().Add(helloTimeout))
	conn, certified, err := c.accepted(raw)
	if err != nil {
		if foreign(err) {
			c.strangers.note("calls", raw.RemoteAddr().String()+": "+err.Error())
		} else {
			c.log.Debug("connection refused", "addr", raw.RemoteAddr(), "err", err)
		}
		return raw, nil, 0, "", false
	}
	r = bufio.NewReaderSize(conn, 64<<10)
	proto, err = r.ReadByte()
	if err != nil || (proto != protoRaft && proto != protoCall) {
		c.log.Debug("connection refused: not this protocol", "addr", conn.RemoteAddr())
		return conn, nil, 0, "", false
	}
	h, ok := c.greet(conn, proto, r, certified)
	return conn, r, proto, h.id, ok && conn.SetDeadline(time.Time{}) == nil
}
