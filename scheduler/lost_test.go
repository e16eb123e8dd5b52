package scheduler

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/fsm"
)

// TestLostByLease: a node that is silent for a lease is given up: its tasks run
// elsewhere, and it has to register again.
func TestLostByLease(t *testing.T) {
	serve(t, Config{Lease: 10 * time.Second}, []uint32{2, 2}, func(t *testing.T, r *reign) {
		tasks := []*fsm.New{r.task("p.f"), r.task("p.f")}
		r.do(submit(tasks[0]), submit(tasks[1]))
		silent, k := uint32(2), fsm.Key(tasks[0].Key)
		if r.record(k).Place.Node != silent {
			k = fsm.Key(tasks[1].Key)
		}
		r.beatFor(10*time.Second, 1)
		if got := r.cluster.count(isNodeDown); got != 0 {
			t.Errorf("given up after %d s, want a lease of 10 s", 10)
		}
		r.beatFor(2*time.Second, 1)
		if got := r.record(k); got.Status != fsm.Status_STARTED || got.Place.Node != 1 || got.Attempt != 2 || got.Past[0].Reason != fsm.ReasonWorkerLost {
			t.Errorf("the task is %v, want it running on node 1 in attempt 2 after a lost worker", got)
		}
		if got := r.state.Node(silent); !got.Down {
			t.Error("the silent node is not down")
		}
		if err := r.Heartbeat(&fsm.Heartbeat{Place: &fsm.Place{Node: silent, Boot: 1}}); !errors.Is(err, fsm.ErrStale) {
			t.Errorf("its heartbeat: got %v, want %v", err, fsm.ErrStale)
		}
		if got := r.cluster.count(isNodeDown); got != 1 {
			t.Errorf("it was given up %d times, want once", got)
		}
		r.apply(nodeUp(2, 2))
		r.beat(silent)
	})
}

// TestLostNewLeaderWaits: a new leader has heard of nobody, and gives every node a full
// lease.
func TestLostNewLeaderWaits(t *testing.T) {
	serve(t, Config{Lease: 10 * time.Second}, []uint32{1, 1}, func(t *testing.T, r *reign) {
		r.beatFor(8*time.Second, 1) // node 2 is silent
		r.end()
		r.lead()
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if got := r.cluster.count(isNodeDown); got != 0 {
			t.Errorf("%d nodes were given up within the lease of a new leader", got)
		}
		r.beatFor(5*time.Second, 1)
		if r.state.Node(1).Down || !r.state.Node(2).Down {
			t.Errorf("down: %v and %v, want node 2 alone", r.state.Node(1).Down, r.state.Node(2).Down)
		}
	})
}

// TestLostUnderManyLeaders: what gossip has held for dead keeps what is left of its lease
// when the leader changes, and a second chance at least.
func TestLostUnderManyLeaders(t *testing.T) {
	serve(t, Config{Lease: 15 * time.Second}, []uint32{1, 1, 1}, func(t *testing.T, r *reign) {
		r.end()
		r.cluster.silent = map[string]time.Duration{"id2": 8 * time.Second, "id3": time.Hour}
		r.Scheduler.term.Store(nil)
		term := newTerm(r.Scheduler, 2)
		for number, want := range map[uint32]time.Duration{1: 15 * time.Second, 2: 7 * time.Second, 3: secondChance} {
			if got := r.cfg.Lease - time.Since(term.workers.seen[number]); got != want {
				t.Errorf("node %d has %s left, want %s", number, got, want)
			}
		}
	})
}

// TestLostFreshOnly: a node is given work only while its heartbeats arrive.
func TestLostFreshOnly(t *testing.T) {
	serve(t, Config{}, []uint32{1, 8}, func(t *testing.T, r *reign) {
		r.beatFor(5*time.Second, 1) // node 2 is silent, but not given up
		first, second := r.task("p.f"), r.task("p.f")
		r.do(submit(first), submit(second))
		if got := r.record(fsm.Key(first.Key)); got.Place.GetNode() != 1 {
			t.Errorf("the first went to node %d, want 1", got.Place.GetNode())
		}
		r.is(fsm.Status_PENDING, fsm.Key(second.Key))
		r.beat(2)
		r.do(finish(fsm.Key(first.Key), 1, time.Second))
		r.is(fsm.Status_STARTED, fsm.Key(second.Key))
	})
}

// TestLostNewStart: a new start of a node gets nothing before it is heard of. It may not have heard yet
// that it is registered, and what it is given then it would not take for its own.
func TestLostNewStart(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		up := nodeUp(1, 1)
		up.GetNodeUp().Boot = 2
		r.do(up)
		task := r.task("p.f")
		r.do(submit(task))
		r.is(fsm.Status_PENDING, fsm.Key(task.Key))
		r.beat(1)
		synctest.Wait()
		r.is(fsm.Status_STARTED, fsm.Key(task.Key))
	})
}

