package simnet

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
)

const firstPort = 32768 // of those that are given out for port 0 and to dialling ends

// Host is a process at an address of its own. After Crash it can do nothing any more; Network.Host returns the next one
// at the same address. So what still runs of a crashed node cannot speak in the name of the restarted one.
type Host struct {
	net       *Network
	machine   *machine
	gone      chan struct{}         // closed by Crash
	listeners map[uint16]*listener  // guarded by mu
	sockets   map[uint16]*transport // guarded by mu
}

// Listen returns a listener at an address of the host: its own IP, or an unspecified one. Port 0 takes a free port.
func (h *Host) Listen(addr string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	l, err := h.listen(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

func (h *Host) listen(addr string) (*listener, error) {
	if h.crashed() {
		return nil, h.errCrashed()
	}
	bind, err := h.parse(addr)
	if err != nil {
		return nil, err
	}
	if !bind.Addr().IsUnspecified() && bind.Addr() != h.machine.ip {
		return nil, syscall.EADDRNOTAVAIL
	}
	port := bind.Port()
	if port == 0 {
		port = h.freePort()
	}
	if h.listeners[port] != nil {
		return nil, syscall.EADDRINUSE
	}
	l := &listener{
		host: h, addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(bind.Addr(), port)),
		queue: make(chan net.Conn, backlog), done: make(chan struct{}),
	}
	h.listeners[port] = l
	return l, nil
}

// Crash ends the process: its listeners, its packets and its connections, whose other ends see ECONNRESET if they can be
// reached. Its address refuses connections from then on. The Host is of no use any more, see Network.Host.
func (h *Host) Crash() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.crashed() {
		return
	}
	close(h.gone)
	h.machine.host = nil
	for _, l := range h.listeners {
		l.close()
	}
	for _, t := range h.sockets {
		t.close()
	}
	for _, p := range h.net.pathsOf(h.machine) {
		for _, s := range slices.Clone(p.pair.streams) {
			for _, c := range s.ends {
				if c.host == h {
					c.abort()
				}
			}
		}
	}
}

// Unplug pulls the cable of the host: silence in both directions, for this process and those after it, until Plug. What
// is lost for good is a machine with an unplugged host that crashed.
func (h *Host) Unplug() { h.plug(false) }

// Plug undoes Unplug.
func (h *Host) Plug() { h.plug(true) }

func (h *Host) plug(in bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.machine.unplugged = !in
	for _, p := range h.net.pathsOf(h.machine) {
		p.refresh()
	}
}

func (h *Host) crashed() bool { return h.machine.host != h }

func (h *Host) errCrashed() error {
	return fmt.Errorf("host %s crashed: %w", h.machine.ip, net.ErrClosed)
}

// freePort returns a port that is free for streams and packets.
func (h *Host) freePort() uint16 {
	for {
		h.machine.lastPort = max(h.machine.lastPort+1, firstPort) // wraps around to the first
		p := h.machine.lastPort
		if h.listeners[p] == nil && h.sockets[p] == nil {
			return p
		}
	}
}

// parse reads host:port. Loopback addresses and, for a dial, unspecified ones are the host itself.
func (h *Host) parse(addr string) (netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %s: the port is no number below 65536", addr)
	}
	ip := netip.IPv4Unspecified()
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, &net.DNSError{Err: "no names here, write an IP", Name: host, IsNotFound: true}
		}
	}
	if ip.IsLoopback() {
		ip = h.machine.ip
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
}
