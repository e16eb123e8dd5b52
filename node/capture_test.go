package node

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// capture is what crosses the loopback interface to or from some ports.
type capture struct {
	mu    sync.Mutex
	bytes map[int]int          // by port; guarded by mu
	found map[int]map[int]bool // by port: the texts that were seen; guarded by mu
}

// capturePackets looks for texts in all packets of these ports until the test ends. Packets are looked at one by one: the texts
// are to be short.
func capturePackets(t *testing.T, ports []int, texts ...string) *capture {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can capture packets")
	}
	const allPackets = 0x0300 // ETH_P_ALL in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, allPackets)
	if err != nil {
		t.Skipf("packets cannot be captured here: %v", err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: allPackets, Ifindex: lo.Index}); err != nil {
		t.Fatal(err)
	}
	second := unix.Timeval{Sec: 1}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &second); err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	c := &capture{bytes: map[int]int{}, found: map[int]map[int]bool{}}
	for _, port := range ports {
		c.found[port] = map[int]bool{}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		packet := make([]byte, 1<<16)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n, _, err := unix.Recvfrom(fd, packet, 0); err == nil {
				c.look(packet[:n], texts)
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		unix.Close(fd)
	})
	return c
}

// look takes an IPv4 packet apart as far as its ports.
func (c *capture) look(packet []byte, texts []string) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return
	}
	head := int(packet[0]&15) * 4
	if proto := packet[9]; proto != unix.IPPROTO_TCP && proto != unix.IPPROTO_UDP || len(packet) < head+8 {
		return
	}
	body := packet[head:]
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range []int{0, 2} { // source, destination
		port := int(binary.BigEndian.Uint16(body[at:]))
		found, watched := c.found[port]
		if !watched {
			continue
		}
		c.bytes[port] += len(body)
		for i, text := range texts {
			if bytes.Contains(body, []byte(text)) {
				found[i] = true
			}
		}
	}
}

// saw says how many bytes crossed a port, and whether one of the texts was in them.
func (c *capture) saw(port int) (bytes int, text bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes[port], len(c.found[port]) > 0
}

// portOf returns the port of host:port.
func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
