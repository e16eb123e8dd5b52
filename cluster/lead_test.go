package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestLeadRunsOncePerTerm(t *testing.T) {
	nodes := trio(t)
	type span struct {
		node string
		term uint64
		end  bool
	}
	spans := make(chan span, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var leads sync.WaitGroup
	for _, n := range nodes {
		leads.Go(func() {
			n.Lead(ctx, func(ctx context.Context, term uint64) error {
				if !n.IsLeader() {
					t.Errorf("%s: fn runs while the node does not lead", n.cfg.Name)
				}
				spans <- span{n.cfg.Name, term, false}
				<-ctx.Done()
				spans <- span{n.cfg.Name, term, true}
				return nil
			})
		})
	}
	first := <-spans
	old := leader(t, nodes)
	if first.node != old.cfg.Name || first.end {
		t.Errorf("first span is %+v, the leader is %s", first, old.cfg.Name)
	}
	if _, err := old.TransferLeadership(t.Context(), nil); err != nil {
		t.Fatalf("TransferLeadership: %v", err)
	}
	ended, began := false, false
	for !ended || !began {
		s := <-spans
		switch {
		case s.node == first.node && s.term == first.term && s.end:
			ended = true
		case s.term > first.term && !s.end:
			began = true
		}
	}
	cancel()
	leads.Wait()
}

func TestLeadEndsWithAnErrorOfItsOwn(t *testing.T) {
	a := open(t, config(t, "a"))
	stop := errors.New("stop")
	runs := 0
	err := a.Lead(t.Context(), func(context.Context, uint64) error { runs++; return stop })
	if !errors.Is(err, stop) || runs != 1 {
		t.Errorf("got %v after %d runs, want %v after one", err, runs, stop)
	}
	a.Close()
	if err := a.Lead(t.Context(), func(context.Context, uint64) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Lead after Close: got %v, want %v", err, ErrClosed)
	}
}

func TestLeaderChangedIsClosed(t *testing.T) {
	nodes := trio(t)
	lead := leader(t, nodes)
	rest := followers(nodes, lead)
	changed := rest[0].LeaderChanged()
	lead.Close()
	<-changed
	leader(t, rest)
}

func TestLostMajorityIsAmbiguousThenDefinite(t *testing.T) {
	nodes := trio(t)
	lead := leader(t, nodes)
	for _, n := range followers(nodes, lead) {
		n.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := lead.Propose(ctx, []byte("x")); !errors.Is(err, ErrUnknown) || errors.Is(err, ErrNotLeader) {
		t.Errorf("a proposal in flight while the majority goes: got %v, want %v", err, ErrUnknown)
	}
	eventually(t, "the leader steps down", func() bool { return !lead.IsLeader() })
	if _, _, err := lead.Propose(ctx, []byte("y")); !errors.Is(err, ErrNotLeader) || errors.Is(err, ErrUnknown) {
		t.Errorf("a proposal without leadership: got %v, want %v", err, ErrNotLeader)
	}
	eventually(t, "no leader is known", func() bool { _, known := lead.Leader(); return !known })
	if _, err := lead.CallLeader(ctx, "propose", nil); !errors.Is(err, ErrNoLeader) {
		t.Errorf("CallLeader: got %v, want %v", err, ErrNoLeader)
	}
	if _, err := lead.ReadIndex(ctx); !errors.Is(err, ErrNoLeader) {
		t.Errorf("ReadIndex: got %v, want %v", err, ErrNoLeader)
	}
}

func TestProposeWithEndedContext(t *testing.T) {
	a := open(t, config(t, "a"))
	leader(t, []*testNode{a})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := a.Propose(ctx, []byte("x")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want a definite error: nothing was proposed", err)
	}
}

func TestReadIndexCoversWhatWasCommitted(t *testing.T) {
	nodes := trio(t)
	check := func(nodes []*testNode) {
		t.Helper()
		lead := leader(t, nodes)
		for range 10 {
			index := propose(t, lead, "x")
			var readers sync.WaitGroup
			for _, n := range nodes {
				for range 5 {
					readers.Go(func() {
						got, err := n.ReadIndex(t.Context())
						if err != nil || got < index {
							t.Errorf("ReadIndex on %s: got %d, %v, want at least %d", n.cfg.Name, got, err, index)
						}
					})
				}
			}
			readers.Wait()
		}
	}
	check(nodes)
	// An election leaves an entry in the log that no state machine sees: an index that counts it could never be reached.
	lead := leader(t, nodes)
	if _, err := lead.TransferLeadership(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	leader(t, nodes)
	for _, n := range nodes {
		index, err := n.ReadIndex(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "a state as new as the read index", func() bool { return n.Status().Applied >= index })
	}
	spare := joining(t, nodes, "spare")
	eventually(t, "a non-voter", func() bool { return len(leader(t, nodes).Status().Nonvoters) == 1 })
	check(append(nodes, spare))
}

func TestRoundsAreShared(t *testing.T) {
	a := open(t, config(t, "a"))
	leader(t, []*testNode{a})
	want := propose(t, a, "x")
	a.reads.mu.Lock()
	a.reads.running = true // a round is under way
	a.reads.mu.Unlock()
	first, second := a.joinRound(), a.joinRound()
	if first != second {
		t.Error("two readers that came during one round do not share the next")
	}
	a.wg.Go(a.runRounds)
	<-first.done
	if first.err != nil || first.index < want {
		t.Errorf("got %d, %v, want at least %d", first.index, first.err, want)
	}
	if third := a.joinRound(); third == first {
		t.Error("a reader joined a round that was over")
	}
}
