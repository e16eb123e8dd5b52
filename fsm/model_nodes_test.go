package fsm

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"
)

func (m *model) nodeUp(c *NodeUp) *Outcome {
	n := &Node{Number: uint32(len(m.nodes)) + 1, Id: c.Id}
	for _, other := range m.nodes {
		if other.Id == c.Id {
			n = proto.CloneOf(other)
		} else if other.Name == c.Name && !other.Down && !other.Gone {
			return &Outcome{Code: Code_NAME_TAKEN}
		}
	}
	if c.Boot < n.Boot {
		return &Outcome{Code: Code_MISFIT}
	}
	if c.Boot > n.Boot {
		m.lose(n, "worker_lost")
		n.UpMs, n.Draining = m.now, false
	}
	n.Name, n.Boot, n.Slots, n.Packs, n.Http, n.Version = c.Name, c.Boot, c.Slots, c.Packs, c.Http, c.Version
	n.Down, n.Gone = false, false
	n.StartLabels = c.Labels
	for i, other := range m.nodes {
		if other.Id != c.Id && other.Name == c.Name { // it is down
			m.nodes[i] = proto.CloneOf(other)
			m.nodes[i].Gone = true
		}
	}
	m.nodes[n.Number] = n
	return &Outcome{Node: n.Number}
}

// lose requeues what a node runs, in the order of the queue.
func (m *model) lose(n *Node, reason string) {
	for _, t := range m.inOrder(func(t *Task) bool { return t.Status == Status_STARTED && t.Place.Node == n.Number }) {
		m.requeue(t, reason)
	}
}

// changeNode replaces the record of the node whose current start is p.
func (m *model) changeNode(p *Place, f func(*Node)) *Outcome {
	n := m.nodes[p.GetNode()]
	switch {
	case n == nil:
		return &Outcome{Code: Code_NOT_FOUND}
	case n.Boot != p.Boot:
		return &Outcome{Code: Code_STALE}
	}
	n = proto.CloneOf(n)
	f(n)
	m.nodes[n.Number] = n
	return &Outcome{}
}

func (m *model) nodeDown(c *NodeDown) *Outcome {
	return m.changeNode(c.Place, func(n *Node) {
		m.lose(n, c.Reason)
		n.Down, n.Gone = true, n.Gone || c.Forget
	})
}

func (m *model) nodeDrain(c *NodeDrain) *Outcome {
	if c.UntilResumed {
		return m.nodeDrainLasting(c)
	}
	return m.changeNode(c.Place, func(n *Node) { n.Draining = c.Draining })
}

func (m *model) nodeDrainLasting(c *NodeDrain) *Outcome {
	n := m.nodes[c.Place.GetNode()]
	if n == nil || n.Gone {
		return &Outcome{Code: Code_NOT_FOUND}
	}
	left := 0
	for _, other := range m.nodes {
		if other.Number != n.Number && !other.Down && !other.Gone && !other.Draining && other.Drain == nil {
			left++
		}
	}
	if c.Draining && n.Drain == nil && left == 0 && !c.Force {
		return &Outcome{Code: Code_LAST_NODE}
	}
	n = proto.CloneOf(n)
	since := m.now
	if n.Drain != nil {
		since = n.Drain.SinceMs
	}
	n.Drain = nil
	if c.Draining {
		n.Drain = &Drain{SinceMs: since, TimeoutMs: c.TimeoutMs}
	}
	m.nodes[n.Number] = n
	return &Outcome{}
}

// nodeLabel keeps the labels given later by key, the last word of each.
func (m *model) nodeLabel(c *NodeLabel) *Outcome {
	n := m.nodes[c.Place.GetNode()]
	if n == nil || n.Gone {
		return &Outcome{Code: Code_NOT_FOUND}
	}
	n = proto.CloneOf(n)
	if c.Forget {
		n.LaterLabels = nil
	}
	for _, l := range c.Labels {
		if l.Key == "" || l.Value == "" && !l.Removed {
			return &Outcome{Code: Code_MISFIT}
		}
		n.LaterLabels = slices.DeleteFunc(n.LaterLabels, func(old *Label) bool { return old.Key == l.Key })
		n.LaterLabels = append(n.LaterLabels, l)
	}
	slices.SortFunc(n.LaterLabels, func(a, b *Label) int { return cmp.Compare(a.Key, b.Key) })
	m.nodes[n.Number] = n
	return &Outcome{}
}
