package cluster

import (
	"context"
	"fmt"
	"log"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
)

const (
	announceEvery = 500 * time.Millisecond // shortest time between two announcements of this node's load
	gossipTimeout = 3 * time.Second        // for its TCP exchanges; Close may have to wait for one
	settleTime    = 20 * time.Millisecond  // changes of the book that come together are handled together
	forgetAfter   = time.Hour              // a node that is gone and was no raft member leaves the book
)

// gossip is this node's part in memberlist.
type gossip struct {
	list    *memberlist.Memberlist
	addr    string // advertised host:port
	load    atomic.Uint32
	leaving atomic.Bool
	changed chan struct{} // capacity 1: the book changed
	meta    chan struct{} // capacity 1: the own identity changed
	loaded  chan struct{} // capacity 1: the own load changed
}

// openGossip binds and starts memberlist. It contacts nobody yet.
func (c *Cluster) openGossip() error {
	host, portText, err := net.SplitHostPort(c.cfg.GossipAddr)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return fmt.Errorf("gossip address %q: the port is no number", c.cfg.GossipAddr)
	}
	bind, err := firstIP(host, "0.0.0.0")
	if err != nil {
		return fmt.Errorf("gossip address: %w", err)
	}
	advertise, err := firstIP(c.cfg.Advertise, "")
	if err != nil {
		return fmt.Errorf("advertise address: %w", err)
	}
	conf := memberlist.DefaultLANConfig()
	if net.ParseIP(bind).IsLoopback() {
		conf = memberlist.DefaultLocalConfig()
	}
	conf.Name = gossipName(c.cfg.ID, c.cfg.Boot)
	conf.BindAddr, conf.BindPort = bind, port
	conf.AdvertiseAddr, conf.AdvertisePort = advertise, port
	conf.TCPTimeout = gossipTimeout
	conf.RetransmitMult = 4
	conf.EnableCompression = false // of some 100 bytes, at the cost of all the rest of gossip
	conf.PushPullInterval = 10 * time.Second
	conf.DeadNodeReclaimTime = 15 * time.Second
	if err := c.lockGossip(conf); err != nil {
		return err
	}
	d := delegate{c}
	conf.Delegate, conf.Events, conf.Alive, conf.Merge = d, d, d, d
	conf.Logger = log.New(newGossipLog(c.log, c.strangers), "", 0)
	if p := c.cfg.Timing.GossipProbe; p > 0 {
		conf.ProbeInterval, conf.ProbeTimeout = p, p/2
		conf.GossipInterval = min(conf.GossipInterval, p)
		conf.DeadNodeReclaimTime = 3 * p
	}
	if c.cfg.Network.Gossip != nil {
		if conf.Transport, err = c.cfg.Network.Gossip(c.cfg.GossipAddr, c.log); err != nil {
			return fmt.Errorf("open gossip transport: %w", err)
		}
	}
	if c.gossip.list, err = memberlist.Create(conf); err != nil {
		return fmt.Errorf("bind gossip address %s: %w", c.cfg.GossipAddr, err)
	}
	c.gossip.addr = c.gossip.list.LocalNode().Address()
	return nil
}

// gossipName is a node's name in memberlist. A restarted node has another one than before: memberlist would refuse the
// same name at a new address until the old one has been dead for a while, half a minute in all.
func gossipName(id string, boot uint64) string { return id + "." + strconv.FormatUint(boot, 10) }

// splitGossipName undoes gossipName.
func splitGossipName(name string) (id string, boot uint64, ok bool) {
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 {
		return "", 0, false
	}
	boot, err := strconv.ParseUint(name[dot+1:], 10, 64)
	return name[:dot], boot, err == nil
}

// firstIP resolves a host; memberlist binds and advertises addresses only.
func firstIP(host, unset string) (string, error) {
	if host == "" {
		return unset, nil
	}
	if net.ParseIP(host) != nil {
		return host, nil
	}
	addrs, err := net.LookupHost(host)
	if err != nil {
		return "", fmt.Errorf("look up %q: %w", host, err)
	}
	return addrs[0], nil
}

