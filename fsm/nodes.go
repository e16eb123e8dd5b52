package fsm

import (
	"bytes"
	"cmp"
	"slices"
)

// copyOf returns a copy of a node's record for a transition to change.
func (n *Node) copyOf() *Node {
	return &Node{
		Number: n.Number, Id: n.Id, Name: n.Name, Boot: n.Boot, Slots: n.Slots, Packs: n.Packs, Http: n.Http,
		Version: n.Version, Draining: n.Draining, Down: n.Down, Gone: n.Gone, UpMs: n.UpMs,
		Drain: n.Drain, StartLabels: n.StartLabels, LaterLabels: n.LaterLabels,
	}
}

// Takes says whether a node takes new tasks, as far as the log knows: it is up, and nobody drains it.
func (n *Node) Takes() bool { return !n.Down && !n.Gone && !n.Draining && n.Drain == nil }

func (a *applier) putNode(n *Node) {
	a.nodes[n.Number] = n
	a.active.nodes[n.Number] = n
	a.changes.Nodes = true
}

// nodeUp registers a start of a node. A name belongs to the node that is up; the
// record of one that is down gives way.
func (a *applier) nodeUp(c *NodeUp) (*Outcome, error) {
	n := &Node{Number: uint32(len(a.nodes)) + 1, Id: c.Id}
	for _, other := range a.nodes {
		switch {
		case other.Id == c.Id:
			n = other.copyOf()
		case other.Name == c.Name && !other.Down && !other.Gone:
			return &Outcome{Code: Code_NAME_TAKEN}, nil
		}
	}
	if c.Boot < n.Boot {
		return &Outcome{Code: Code_MISFIT}, nil
	}
	if c.Boot > n.Boot {
		if err := a.lose(n.Number, n.Boot, ReasonWorkerLost); err != nil {
			return nil, err
		}
		n.UpMs, n.Draining = a.now, false
	}
	n.Down = false
	n.Name, n.Boot, n.Slots, n.Packs, n.Http, n.Version = c.Name, c.Boot, c.Slots, c.Packs, c.Http, c.Version
	n.Gone, n.StartLabels = false, nil
	for _, l := range c.Labels {
		n.StartLabels = append(n.StartLabels, l.copyOf())
	}
	for _, other := range a.nodes {
		if other.Name == c.Name && other.Id != c.Id && !other.Gone {
			old := other.copyOf()
			old.Gone = true
			a.putNode(old)
		}
	}
	a.putNode(n)
	return &Outcome{Node: n.Number}, nil
}

func (a *applier) nodeDown(c *NodeDown) (*Outcome, error) {
	n, out := a.start(c.Place)
	if n == nil {
		return out, nil
	}
	if err := a.lose(n.Number, n.Boot, c.Reason); err != nil {
		return nil, err
	}
	if !n.Down || c.Forget != n.Gone {
		n = n.copyOf()
		n.Down, n.Gone = true, n.Gone || c.Forget
		a.putNode(n)
	}
	return &Outcome{}, nil
}

// lose requeues everything that a start of a node, or an earlier one, was given.
func (a *applier) lose(node uint32, boot uint64, reason string) error {
	for _, l := range a.index.assignedTo(node) {
		if l.at.Boot > boot {
			continue
		}
		old, err := a.task(l.key)
		if err != nil {
			return err
		}
		a.requeue(old, reason)
	}
	return nil
}

func (a *applier) nodeDrain(c *NodeDrain) (*Outcome, error) {
	if c.UntilResumed {
		return a.nodeDrainLasting(c), nil
	}
	n, out := a.start(c.Place)
	if n == nil {
		return out, nil
	}
	n = n.copyOf()
	n.Draining = c.Draining
	a.putNode(n)
	return &Outcome{}, nil
}

// nodeDrainLasting drains a node until it is resumed, whatever it is started as: also one that is down.
func (a *applier) nodeDrainLasting(c *NodeDrain) *Outcome {
	n := a.nodes[c.Place.GetNode()]
	if n == nil || n.Gone {
		return &Outcome{Code: Code_NOT_FOUND}
	}
	if c.Draining && n.Drain == nil && !c.Force && !a.othersTake(n.Number) {
		return &Outcome{Code: Code_LAST_NODE}
	}
	n = n.copyOf()
	switch {
	case !c.Draining:
		n.Drain = nil
	case n.Drain == nil:
		n.Drain = &Drain{SinceMs: a.now, TimeoutMs: c.TimeoutMs}
	default: // told again: perhaps with less patience
		n.Drain = &Drain{SinceMs: n.Drain.SinceMs, TimeoutMs: c.TimeoutMs}
	}
	a.putNode(n)
	return &Outcome{}
}

// othersTake says whether a node would be left that takes tasks.
func (a *applier) othersTake(number uint32) bool {
	for _, n := range a.nodes {
		if n.Number != number && n.Takes() {
			return true
		}
	}
	return false
}

func (a *applier) nodePacks(c *NodePacks) (*Outcome, error) {
	n, out := a.start(c.Place)
	if n == nil {
		return out, nil
	}
	n = n.copyOf()
	n.Packs = bytes.Clone(c.Packs) // see newTask
	a.putNode(n)
	return &Outcome{}, nil
}

// start returns the record of a node whose current start is p; or the outcome to answer.
func (a *applier) start(p *Place) (*Node, *Outcome) {
	n := a.nodes[p.GetNode()]
	switch {
	case n == nil:
		return nil, &Outcome{Code: Code_NOT_FOUND}
	case n.Boot != p.Boot:
		return nil, &Outcome{Code: Code_STALE}
	}
	return n, nil
}

// Nodes returns the records of the cluster's nodes by number, without those
// removed for good.
func (s *State) Nodes() []*Node {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*Node, 0, len(s.nodes))
	for _, n := range s.nodes {
		if !n.Gone {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *Node) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// Node returns the record of a node, nil if the number was never given out.
func (s *State) Node(number uint32) *Node {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.nodes[number]
}

// Running returns how many unfinished tasks are assigned to a node.
func (s *State) Running(number uint32) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if g := s.index.assigned[number]; g != nil {
		return g.n
	}
	return 0
}
