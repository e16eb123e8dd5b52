package simnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	firstDialRetry = time.Second // doubles with each try
	dialTries      = 7           // as Linux: the last is given up after 127 s
)

// Dial connects to host:port; the host is an IP. An error wraps syscall.ECONNREFUSED if the other host is up and nobody
// listens there, syscall.ETIMEDOUT if no answer came for two minutes, or ctx.Err().
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	target, err := h.parse(addr)
	if err == nil {
		if target.Addr().IsUnspecified() {
			target = netip.AddrPortFrom(h.machine.ip, target.Port())
		}
		var c *conn
		if c, err = h.connect(ctx, target); err == nil {
			return c, nil
		}
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(target), Err: err}
}

// DialContext is Dial with the signature of http.Transport.DialContext. The network is not looked at.
func (h *Host) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	return h.Dial(ctx, addr)
}

func (h *Host) connect(ctx context.Context, target netip.AddrPort) (*conn, error) {
	h.net.mu.Lock()
	there := h.net.path(h.machine, h.net.machine(target.Addr()))
	h.net.mu.Unlock()
	wait := firstDialRetry
	for range dialTries {
		c, err := h.shake(ctx, there, target.Port())
		if c != nil || err != nil {
			return c, err
		}
		h.net.mu.Lock()
		h.net.stats.DialsLost++
		h.net.mu.Unlock()
		if err := h.sleep(ctx, wait); err != nil {
			return nil, err
		}
		wait *= 2
	}
	return nil, os.NewSyscallError("connect", syscall.ETIMEDOUT)
}

// shake sends one request for a connection and waits for the answer. Two nils mean that there was none.
func (h *Host) shake(ctx context.Context, there *path, port uint16) (*conn, error) {
	if ok, err := h.travel(ctx, there); !ok {
		return nil, err
	}
	h.net.mu.Lock()
	known, open := there.to.known, there.to.host != nil
	var l *listener
	if open {
		l = there.to.host.listeners[port]
	}
	h.net.mu.Unlock()
	if !known || l != nil && len(l.queue) == cap(l.queue) {
		return nil, nil
	}
	if ok, err := h.travel(ctx, there.back); !ok {
		return nil, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if l == nil {
		h.net.stats.DialsRefused++
		return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	if h.crashed() {
		return nil, h.errCrashed()
	}
	return h.establish(there, l, port), nil
}

// travel waits as long as one packet takes on a path; false without an error means that it was lost.
func (h *Host) travel(ctx context.Context, p *path) (bool, error) {
	h.net.mu.Lock()
	delay, ok := p.delay(), !p.closed && !p.lost()
	h.net.mu.Unlock()
	if !ok {
		return false, nil
	}
	if err := h.sleep(ctx, delay); err != nil {
		return false, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return !p.closed, nil
}

// sleep returns early, with an error, when ctx ends or the host crashes.
func (h *Host) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.gone:
			return h.errCrashed()
		default:
			return nil
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.gone:
		return h.errCrashed()
	case <-timer.C:
		return nil
	}
}

// establish makes the two ends of a connection. The far one reaches its listener as the first thing on the stream.
func (h *Host) establish(there *path, l *listener, port uint16) *conn {
	local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(h.machine.ip, h.freePort()))
	remote := net.TCPAddrFromAddrPort(netip.AddrPortFrom(there.to.ip, port))
	near := newConn(h, local, remote)
	far := newConn(l.host, remote, local)
	far.listener = l
	near.out, far.out = newHalf(there, near, far), newHalf(there.back, far, near)
	near.in, far.in = far.out, near.out
	s := &stream{ends: [2]*conn{near, far}, pair: there.pair, index: len(there.pair.streams)}
	near.stream, far.stream = s, s
	there.pair.streams = append(there.pair.streams, s)
	near.out.transmit(opening, 0)
	return near
}
