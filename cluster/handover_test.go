package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTransferUnderLoad: the leadership goes round while every node has entries proposed. No outcome is ever unknown, no
// entry is lost, and nobody waits for long.
func TestTransferUnderLoad(t *testing.T) {
	nodes := trio(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var acknowledged sync.Map
	var done, longest atomic.Int64
	var load sync.WaitGroup
	for i := range 8 {
		load.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				entry, start := fmt.Sprintf("%d.%d", i, k), time.Now()
				for {
					_, err := nodes[i%3].CallLeader(context.WithoutCancel(ctx), "propose", []byte(entry))
					if err == nil {
						acknowledged.Store(entry, true)
						done.Add(1)
						break
					}
					if errors.Is(err, ErrUnknown) {
						t.Errorf("entry %s: %v, want an outcome that is certain", entry, err)
						return
					}
					time.Sleep(time.Millisecond) // as callers do
				}
				for took := int64(time.Since(start)); ; {
					if old := longest.Load(); took <= old || longest.CompareAndSwap(old, took) {
						break
					}
				}
			}
		})
	}
	const transfers = 10
	for range transfers {
		before := done.Load()
		eventually(t, "entries", func() bool { return done.Load() > before+50 })
		old := leader(t, nodes)
		id, err := old.TransferLeadership(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if next := leader(t, nodes); next == old || next.cfg.ID != id {
			t.Errorf("%s leads, TransferLeadership said %s, from %s", next.cfg.Name, id, old.cfg.Name)
		}
	}
	cancel()
	load.Wait()
	t.Logf("%d entries during %d transfers, the slowest took %v", done.Load(), transfers, time.Duration(longest.Load()))
	index, err := leader(t, nodes).ReadIndex(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		eventually(t, "the state of "+n.cfg.Name, func() bool { return n.Status().Applied >= index })
	}
	acknowledged.Range(func(entry, _ any) bool {
		for _, n := range nodes {
			if !n.fsm.has(entry.(string)) {
				t.Errorf("%s lacks the acknowledged entry %v", n.cfg.Name, entry)
			}
		}
		return true
	})
}

// TestTransferChooses: only those that suit get the leadership; where none does, the leader leads on and takes entries.
func TestTransferChooses(t *testing.T) {
	nodes := trio(t)
	for range 3 {
		old := leader(t, nodes)
		for _, want := range followers(nodes, old) {
			old = leader(t, nodes)
			if old == want {
				continue
			}
			id, err := old.TransferLeadership(t.Context(), func(id string) bool { return id == want.cfg.ID })
			if err != nil || id != want.cfg.ID {
				t.Fatalf("got %s, %v; want %s", id, err, want.cfg.ID)
			}
			leader(t, nodes)
		}
	}
	lead := leader(t, nodes)
	if _, err := lead.TransferLeadership(t.Context(), func(string) bool { return false }); !errors.Is(err, ErrNoSuccessor) {
		t.Errorf("got %v, want %v", err, ErrNoSuccessor)
	}
	if _, err := followers(nodes, lead)[0].TransferLeadership(t.Context(), nil); !errors.Is(err, ErrNotLeader) {
		t.Errorf("at a follower: got %v, want %v", err, ErrNotLeader)
	}
	if !lead.IsLeader() {
		t.Error("the leader leads no more, although nobody suited")
	}
	propose(t, lead, "after")
}

// TestTransferToTheDead: a successor that does not answer holds up nothing for long, and afterwards the leader takes entries.
func TestTransferToTheDead(t *testing.T) {
	nodes := trio(t)
	lead := leader(t, nodes)
	dead, other := followers(nodes, lead)[0], followers(nodes, lead)[1]
	dead.Close()
	if _, err := lead.TransferLeadership(t.Context(), func(id string) bool { return id == dead.cfg.ID }); !errors.Is(err, ErrNoSuccessor) {
		t.Errorf("got %v, want %v", err, ErrNoSuccessor)
	}
	// Even one that fails between the question and the hand-over.
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := lead.handTo(ctx, lead.office.ready.Load(), dead.cfg.ID); err == nil {
		t.Error("the leadership was handed to a node that is dead")
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v to find out that a node is dead", took)
	}
	propose(t, lead, "after")
	if id, err := lead.TransferLeadership(t.Context(), nil); err != nil || id != other.cfg.ID {
		t.Errorf("got %s, %v; want %s", id, err, other.cfg.ID)
	}
}

// TestTurnstile: what is inside leaves, what comes later stays out until it opens.
func TestTurnstile(t *testing.T) {
	var g turnstile
	if err := g.enter(); err != nil {
		t.Fatal(err)
	}
	idle := g.close(false)
	select {
	case <-idle:
		t.Error("idle with one inside")
	default:
	}
	if err := g.enter(); !errors.Is(err, ErrNotLeader) {
		t.Errorf("got %v, want %v", err, ErrNotLeader)
	}
	g.leave()
	<-idle
	<-g.close(false)
	g.open()
	if err := g.enter(); err != nil {
		t.Error(err)
	}
	g.leave()
	<-g.close(true)
	g.open()
	if err := g.enter(); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want %v", err, ErrClosed)
	}
}
