package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// httpDrain is how long requests may take to end when the node stops.
	httpDrain = 5 * time.Second
	// handOver is how long leaving may take once the tasks are done.
	handOver = 5 * time.Second
	// checkSlots is how often attempts that wait for a slot are looked at.
	checkSlots = 250 * time.Millisecond
)

// Run serves until ctx ends, then stops in order: no new requests, running tasks
// given Config.DrainTimeout, the rest handed back, leadership and membership given
// up, stores closed. It returns why the node had to stop, nil if it was told to.
func (n *Node) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	start := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(work); err != nil && work.Err() == nil {
				n.fail(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	quiet := func(f func(context.Context)) func(context.Context) error {
		return func(ctx context.Context) error { f(ctx); return nil }
	}
	start("queue", n.queue.Run)
	start("scheduler", func(ctx context.Context) error { return n.cluster.Lead(ctx, n.sched.Lead) })
	start("members", quiet(n.link.watchMembers))
	start("pressure", quiet(func(ctx context.Context) { watchPressure(ctx, n.cluster.SetLoad) }))
	start("slots", quiet(n.watchSlots))
	start("memory", quiet(n.watchMemory))
	memberCtx, stopMember := context.WithCancel(work)
	defer stopMember()
	memberDone := make(chan struct{})
	start("membership", func(context.Context) error {
		defer close(memberDone)
		return n.members.Run(memberCtx)
	})
	start("http", func(context.Context) error {
		if err := n.server.Serve(n.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	gossip, port := n.cluster.Addrs()
	n.log.Info("node started", "http", n.URL(), "gossip", gossip, "cluster", port, "id", n.dir.ID, "boot", n.dir.Boot)

	var cause error
	select {
	case <-ctx.Done():
		n.log.Info("stopping", "drain", n.cfg.DrainTimeout)
		n.shutDown(func() { stopMember(); <-memberDone })
	case cause = <-n.fatal:
		n.log.Error("the node has to stop", "err", cause)
	}
	_ = n.server.Close()
	stop()
	err := n.Close() // ends what the loops wait for
	wg.Wait()
	n.log.Info("node stopped")
	return errors.Join(cause, err)
}

// shutDown hands over everything that this node has in hand.
func (n *Node) shutDown(stopHeartbeats func()) {
	n.drain()
	ctx, cancel := context.WithTimeout(context.Background(), httpDrain)
	if err := n.server.Shutdown(ctx); err != nil {
		n.log.Warn("requests cut off", "err", err)
	}
	cancel()

	ctx, cancel = context.WithTimeout(context.Background(), n.cfg.DrainTimeout)
	n.members.leave(ctx)
	cancel()
	stopHeartbeats()

	ctx, cancel = context.WithTimeout(context.Background(), handOver)
	defer cancel()
	if n.cluster.IsLeader() && len(n.cluster.Status().Voters) > 1 {
		if err := n.cluster.TransferLeadership(ctx); err != nil {
			n.log.Warn("leadership not handed over", "err", err)
		}
	}
	if err := n.cluster.Leave(ctx); err != nil {
		n.log.Warn("left without a word", "err", err)
	}
}

// watchSlots hands back attempts that got stuck behind long ones, and ends those
// that do not end by themselves.
func (n *Node) watchSlots(ctx context.Context) {
	tick := time.NewTicker(checkSlots)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			n.exec.handBack()
			n.exec.overrun()
		case <-ctx.Done():
			return
		}
	}
}
