package simnet

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Network connects hosts. All of it is under one lock, which is never held while waiting.
type Network struct {
	seed  uint64
	start time.Time

	mu       sync.Mutex
	machines []*machine              // guarded by mu: in the order in which they were first named
	byIP     map[netip.Addr]*machine // guarded by mu
	paths    map[[2]*machine]*path   // guarded by mu
	link     Link                    // guarded by mu: for paths without one of their own
	agenda   agenda                  // guarded by mu
	stats    Stats                   // guarded by mu
}

// machine is a computer with one address. It outlives the processes on it.
type machine struct {
	ip        netip.Addr
	known     bool  // Network.Host was called for it
	unplugged bool  // guarded by mu
	host      *Host // guarded by mu: the process that runs; nil = none
	lastPort  uint16
}

// New returns a network without delay, loss and hosts. The seed decides the delays and losses.
func New(seed uint64) *Network {
	return &Network{
		seed: seed, start: time.Now(),
		byIP: make(map[netip.Addr]*machine), paths: make(map[[2]*machine]*path),
	}
}

// Host returns the process that runs at an IP address. After a Crash, and at first, it is a new one. It panics if ip is
// no address.
func (n *Network) Host(ip string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.machine(parseIP(ip))
	m.known = true
	if m.host == nil {
		m.host = &Host{
			net: n, machine: m, gone: make(chan struct{}),
			listeners: make(map[uint16]*listener), sockets: make(map[uint16]*transport),
		}
	}
	return m.host
}

// Stats counts what happened on a network since New, so that a test can tell whether a fault had an effect.
type Stats struct {
	Packets           int // packets that were sent
	PacketsLost       int // ... and lost, see SetLoss
	PacketsCut        int // ... and dropped by a cut or a pulled cable
	PacketsDuplicated int // ... and sent twice, see SetDuplicate
	PacketsOverrun    int // ... and dropped because the receiver did not keep up
	Segments          int // pieces of streams that were sent, openings and ends of connections included
	SegmentsLost      int // losses of a segment, each a delay; one segment may be lost many times
	SegmentsCut       int // times that a cut or a pulled cable held up a segment
	DialsLost         int // requests for a connection, or their answers, that did not arrive
	DialsRefused      int // dials that ended with ECONNREFUSED
	Resets            int // ends of connections that saw ECONNRESET or ETIMEDOUT
}

// Stats returns the counts so far.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// now is the time on the network's own scale.
func (n *Network) now() time.Duration { return time.Since(n.start) }

func (n *Network) machine(ip netip.Addr) *machine {
	m := n.byIP[ip]
	if m == nil {
		m = &machine{ip: ip, lastPort: firstPort - 1}
		n.byIP[ip] = m
		n.machines = append(n.machines, m)
	}
	return m
}

// path returns the way from one machine to another.
func (n *Network) path(from, to *machine) *path {
	if p := n.paths[[2]*machine{from, to}]; p != nil {
		return p
	}
	both := &pair{}
	there := n.newPath(from, to, both)
	back := there
	if from != to {
		back = n.newPath(to, from, both)
	}
	there.back, back.back = back, there
	there.refresh()
	back.refresh()
	return there
}

func (n *Network) newPath(from, to *machine, both *pair) *path {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s>%s", from.ip, to.ip)
	p := &path{net: n, from: from, to: to, pair: both, rng: rand.New(rand.NewPCG(n.seed, h.Sum64()))}
	if from == to {
		p.link = &Link{}
	}
	n.paths[[2]*machine{from, to}] = p
	return p
}

// pathsOf lists the ways between a machine and those that it ever had to do with, both directions, in a fixed order.
func (n *Network) pathsOf(m *machine) []*path {
	var found []*path
	for _, other := range n.machines {
		if p := n.paths[[2]*machine{m, other}]; p != nil {
			found = append(found, p)
			if p.back != p {
				found = append(found, p.back)
			}
		}
	}
	return found
}

func parseIP(ip string) netip.Addr {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		panic(fmt.Sprintf("simnet: %q is no IP address", ip))
	}
	return addr.Unmap()
}
