package simnet

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	maxPacket  = 65507 // bytes, as UDP over IPv4
	maxPackets = 1024  // that may wait for the receiver
)

// transport is a memberlist.Transport.
type transport struct {
	host     *Host
	listener *listener
	addr     *net.UDPAddr
	packets  chan *memberlist.Packet
	closed   bool // guarded by mu
}

// Gossip returns a memberlist.Transport at an address of the host: packets and streams on the same port, a free one for
// port 0. The logger is there to fit cluster.Network; nothing is logged.
func (h *Host) Gossip(bind string, _ *slog.Logger) (memberlist.Transport, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	l, err := h.listen(bind)
	if err != nil {
		return nil, fmt.Errorf("listen for gossip on %s: %w", bind, err)
	}
	port := uint16(l.addr.Port)
	t := &transport{
		host: h, listener: l, addr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.machine.ip, port)),
		packets: make(chan *memberlist.Packet, maxPackets),
	}
	h.sockets[port] = t
	return t, nil
}

// FinalAdvertiseAddr returns what it is given, or the address that was bound.
func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip == "" {
		return t.addr.IP, t.addr.Port, nil
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, fmt.Errorf("advertise address %q is no IP", ip)
	}
	return addr.Unmap().AsSlice(), port, nil
}

// WriteTo sends one packet. It never blocks.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	target, err := t.host.parse(addr)
	if err == nil && len(b) > maxPacket {
		err = syscall.EMSGSIZE
	}
	n := t.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil && t.closed {
		err = net.ErrClosed
	}
	if err != nil {
		return now, &net.OpError{Op: "write", Net: "udp", Source: t.addr, Addr: net.UDPAddrFromAddrPort(target), Err: err}
	}
	p := n.path(t.host.machine, n.machine(target.Addr()))
	d := &datagram{path: p, port: target.Port(), from: t.addr, body: append([]byte(nil), b...)}
	n.stats.Packets++
	d.send()
	if p.chance(p.settings().Duplicate) {
		n.stats.PacketsDuplicated++
		again := *d
		again.body = append([]byte(nil), b...) // the receiver owns its copy
		again.send()
	}
	return now, nil
}

// PacketCh returns the channel of the packets that arrive.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// DialTimeout opens a stream.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return t.host.Dial(ctx, addr)
}

// StreamCh returns the channel of the streams that others open.
func (t *transport) StreamCh() <-chan net.Conn { return t.listener.queue }

// Shutdown gives the port back. It is safe to call twice.
func (t *transport) Shutdown() error {
	t.host.net.mu.Lock()
	defer t.host.net.mu.Unlock()
	t.close()
	return nil
}

func (t *transport) close() {
	if !t.closed {
		t.closed = true
		delete(t.host.sockets, uint16(t.addr.Port))
		t.listener.close()
	}
}

// datagram is a packet on its way.
type datagram struct {
	path *path
	port uint16
	from *net.UDPAddr
	body []byte
}

func (d *datagram) send() {
	p := d.path
	delay := p.delay()
	switch {
	case !p.closed && p.lost():
		p.net.stats.PacketsLost++
	case delay == 0 || p.closed:
		d.happen(0)
	default:
		p.net.at(p.net.now()+delay, d)
	}
}

// happen is the arrival.
func (d *datagram) happen(time.Duration) {
	n := d.path.net
	if d.path.closed {
		n.stats.PacketsCut++
		return
	}
	h := d.path.to.host
	if h == nil || h.sockets[d.port] == nil {
		return
	}
	select {
	case h.sockets[d.port].packets <- &memberlist.Packet{Buf: d.body, From: d.from, Timestamp: time.Now()}:
	default:
		n.stats.PacketsOverrun++
	}
}
