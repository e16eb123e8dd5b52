package cluster

import (
	"bufio"
	"context"
	"net"
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
		if conn, ok := c.mux.track(conn); ok {
			c.wg.Go(func() { c.welcome(ctx, conn) })
		}
	}
}

// welcome reads the first byte and the hello, and serves calls until the connection ends or passes it to raft.
func (c *Cluster) welcome(ctx context.Context, conn net.Conn) {
	conn.SetDeadline(time.Now().Add(helloTimeout))
	r := bufio.NewReaderSize(conn, 64<<10)
	proto, err := r.ReadByte()
	if err != nil || (proto != protoRaft && proto != protoCall) {
		c.log.Debug("connection refused: not this protocol", "addr", conn.RemoteAddr())
		conn.Close()
		return
	}
	h, ok := c.greet(conn, proto, r)
	if !ok || conn.SetDeadline(time.Time{}) != nil {
		conn.Close()
		return
	}
	if proto == protoCall {
		c.serve(ctx, conn, r, h.id)
		return
	}
	select {
	case c.mux.raft <- &bufferedConn{Conn: conn, r: r}:
	case <-ctx.Done():
		conn.Close()
	}
}
