//go:build linux

package chaos

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// network is a switch with hosts on it.
type network struct {
	middle *space
	hosts  []*host
}

// host is a machine: a network and mounts of its own, and a cable to the switch.
type host struct {
	*space
	number int
	ip     string
}

func newNetwork() (*network, error) {
	middle, err := newSpace()
	if err != nil {
		return nil, err
	}
	n := &network{middle: middle}
	for _, line := range []string{"ip link add sw type bridge", "ip link set sw up"} {
		if err := middle.run("%s", line); err != nil {
			n.close()
			return nil, err
		}
	}
	return n, nil
}

// addHost plugs one more host in.
func (n *network) addHost() (*host, error) {
	s, err := newSpace()
	if err != nil {
		return nil, err
	}
	h := &host{space: s, number: len(n.hosts) + 1}
	h.ip = fmt.Sprintf("127.77.0.%d", h.number)
	n.hosts = append(n.hosts, h)
	if err := n.middle.run("ip link add port%d type veth peer name eth0 netns %s", h.number, h.path()); err != nil {
		return nil, err
	}
	if err := n.middle.run("ip link set port%d master sw up", h.number); err != nil {
		return nil, err
	}
	if err := h.do(h.allowLoopbackAddresses); err != nil {
		return nil, err
	}
	for _, line := range []string{
		"ip link set lo up", "ip addr add " + h.ip + "/24 dev eth0", "ip link set eth0 up",
		"ip route del local 127.0.0.0/8 dev lo table local", // 127.0.0.1 alone stays
	} {
		if err := h.run("%s", line); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// allowLoopbackAddresses lets the host's cable carry addresses of 127/8.
func (h *host) allowLoopbackAddresses() error {
	for _, device := range []string{"all", "eth0"} {
		setting := "/proc/sys/net/ipv4/conf/" + device + "/route_localnet"
		if err := os.WriteFile(setting, []byte("1"), 0); err != nil {
			return err
		}
	}
	return nil
}

// close ends the hosts and everything that runs on them.
func (n *network) close() {
	for _, h := range n.hosts {
		h.close()
	}
	n.middle.close()
}

// cut makes everything vanish that one host sends to another. Neither is told.
func (n *network) cut(from, to *host) error {
	return to.run("iptables -w -A INPUT -s %s -j DROP", from.ip)
}

// split cuts every host of some from every other that is not of them, both ways.
func (n *network) split(some ...*host) error {
	inside := map[*host]bool{}
	for _, h := range some {
		inside[h] = true
	}
	for _, a := range n.hosts {
		for _, b := range n.hosts {
			if inside[a] != inside[b] {
				if err := n.cut(a, b); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// lose makes a share of what arrives at a host from the others vanish.
func (n *network) lose(h *host, share float64) error {
	return h.run("iptables -w -A INPUT -i eth0 -m statistic --mode random --probability %g -j DROP", share)
}

// unplug pulls a host's cable out of the switch.
func (n *network) unplug(h *host) error { return n.middle.run("ip link set port%d down", h.number) }

// heal undoes cut, split, lose and unplug everywhere.
func (n *network) heal() error {
	for _, h := range n.hosts {
		if err := h.run("iptables -w -F INPUT"); err != nil {
			return err
		}
		if err := n.middle.run("ip link set port%d up", h.number); err != nil {
			return err
		}
	}
	return nil
}

// dial connects as a client on the host would, so that it reaches a node there which is cut off from all others.
func (h *host) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = h.visit(func() error {
		d := net.Dialer{Timeout: 5 * time.Second}
		conn, err = d.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// mount puts a disk of its own, of so many bytes, at a folder of the host.
func (h *host) mount(dir string, bytes int64) error {
	return h.do(func() error {
		return unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes))
	})
}
