package node

import (
	"context"
	"encoding/binary"
	"sync"

	"pytasks/fsm"
)

// names tells the names of the nodes that records name by number. A record that the
// leader tells of may name a node that this node's own state does not show yet.
type names struct {
	state interface{ Node(number uint32) *fsm.Node }
	ask   func(ctx context.Context, number []byte) (name []byte, err error) // the leader

	learned sync.Map // of number: name, from the leader
}

// of returns the name of a node, "" for a number never given out.
func (n *names) of(number uint32) string {
	if node := n.state.Node(number); node != nil {
		return node.Name
	}
	name, _ := n.learned.Load(number)
	text, _ := name.(string)
	return text
}

// learn sees to it that of knows all nodes in a record.
func (n *names) learn(ctx context.Context, t *fsm.Task) error {
	numbers := []uint32{t.Place.GetNode()}
	for _, p := range t.Past {
		numbers = append(numbers, p.Node)
	}
	for _, number := range numbers {
		if number == 0 || n.of(number) != "" {
			continue
		}
		name, err := n.ask(ctx, binary.BigEndian.AppendUint32(nil, number))
		if err != nil {
			return err
		}
		n.learned.Store(number, string(name))
	}
	return nil
}
