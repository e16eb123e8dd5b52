package cluster

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/google/uuid"
)

// The first byte of a connection picks what it carries.
const (
	protoRaft byte = 'R'
	protoCall byte = 'C'

	protoVersion = 1
	maxHello     = 1024
	helloTimeout = 5 * time.Second
)

// hello opens a connection in both directions. The answering side fills refused and reason if it hangs up.
type hello struct {
	cluster uuid.UUID // zero = not in a cluster yet
	id      string    // who speaks
	boot    uint64
	expect  string // whom the dialler means to reach; "" = whoever answers
	refused string // code; "" = welcome
	reason  string
}

// writeHello sends h after the protocol byte, which is left out if it is zero.
func writeHello(conn net.Conn, proto byte, h hello) error {
	b := make([]byte, 0, 256)
	if proto != 0 {
		b = append(b, proto)
	}
	start := len(b)
	b = append(b, 0, 0, protoVersion)
	b = append(b, h.cluster[:]...)
	b = binary.BigEndian.AppendUint64(b, h.boot)
	for _, s := range []string{h.id, h.expect, h.refused, h.reason} {
		s = s[:min(len(s), 200)]
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2))
	_, err := conn.Write(b)
	return err
}

// readHello reads what writeHello sent, without the protocol byte.
func readHello(r *bufio.Reader) (h hello, err error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return h, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n < 1+16+8 || n > maxHello {
		return h, fmt.Errorf("hello of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, err
	}
	if b[0] != protoVersion {
		return h, fmt.Errorf("node speaks protocol version %d, this one %d: run the same release on both", b[0],
			protoVersion)
	}
	copy(h.cluster[:], b[1:17])
	h.boot = binary.BigEndian.Uint64(b[17:25])
	b = b[25:]
	for _, field := range []*string{&h.id, &h.expect, &h.refused, &h.reason} {
		first, rest, err := splitPair(b)
		if err != nil {
			return h, err
		}
		*field, b = string(first), rest
	}
	return h, nil
}

// judge decides whether the connection that h opens is meant for this node. For raft the cluster must be the same, since
// an answer counts as this node's disk; calls are also for nodes that have no cluster yet.
func (c *Cluster) judge(proto byte, h hello) *Sentinel {
	own := c.clusterID()
	switch {
	case h.expect != "" && h.expect != c.cfg.ID:
		return ErrReplaced
	case proto == protoRaft && (own == uuid.Nil || h.cluster != own):
		return ErrForeignCluster
	case h.cluster != own && h.cluster != uuid.Nil && own != uuid.Nil:
		return ErrForeignCluster
	}
	return nil
}

// greet answers the hello of a new connection and reports whether it may go on. certified is who the other side is by its
// certificate, "" if that does not say.
func (c *Cluster) greet(conn net.Conn, proto byte, r *bufio.Reader, certified string) (hello, bool) {
	h, err := readHello(r)
	if err == nil && certified != "" && certified != h.id {
		err = fmt.Errorf("node %q has the certificate of node %q", h.id, certified)
	}
	if err != nil {
		c.log.Debug("connection refused", "addr", conn.RemoteAddr(), "err", err)
		return h, false
	}
	answer := hello{cluster: c.clusterID(), id: c.cfg.ID, boot: c.cfg.Boot}
	refusal := c.judge(proto, h)
	if refusal != nil {
		answer.refused, answer.reason = refusal.code, refusal.text
		c.log.Debug("connection refused", "addr", conn.RemoteAddr(), "node", h.id, "err", refusal)
	}
	return h, writeHello(conn, 0, answer) == nil && refusal == nil
}

// connect dials addr, introduces this node and returns the answer. The connection has no deadline left.
func (c *Cluster) connect(conn net.Conn, proto byte, expect string, deadline time.Time) (*bufio.Reader, hello, error) {
	conn.SetDeadline(deadline)
	own := hello{cluster: c.clusterID(), id: c.cfg.ID, boot: c.cfg.Boot, expect: expect}
	if err := writeHello(conn, proto, own); err != nil {
		return nil, hello{}, err
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	h, err := readHello(r)
	if err != nil {
		return nil, h, err
	}
	if h.refused != "" {
		return nil, h, &RemoteError{code: h.refused, message: h.reason}
	}
	return r, h, conn.SetDeadline(time.Time{})
}
