//go:build linux

package chaos

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// slots is how many tasks a node runs at once: long ones must not hold up the others, yet a few must find their way to every node.
const slots = "16"

// cluster is nodes on a network.
type cluster struct {
	t       testing.TB
	network *network
	program string
	dir     string

	mu  sync.Mutex
	all nodes // in the order in which they were added; guarded by mu where clients run
}

// nodes are some nodes of a cluster.
type nodes []*node

// newCluster builds a network with so many nodes that found a cluster together. None is started.
func newCluster(t testing.TB, program, dir string, size int, flags ...string) *cluster {
	t.Helper()
	network, err := newNetwork()
	check(t, err)
	t.Cleanup(network.close)
	c := &cluster{t: t, network: network, program: program, dir: dir}
	for range size {
		c.add(flags...)
	}
	for _, n := range c.all {
		n.flags = append(n.flags, "--join", c.all.joinAddrs(), "--bootstrap-expect", fmt.Sprint(size))
	}
	return c
}

// add adds a host with a node that is not started.
func (c *cluster) add(flags ...string) *node {
	c.t.Helper()
	h, err := c.network.addHost()
	check(c.t, err)
	name := fmt.Sprintf("n%d", len(c.all)+1)
	n := newNode(c.t, name, c.program, filepath.Join(c.dir, name), h)
	n.flags = append([]string{"--slots", slots}, flags...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, n)
	return n
}

// dial connects to a node by its name, as a client beside it would: on the host where it is now.
func (c *cluster) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	name, port, _ := net.SplitHostPort(addr)
	n := c.standsFor(name)
	if n == nil {
		return nil, fmt.Errorf("no node is called %s", name)
	}
	h := n.at()
	return h.dial(ctx, network, net.JoinHostPort(h.ip, port))
}

// standsFor returns the node that answers to a name: its own, or that of a node that it replaced.
func (c *cluster) standsFor(name string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range slices.Backward(c.all) {
		if n.name == name || n.replaces == name {
			return n
		}
	}
	return nil
}

func (ns nodes) joinAddrs() string {
	var addrs []string
	for _, n := range ns {
		addrs = append(addrs, n.gossip())
	}
	return strings.Join(addrs, ",")
}

// start starts all and waits until they are ready.
func (ns nodes) start() {
	for _, n := range ns {
		n.t.Helper()
		n.start()
	}
	ns.whole(30 * time.Second)
}

// up returns the nodes whose processes run.
func (ns nodes) up() nodes {
	return slices.DeleteFunc(slices.Clone(ns), func(n *node) bool { return !n.running() })
}

// without returns the nodes but some.
func (ns nodes) without(others ...*node) nodes {
	return slices.DeleteFunc(slices.Clone(ns), func(n *node) bool { return slices.Contains(others, n) })
}

// hosts returns where the nodes are.
func (ns nodes) hosts() []*host {
	var hosts []*host
	for _, n := range ns {
		hosts = append(hosts, n.host)
	}
	return hosts
}

// whole waits until all are ready, see all others alive and name the same leader. It returns how long that took.
func (ns nodes) whole(within time.Duration) time.Duration {
	ns[0].t.Helper()
	return eventually(ns[0].t, within, "the cluster is whole", func() error {
		leader := ""
		for _, n := range ns {
			if !n.running() {
				n.t.Fatalf("%s has ended: %v", n.name, n.err)
			}
			v, err := n.view()
			if err != nil {
				return err
			}
			if leader == "" {
				leader = v.Leader
			}
			if v.Leader == "" || v.Leader != leader {
				return fmt.Errorf("%s names %q the leader, another %q", n.name, v.Leader, leader)
			}
			alive := map[string]bool{}
			for _, m := range v.Nodes {
				alive[m.Name] = alive[m.Name] || m.Status == "alive"
			}
			for _, other := range ns {
				if !alive[other.name] {
					return fmt.Errorf("%s does not see %s alive", n.name, other.name)
				}
			}
			a, err := n.send(2*time.Second, http.MethodGet, "/readyz", "")
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%s is not ready: %v", n.name, a)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// leader waits until the nodes name one of them as the leader.
func (ns nodes) leader() *node {
	ns[0].t.Helper()
	var leader *node
	eventually(ns[0].t, 20*time.Second, "the nodes agree on a leader", func() error {
		leader = nil
		for _, n := range ns {
			v, err := n.view()
			if err != nil {
				return err
			}
			i := slices.IndexFunc(ns, func(o *node) bool { return o.name == v.Leader })
			if i < 0 || leader != nil && leader != ns[i] {
				return fmt.Errorf("%s names %q", n.name, v.Leader)
			}
			leader = ns[i]
		}
		return nil
	})
	return leader
}

// follower returns a node that does not lead.
func (ns nodes) follower() *node {
	ns[0].t.Helper()
	return ns.without(ns.leader())[0]
}

// vote waits until every node sees all of them alive as voters. It returns how long that took.
func (ns nodes) vote(within time.Duration) time.Duration {
	ns[0].t.Helper()
	return eventually(ns[0].t, within, "all vote", func() error {
		for _, n := range ns {
			v, err := n.view()
			if err != nil {
				return err
			}
			roles := map[string]string{}
			for _, m := range v.Nodes {
				if m.Status == "alive" {
					roles[m.ID] = m.Role
				}
			}
			for _, other := range ns {
				id, err := other.id()
				if err == nil && roles[id] != "voter" {
					err = fmt.Errorf("%s does not see %s, %s, vote: %+v", n.name, other.name, id, v.Nodes)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}
