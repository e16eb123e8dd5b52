package simnet

import "time"

// SetDelay sets how long each packet takes, min to max, on every link without one of its own. 0, 0 = no time.
func (n *Network) SetDelay(min, max time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link.MinDelay, n.link.MaxDelay = min, max
}

// SetLoss sets the share of packets that are lost, 0 to 1, on every link without one of its own.
func (n *Network) SetLoss(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link.Loss = share
}

// SetDuplicate sets the share of packets that arrive twice, 0 to 1, on every link without one of its own.
func (n *Network) SetDuplicate(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link.Duplicate = share
}

// SetLink gives the link from one host to another its own settings, in place of those of the network. The way of a host
// to itself has none.
func (n *Network) SetLink(from, to string, link Link) {
	n.change(from, to, func(p *path) {
		if p.from != p.to {
			p.link = &link
		}
	})
}

// ResetLinks takes the settings back that SetLink made.
func (n *Network) ResetLinks() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.paths {
		if p.from != p.to {
			p.link = nil
		}
	}
}

// Cut lets nothing that one host sends reach the other, until Heal. The other direction is not affected.
func (n *Network) Cut(from, to string) { n.change(from, to, func(p *path) { p.cut = true }) }

// Heal undoes Cut: the same direction.
func (n *Network) Heal(from, to string) { n.change(from, to, func(p *path) { p.cut = false }) }

// HealAll undoes every Cut, Partition and Isolate. Cables that were pulled stay so.
func (n *Network) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.machines {
		for _, p := range n.pathsOf(m) {
			p.cut = false
			p.refresh()
		}
	}
}

// Partition cuts the links between hosts of different groups, both directions. Hosts in no group keep their links.
func (n *Network) Partition(groups ...[]string) {
	for i, group := range groups {
		for j, other := range groups {
			if i == j {
				continue
			}
			for _, from := range group {
				for _, to := range other {
					n.Cut(from, to)
				}
			}
		}
	}
}

// Isolate cuts the links of a host to all other hosts that there are by now, both directions.
func (n *Network) Isolate(ip string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.machine(parseIP(ip))
	for _, other := range n.machines {
		if other != m {
			p := n.path(m, other)
			p.cut, p.back.cut = true, true
			p.refresh()
			p.back.refresh()
		}
	}
}

func (n *Network) change(from, to string, set func(*path)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.path(n.machine(parseIP(from)), n.machine(parseIP(to)))
	set(p)
	p.refresh()
}
