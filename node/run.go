package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"pytasks/node/failpoint"
)

const (
	// httpLinger is how long a node that takes no more connections answers on those it has,
	// each time with the word that this was the last answer: a client that sends on one
	// which is being closed cannot know whether its request was read, and net/http drops
	// what it reads while it shuts down.
	httpLinger = 500 * time.Millisecond
	// httpDrain is how long requests may take to end after that.
	httpDrain = 5 * time.Second
	// handOver is how long leaving may take once the tasks are done.
	handOver = 5 * time.Second
	// closeTimeout is how long closing may take a node that has to stop.
	closeTimeout = 2 * time.Second
	// checkSlots is how often attempts that wait for a slot are looked at.
	checkSlots = 250 * time.Millisecond
)

// Run serves until ctx ends, then stops in order: running tasks given
// Config.DrainTimeout, the rest handed back, connections closed after their next
// answer, leadership and membership given up, stores closed. It returns why the node had to stop, nil if it was told to.
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
	start("machine", quiet(func(ctx context.Context) { n.host.watch(ctx, n) }))
	start("slots", quiet(n.watchSlots))
	start("disk", quiet(n.disk.watch))
	start("drain", quiet(n.drainer.run))
	start("secrets", quiet(n.secrets.run))
	start("keeper", func(ctx context.Context) error { return n.cluster.Lead(ctx, n.keeper.lead) })
	start("packs", n.packs.Run)
	start("blobs", quiet(n.blobs.Run))
	start("install", quiet(n.install.first))
	if n.backups != nil {
		start("backups", quiet(func(ctx context.Context) { n.backups.Run(ctx, n.members.registered) }))
	}
	start("environments", quiet(n.sweepEnvironments))
	memberCtx, stopMember := context.WithCancel(work)
	defer stopMember()
	memberDone := make(chan struct{})
	start("membership", func(context.Context) error {
		defer close(memberDone)
		return n.members.Run(memberCtx)
	})
	start("http", func(context.Context) error {
		err := n.server.Serve(n.listener)
		if errors.Is(err, http.ErrServerClosed) || n.lastAnswers.Load() {
			return nil
		}
		return err
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
	closed := make(chan error, 1)
	go func() { // left behind with the process where a disk hangs
		err := n.Close() // ends what the loops wait for
		wg.Wait()
		closed <- err
	}()
	return n.awaitClosed(cause, closed)
}

// awaitClosed waits until everything is closed. If the node has to stop, it does not
// wait for long: a disk that hangs holds up whatever uses it, and the process must end.
func (n *Node) awaitClosed(cause error, closed chan error) error {
	var late <-chan time.Time
	for {
		if cause != nil && late == nil {
			late = time.After(closeTimeout)
		}
		select {
		case err := <-closed:
			n.log.Info("node stopped")
			return errors.Join(cause, err)
		case err := <-n.fatal:
			cause = errors.Join(cause, err)
		case <-late:
			return fmt.Errorf("%w; what it still holds was left open", cause)
		}
	}
}

// shutDown hands over everything that this node has in hand.
func (n *Node) shutDown(stopHeartbeats func()) {
	n.drain()
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.DrainTimeout)
	n.members.leave(ctx)
	cancel()
	stopHeartbeats()

	n.lastAnswers.Store(true)
	_ = n.listener.Close() // whoever dials now knows that nothing was sent
	time.Sleep(httpLinger)
	ctx, cancel = context.WithTimeout(context.Background(), httpDrain)
	if err := n.server.Shutdown(ctx); err != nil {
		n.log.Warn("requests cut off", "err", err)
	}
	cancel()

	ctx, cancel = context.WithTimeout(context.Background(), handOver)
	defer cancel()
	if n.cluster.IsLeader() && len(n.cluster.Status().Voters) > 1 {
		if _, err := n.link.stepDown(ctx); err != nil {
			n.log.Warn("leadership not handed over", "err", err)
		}
	}
	failpoint.Point("node.leave.before")
	if err := n.cluster.Leave(ctx); err != nil {
		n.log.Warn("left without a word", "err", err)
	}
}

// endingConnections has clients close their connections when the node is about to: each answer
// says that it is the last one on its connection.
func endingConnections(last *atomic.Bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if last.Load() {
			w.Header()["Connection"] = []string{"close"}
		}
		next.ServeHTTP(w, r)
	})
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
