package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"pytasks/fsm"
	"pytasks/node/client"
	"pytasks/node/config"
	"pytasks/taskpacks/test"
)

// TestAwayForLong: a node that was away for 200,000 log entries catches up by snapshot
// while traffic goes on, and ends with the same records as the others.
func TestAwayForLong(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 200,000 log entries")
	}
	const entries = 200_000
	var ns []*runningNode
	for i := range 3 {
		ns = append(ns, newRunningNode(t, fmt.Sprintf("n%d", i+1)))
		if i > 0 {
			ns[i].cfg.Join = []string{ns[0].gossip()}
		}
		ns[i].start()
	}
	stay, away := ns[:2], ns[2]

	// Tasks are submitted and run all the time, at the nodes that stay.
	var stop atomic.Bool
	var acknowledged [4][]fsm.Key
	var traffic sync.WaitGroup
	for i := range acknowledged {
		traffic.Go(func() {
			for !stop.Load() {
				key := fsm.NewKey(time.Now())
				_, err := stay[i%2].queue.Submit(t.Context(), &fsm.Submit{Tasks: []*fsm.New{{Key: key[:], Type: "test.main.echo", Args: []byte(`{"value":"` + key.String() + `"}`)}}})
				if err != nil {
					t.Errorf("submit: %v", err)
					return
				}
				acknowledged[i] = append(acknowledged[i], key)
			}
		})
	}
	defer traffic.Wait()
	defer stop.Store(true)

	away.stop()
	left := away.state.Applied()
	fill(t, stay, entries)
	eventually(t, 30*time.Second, "a snapshot is taken, and the log before it cut", func() error {
		for _, n := range stay {
			if s := n.cluster.Status(); s.SnapshotIndex < left+entries/2 {
				return fmt.Errorf("%s: the last one is at %d of %d", n.cfg.Name, s.SnapshotIndex, s.LastIndex)
			}
		}
		return nil
	})

	came := stay[0].state.Applied()
	if came < left+entries {
		t.Fatalf("it was away for %d entries, want %d", came-left, entries)
	}
	start := time.Now()
	away.start()
	t.Logf("back after %d entries, ready after %s", came-left, time.Since(start).Round(time.Millisecond))
	if got := away.cluster.Status().SnapshotIndex; got < left+entries/2 {
		t.Errorf("its newest snapshot is at %d, want one that was sent to it, beyond %d", got, left+entries/2)
	}
	stop.Store(true)
	traffic.Wait()

	keys := slices.Concat(acknowledged[:]...)
	t.Logf("%d tasks ran meanwhile", len(keys))
	for _, n := range ns {
		eventually(t, 30*time.Second, n.cfg.Name+" sees all tasks finished", func() error {
			if c := n.state.Counts(); c.Tasks[fsm.Status_SUCCESS] != len(keys) || c.Live > 0 {
				return fmt.Errorf("got %v, want %d SUCCESS", c.Tasks, len(keys))
			}
			return nil
		})
	}
	for _, k := range keys {
		want, err := stay[0].state.TaskByKey(k)
		if err != nil || want == nil || want.Status != fsm.Status_SUCCESS || string(want.Result) != `"`+k.String()+`"` {
			t.Fatalf("task %s is %v (%v), want SUCCESS with its own id as result", k, want, err)
		}
		got, err := away.state.TaskByKey(k)
		if err != nil || !proto.Equal(got, want) {
			t.Fatalf("task %s: the node that was away says %v (%v), another %v", k, got, err, want)
		}
	}
}

// fill writes log entries that change nothing.
func fill(t *testing.T, ns []*runningNode, count int) {
	t.Helper()
	data, err := fsm.EncodeEntry(&fsm.Entry{NowMs: 1, Commands: []*fsm.Command{{Kind: &fsm.Command_Cancel{Cancel: &fsm.Cancel{Id: "nobody"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var written atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	atOnce(256, func(i int) {
		for ctx.Err() == nil && written.Load() < int64(count) {
			n := ns[i%len(ns)]
			if !n.cluster.IsLeader() {
				n = ns[(i+1)%len(ns)]
			}
			if _, _, err := n.cluster.Propose(ctx, data); err == nil {
				written.Add(1)
				continue
			}
			select { // no leader just now
			case <-n.cluster.LeaderChanged():
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	if got := written.Load(); got < int64(count) {
		t.Fatalf("%d entries were written in time, want %d", got, count)
	}
}

// runningNode is a node in this process.
type runningNode struct {
	*Node
	t     *testing.T
	cfg   config.Config
	quit  context.CancelFunc
	ended chan error
}

// newRunningNode returns a node with free ports that is not started yet.
func newRunningNode(t *testing.T, name string) *runningNode {
	cfg := config.Default()
	cfg.Name, cfg.DataDir, cfg.LogLevel = name, t.TempDir(), "error"
	cfg.HTTP, cfg.Gossip, cfg.Cluster = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n := &runningNode{t: t, cfg: cfg}
	t.Cleanup(n.stop)
	return n
}

// start starts the node and waits until it is ready.
func (n *runningNode) start() {
	n.t.Helper()
	var err error
	if n.Node, err = New(n.t.Context(), n.cfg, test.Pack); err != nil {
		n.t.Fatal(err)
	}
	ctx, quit := context.WithCancel(context.Background())
	n.quit, n.ended = quit, make(chan error, 1)
	go func() { n.ended <- n.Run(ctx) }()
	eventually(n.t, 60*time.Second, n.cfg.Name+" is ready", func() error {
		if !client.Ready(n.t.Context(), n.URL()) {
			return errors.New("not yet")
		}
		return nil
	})
}

// stop stops the node in good order, if it runs.
func (n *runningNode) stop() {
	if n.ended == nil {
		return
	}
	n.quit()
	if err := <-n.ended; err != nil {
		n.t.Errorf("%s stopped: %v", n.cfg.Name, err)
	}
	n.ended = nil
}

func (n *runningNode) gossip() string {
	addr, _ := n.cluster.Addrs()
	return addr
}