// ownMeta is what this node tells about itself.
func (c *Cluster) ownMeta() meta {
	m := meta{cluster: c.clusterID(), boot: c.cfg.Boot, load: byte(c.gossip.load.Load()), name: c.cfg.Name,
		addr: c.addr, info: c.cfg.Info}
	if m.cluster == uuid.Nil {
		m.expect = byte(c.cfg.BootstrapExpect)
	}
	if c.gossip.leaving.Load() {
		m.flags |= flagLeaving
	}
	return m
}

// announce tells the others whenever the own meta changed: its identity at once, its load not too often.
func (c *Cluster) announce(ctx context.Context) {
	var next time.Time
	for {
		identity := false
		select {
		case <-ctx.Done():
			return
		case <-c.gossip.meta:
			identity = true
		case <-c.gossip.loaded:
			select {
			case <-ctx.Done():
				return
			case <-c.gossip.meta:
				identity = true
			case <-time.After(time.Until(next)):
			}
		}
		c.noteSelf()
		c.spread(identity)
		next = time.Now().Add(announceEvery)
	}
}

// spread hands the own meta to gossip. In a small cluster memberlist sends a message so few times, and twice to one node
// so easily, that one in twenty is not heard by all before the next full exchange. What must be heard, the own
// identity, is therefore exchanged with some members at once.
func (c *Cluster) spread(identity bool) {
	c.gossip.list.UpdateNode(time.Millisecond) // queues it; the error only says that it was not sent within this time
	if !identity {
		return
	}
	leader, _ := c.Leader()
	var addrs []string
	for _, n := range c.book.all() {
		if n.id == leader && n.id != c.cfg.ID && n.alive {
			addrs = append([]string{n.gossip}, addrs...)
		} else if n.id != c.cfg.ID && n.alive {
			addrs = append(addrs, n.gossip)
		}
	}
	for _, addr := range addrs[:min(len(addrs), joinAtATime)] {
		if _, err := c.gossip.list.Join([]string{addr}); err != nil {
			c.log.Debug("exchange failed", "addr", addr, "err", err)
		}
	}
}

// noteSelf keeps the own entry of the book.
func (c *Cluster) noteSelf() {
	c.book.put(c.cfg.ID, c.gossip.addr, c.ownMeta(), true)
	poke(c.gossip.changed)
}

// watchBook acts on changes of the book: adopts the cluster's id, saves addresses, wakes the leader's reconciliation.
func (c *Cluster) watchBook(ctx context.Context) {
	var saved []peer
	for {
		notes := c.book.all()
		c.adoptHeard(notes)
		if peers := peersOf(notes, c.cfg.ID); !slices.Equal(peers, saved) {
			if err := saveJSON(c.cfg.Dir, peersFile, peers); err != nil {
				c.log.Warn("cannot save the addresses of members", "err", err) // in a minute it is tried again
			} else {
				saved = peers
			}
		}
		c.membersChanged.fire()
		poke(c.wakeBootstrap)
		poke(c.wakeReconcile)
		select {
		case <-ctx.Done():
			return
		case <-time.After(settleTime):
		}
		select {
		case <-ctx.Done():
			return
		case <-c.gossip.changed:
		case <-time.After(time.Minute):
			c.forgetOld()
		}
	}
}

func peersOf(notes []note, self string) []peer {
	var peers []peer
	for _, n := range notes {
		if n.id != self && n.addr != "" {
			peers = append(peers, peer{ID: n.id, Name: n.name, Gossip: n.gossip, Addr: n.addr})
		}
	}
	return peers
}

// forgetOld drops nodes that are long gone and no members of raft.
func (c *Cluster) forgetOld() {
	roles := c.roles()
	for _, n := range c.book.all() {
		if _, ok := roles[n.id]; !ok && n.status() != Alive && time.Since(n.since) > forgetAfter {
			c.book.forget(n.id)
		}
	}
}
