package cluster

import (
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"
)

const (
	metaVersion = 1
	maxMeta     = 400 // bytes; memberlist panics above 512

	flagLeaving byte = 1 // the node is about to leave on purpose
)

// meta is what gossip says about a node besides its id and gossip address.
type meta struct {
	cluster uuid.UUID // zero = none yet
	boot    uint64
	load    byte
	expect  byte // Config.BootstrapExpect while the node waits to found a cluster, else 0
	flags   byte
	name    string
	addr    string // cluster port
	info    []byte
}

// encode fits into maxMeta for everything that Config.validate lets through.
func (m *meta) encode() []byte {
	b := make([]byte, 0, maxMeta)
	b = append(b, metaVersion)
	b = append(b, m.cluster[:]...)
	b = binary.BigEndian.AppendUint64(b, m.boot)
	b = append(b, m.load, m.expect, m.flags)
	for _, s := range []string{m.name, m.addr, string(m.info)} {
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	return b
}

func decodeMeta(b []byte) (m meta, err error) {
	const fixed = 1 + 16 + 8 + 3
	if len(b) < fixed {
		return m, fmt.Errorf("node meta is cut short")
	}
	if b[0] != metaVersion {
		return m, fmt.Errorf("node meta has version %d, this node speaks %d: run the same release on both", b[0],
			metaVersion)
	}
	copy(m.cluster[:], b[1:17])
	m.boot = binary.BigEndian.Uint64(b[17:25])
	m.load, m.expect, m.flags = b[25], b[26], b[27]
	var name, addr []byte
	b = b[fixed:]
	for _, field := range []*[]byte{&name, &addr, &m.info} {
		if *field, b, err = splitPair(b); err != nil {
			return m, fmt.Errorf("node meta is cut short")
		}
	}
	m.name, m.addr, m.info = string(name), string(addr), append([]byte(nil), m.info...)
	return m, nil
}
