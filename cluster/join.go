package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	firstJoin   = 5 * time.Second        // Open waits this long at most for the first contact
	joinAtATime = 3                      // addresses contacted at once later on
	joinBackoff = 250 * time.Millisecond // first pause while nobody was reached yet
)

// joinFirst contacts all join addresses at once and returns when one answered, all failed, or time is up. It fails only
// for a reason that will not pass: the name is taken, or the others are another cluster.
func (c *Cluster) joinFirst(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, firstJoin)
	defer cancel()
	addrs := c.resolve(ctx, c.cfg.Join)
	results := make(chan error, len(addrs))
	foreign := false
	for _, addr := range addrs {
		c.wg.Go(func() {
			_, err := c.gossip.list.Join([]string{addr})
			results <- err
		})
	}
	for range addrs {
		select {
		case err := <-results:
			if err == nil {
				c.joined.Store(true)
				return c.checkName()
			}
			c.noteJoinFailed(err)
			foreign = foreign || strings.Contains(err.Error(), ErrForeignCluster.text)
		case <-ctx.Done():
			return nil
		}
	}
	if err := c.foreign.Load(); foreign && err != nil {
		return *err
	}
	return nil
}

// checkName refuses to start under the name of a node that was here first.
func (c *Cluster) checkName() error {
	for _, n := range c.book.all() {
		if n.name != c.cfg.Name || n.id == c.cfg.ID || n.status() != Alive || !n.heard {
			continue
		}
		own := c.clusterID()
		if own == uuid.Nil && n.cluster == uuid.Nil && c.cfg.ID < n.id {
			continue // both are new: the other gives way
		}
		if own != uuid.Nil && n.cluster == uuid.Nil {
			continue // the other is new
		}
		if n.addr == c.addr {
			continue // its process has ended: this one has its port
		}
		return fmt.Errorf("name %q is already used by a live node at %s: choose another name: %w", c.cfg.Name, n.addr,
			ErrNameTaken)
	}
	return nil
}

// keepJoined contacts the join addresses until one answered, and from then on, now and then, every known member that
// is not alive: memberlist by itself never heals a partition that lasted longer than it remembers the dead.
func (c *Cluster) keepJoined(ctx context.Context) {
	pause := joinBackoff
	for {
		wait := pause
		if c.joined.Load() || len(c.cfg.Join) == 0 {
			wait = c.cfg.Timing.Rejoin
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait + rand.N(wait/5+1)):
		}
		if c.gossip.leaving.Load() {
			continue
		}
		pause = min(2*pause, c.cfg.Timing.Rejoin)
		addrs := c.missing(ctx)
		if len(addrs) == 0 { // whoever there is has contacted this node
			c.noteJoined()
		}
		if len(addrs) > joinAtATime && c.joined.Load() {
			rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
			addrs = addrs[:joinAtATime]
		}
		for _, addr := range addrs {
			if ctx.Err() != nil {
				return
			}
			if _, err := c.gossip.list.Join([]string{addr}); err != nil {
				c.noteJoinFailed(err)
				continue
			}
			c.noteJoined()
		}
		poke(c.wakeBootstrap)
	}
}

// noteJoined notes the first contact, and looks for a node of the same name then.
func (c *Cluster) noteJoined() {
	if c.joined.Swap(true) {
		return
	}
	if err := c.checkName(); err != nil {
		c.fatal(err)
	}
}

// missing returns the gossip addresses of known nodes that are not alive.
func (c *Cluster) missing(ctx context.Context) []string {
	roles := c.roles()
	var known, alive []string
	for _, n := range c.book.all() {
		_, member := roles[n.id]
		switch {
		case n.alive:
			alive = append(alive, n.gossip)
		case n.gossip != "" && (member || !n.heard):
			known = append(known, n.gossip)
		}
	}
	var addrs []string
	for _, addr := range append(c.resolve(ctx, c.cfg.Join), known...) {
		if !slices.Contains(alive, addr) && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// resolve turns host:port pairs into addresses, every one that a name has, without this node's own.
func (c *Cluster) resolve(ctx context.Context, hostports []string) []string {
	var addrs []string
	for _, hostport := range hostports {
		host, port, err := net.SplitHostPort(hostport)
		if err != nil {
			continue // validate has looked at it
		}
		ctx, cancel := context.WithTimeout(ctx, gossipTimeout)
		ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
		cancel()
		if err != nil {
			c.log.Debug("join address does not resolve", "addr", hostport, "err", err)
			continue
		}
		for _, ip := range ips {
			addr := net.JoinHostPort(ip.String(), port)
			if addr != c.gossip.addr && !slices.Contains(addrs, addr) {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}