// TestLostSuspects: a suspected node is given up only on proof.
func TestLostSuspects(t *testing.T) {
	for name, c := range map[string]struct {
		boot uint64
		err  error
		want bool
	}{
		"it answers":            {1, nil, false},
		"nobody answers":        {0, errors.New("timeout"), false},
		"no process":            {0, ErrDead, true},
		"a later start answers": {2, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, Config{}, []uint32{1, 1}, func(t *testing.T, r *reign) {
				tasks := []*fsm.New{r.task("p.f"), r.task("p.f")}
				r.do(submit(tasks...))
				r.cluster.probe = func(id string) (uint64, error) {
					time.Sleep(time.Second)
					if id == "id2" {
						return c.boot, c.err
					}
					return 1, nil
				}
				before := r.cluster.probed()
				for range 5 {
					r.Suspect("id2")
				}
				r.Suspect("nobody")
				synctest.Wait()
				if got := r.cluster.probed() - before; got != 1 {
					t.Errorf("%d probes at once, want one", got)
				}
				time.Sleep(probeTimeout + time.Second) // all probes are over
				synctest.Wait()
				if got := r.state.Node(2).Down; got != c.want {
					t.Errorf("down: %v, want %v", got, c.want)
				}
				if got := r.state.Counts().Tasks[fsm.Status_PENDING] > 0; got != c.want {
					t.Errorf("its task waits for a node again: %v, want %v", got, c.want)
				}
			})
		})
	}
}

// TestLostWhileEnding: a process that is just ending breaks its connections before its
// port is closed: the leader asks until it knows.
func TestLostWhileEnding(t *testing.T) {
	serve(t, Config{}, []uint32{1, 1}, func(t *testing.T, r *reign) {
		start := time.Now()
		r.cluster.probe = func(string) (uint64, error) {
			if time.Since(start) < 200*time.Millisecond {
				return 0, errors.New("connection reset by peer")
			}
			return 0, ErrDead
		}
		r.Suspect("id2")
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		if !r.state.Node(2).Down {
			t.Error("it is not given up yet")
		}
	})
}

// TestLostUnderTheLeaderBefore: a new leader looks after every node at once, so that one
// that died with the old leader's term is not waited for.
func TestLostUnderTheLeaderBefore(t *testing.T) {
	serve(t, Config{}, []uint32{1, 1}, func(t *testing.T, r *reign) {
		tasks := []*fsm.New{r.task("p.f"), r.task("p.f")}
		r.do(submit(tasks...))
		r.end()
		r.cluster.probe = func(id string) (uint64, error) {
			if id == "id2" {
				return 0, ErrDead
			}
			return 1, nil
		}
		r.lead()
		if !r.state.Node(2).Down || r.state.Node(1).Down {
			t.Errorf("down: %v and %v, want node 2 alone", r.state.Node(1).Down, r.state.Node(2).Down)
		}
	})
}

// TestLostNameTaken: a newcomer whose name belongs to a dead node gets it once that is
// found out.
func TestLostNameTaken(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		r.cluster.probe = func(string) (uint64, error) { return 0, ErrDead }
		up := nodeUp(9, 1)
		up.GetNodeUp().Name = "n1"
		if got := r.do(up)[0].Code; got != fsm.Code_NAME_TAKEN {
			t.Errorf("got %v, want NAME_TAKEN", got)
		}
		if got := r.do(up)[0]; got.Code != fsm.Code_OK || got.Node != 2 {
			t.Errorf("the second time: got %v, want it to be node 2", got)
		}
	})
}

// TestLostAndBack: a node that registers again has a full lease from then on, however
// long it was away.
func TestLostAndBack(t *testing.T) {
	const lease = 10 * time.Second
	for name, c := range map[string]struct {
		away time.Duration
		boot uint64
	}{
		"the same start, given up": {time.Minute, 1},
		"a new start, given up":    {time.Minute, 2},
		"a new start in time":      {lease - time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, Config{Lease: lease}, []uint32{1, 1}, func(t *testing.T, r *reign) {
				r.beatFor(c.away, 1)
				up := nodeUp(2, 1)
				up.GetNodeUp().Boot = c.boot
				r.do(up)
				r.beatFor(lease-time.Second, 1)
				if r.state.Node(2).Down {
					t.Error("it was given up again before its lease was over")
				}
				r.beatFor(5*time.Second, 1)
				if !r.state.Node(2).Down {
					t.Error("it was silent for a lease and not given up")
				}
			})
		})
	}
}

// TestWorkers: what the leader knows of its nodes.
func TestWorkers(t *testing.T) {
	serve(t, Config{}, []uint32{3, 5}, func(t *testing.T, r *reign) {
		r.cluster.pressure["id2"] = 99
		r.apply(&fsm.Command{Kind: &fsm.Command_NodeDrain{NodeDrain: &fsm.NodeDrain{Place: &fsm.Place{Node: 1, Boot: 1}, Draining: true}}})
		ws := r.Workers()
		if len(ws) != 2 || ws[0].Alive || !ws[1].Alive || ws[0].Slots != 3 || ws[1].Slots != 5 || ws[1].Pressure != 99 || !ws[1].Packs["q"] || ws[1].Packs["x"] {
			t.Errorf("got %+v, want a draining node of 3 slots and a living one of 5 with packs p and q", ws)
		}
		for _, h := range []*fsm.Place{nil, {Node: 1, Boot: 2}, {Node: 7, Boot: 1}} {
			if err := r.Heartbeat(&fsm.Heartbeat{Place: h}); !errors.Is(err, fsm.ErrStale) {
				t.Errorf("heartbeat from %v: got %v, want %v", h, err, fsm.ErrStale)
			}
		}
	})
}
