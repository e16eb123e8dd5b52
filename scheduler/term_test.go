package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/fsm"
)

// reign is a leader at work in a bubble of its own time.
type reign struct {
	*desk
	depose context.CancelFunc
	ended  chan struct{}
}

// serve lets a leader work while the story lasts. Its nodes live: they send heartbeats
// until the story stops them.
func serve(t *testing.T, cfg Config, slots []uint32, story func(t *testing.T, r *reign)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &reign{desk: newDesk(t, cfg, slots...)}
		defer r.close()
		r.lead()
		defer func() { r.end() }()
		story(t, r)
	})
}

// lead begins a time of leading.
func (r *reign) lead() {
	ctx, cancel := context.WithCancel(r.t.Context())
	r.depose, r.ended = cancel, make(chan struct{})
	ended := r.ended
	go func() {
		_ = r.Lead(ctx, 1)
		close(ended)
	}()
	synctest.Wait()
	for _, n := range r.state.Nodes() {
		if !n.Down {
			r.beat(n.Number)
		}
	}
	synctest.Wait()
}

// end ends it and waits for that.
func (r *reign) end() {
	r.depose()
	<-r.ended
}

// do brings commands through the leader, which must take them.
func (r *reign) do(cmds ...*fsm.Command) []*fsm.Outcome {
	r.t.Helper()
	outs, err := r.Do(r.t.Context(), cmds)
	if err != nil {
		r.t.Fatalf("Do: %v", err)
	}
	synctest.Wait()
	return outs
}

// beatFor lets nodes live for some time.
func (r *reign) beatFor(d time.Duration, nodes ...uint32) {
	for range d / time.Second {
		for _, n := range nodes {
			r.beat(n)
		}
		time.Sleep(time.Second)
	}
	synctest.Wait()
}

func TestTermRunsTheQueue(t *testing.T) {
	serve(t, Config{}, []uint32{1, 1}, func(t *testing.T, r *reign) {
		first, second, third := r.task("p.f"), r.task("p.f"), r.task("p.f")
		outs := r.do(submit(first), submit(second, third))
		if len(outs) != 2 || len(outs[0].Ids) != 1 || len(outs[1].Ids) != 2 || outs[0].Status != fsm.Status_STARTED {
			t.Errorf("got %v, want the ids of 1 and 2 tasks", outs)
		}
		r.is(fsm.Status_PENDING, keysOf(third)...)
		r.do(finish(fsm.Key(second.Key), 1, time.Second))
		r.is(fsm.Status_SUCCESS, keysOf(second)...)
		r.is(fsm.Status_STARTED, keysOf(first, third)...) // the free slot is used at once
		if stale := r.do(finish(fsm.Key(second.Key), 1, time.Second))[0].Code; stale != fsm.Code_STALE {
			t.Errorf("a second outcome: got %v, want STALE", stale)
		}
	})
}

// TestTermFollower: what does not lead takes nothing.
func TestTermFollower(t *testing.T) {
	d := newDesk(t, Config{}, 1)
	defer d.close()
	if _, err := d.Do(t.Context(), []*fsm.Command{submit(d.task("p.f"))}); !errors.Is(err, fsm.ErrNoLeader) {
		t.Errorf("Do: got %v, want %v", err, fsm.ErrNoLeader)
	}
	if err := d.Heartbeat(&fsm.Heartbeat{Place: &fsm.Place{Node: 1, Boot: 1}}); !errors.Is(err, fsm.ErrNoLeader) {
		t.Errorf("Heartbeat: got %v, want %v", err, fsm.ErrNoLeader)
	}
	if got := d.Workers(); got != nil {
		t.Errorf("Workers: got %v, want none", got)
	}
	d.Suspect("id1")
}

// TestTermEndAnswersEveryone: when the term ends, those on their way learn what became
// of them, and the others that nothing was written.
func TestTermEndAnswersEveryone(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		stuck := make(chan error)
		r.cluster.propose = func(ctx context.Context) error {
			select {
			case err := <-stuck:
				return err
			case <-ctx.Done():
				return fsm.ErrUnknown
			}
		}
		const callers = 3 * fewInFlight
		var mu sync.Mutex
		got := map[error]int{}
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				mu.Lock()
				cmd := submit(r.task("p.f"))
				mu.Unlock()
				_, err := r.Do(t.Context(), []*fsm.Command{cmd})
				mu.Lock()
				defer mu.Unlock()
				got[err]++
			})
			synctest.Wait() // one entry for each, as far as there is room
		}
		r.end()
		wg.Wait()
		if got[fsm.ErrUnknown] != fewInFlight || got[fsm.ErrNoLeader] != callers-fewInFlight {
			t.Errorf("got %v, want %d unknown, as they were in flight, and the rest without leader", got, fewInFlight)
		}
		r.lead()
		r.cluster.propose = nil
		r.do(submit(r.task("p.f")))
	})
}

// TestTermRoom: small entries wait for one of the few in flight; where much has gathered,
// more are on their way at once, but never more than entriesInFlight.
func TestTermRoom(t *testing.T) {
	for name, tt := range map[string]struct{ tasks, want int }{
		"small": {1, fewInFlight},
		"large": {muchGathered, entriesInFlight},
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
				gate := make(chan struct{})
				inFlight := 0
				var mu sync.Mutex
				r.cluster.propose = func(context.Context) error {
					mu.Lock()
					inFlight++
					mu.Unlock()
					<-gate
					return nil
				}
				var wg sync.WaitGroup
				for range 2 * entriesInFlight {
					var tasks []*fsm.New
					for range tt.tasks {
						tasks = append(tasks, r.task("p.f"))
					}
					wg.Go(func() {
						if _, err := r.Do(t.Context(), []*fsm.Command{submit(tasks...)}); err != nil {
							t.Errorf("Do: %v", err)
						}
					})
					synctest.Wait()
				}
				mu.Lock()
				got := inFlight
				mu.Unlock()
				if got != tt.want {
					t.Errorf("%d entries are in flight, want %d", got, tt.want)
				}
				close(gate)
				wg.Wait()
			})
		})
	}
}

// TestTermLargeRequests: however many large calls wait, an entry takes only what goes
// into one, and the last of them.
func TestTermLargeRequests(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		gate := make(chan struct{})
		r.cluster.propose = func(context.Context) error { <-gate; return nil }
		const callers = 8
		var wg sync.WaitGroup
		for i := range fewInFlight + callers {
			task := r.task("p.f")
			if i >= fewInFlight { // the first go at once, and the others gather behind them
				task.Args = fmt.Appendf(nil, `{"x":"%s"}`, strings.Repeat("x", maxEntryBytes*3/4))
			}
			wg.Go(func() {
				if _, err := r.Do(t.Context(), []*fsm.Command{submit(task)}); err != nil {
					t.Errorf("Do: %v", err)
				}
			})
			synctest.Wait()
		}
		close(gate)
		wg.Wait()
		r.cluster.mu.Lock()
		defer r.cluster.mu.Unlock()
		for i, e := range r.cluster.entries {
			if n := e.SizeVT(); n > 2*maxEntryBytes {
				t.Errorf("entry %d has %d bytes, %d at most", i, n, 2*maxEntryBytes)
			}
		}
	})
}

// TestTermPassesOnErrors: a failed entry is an error for those in it, and its tasks and
// slots are free for the next one.
func TestTermPassesOnErrors(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		for _, want := range []error{fsm.ErrNoLeader, fsm.ErrUnknown} {
			r.cluster.propose = func(context.Context) error { return want }
			if _, err := r.Do(t.Context(), []*fsm.Command{submit(r.task("p.f"))}); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		}
		r.cluster.propose = nil
		task := r.task("p.f")
		r.do(submit(task))
		r.is(fsm.Status_STARTED, keysOf(task)...)
	})
}

// TestTermCallerGivesUp: a caller whose time is up before an entry took its commands
// knows that nothing was written; after that, nobody knows.
func TestTermCallerGivesUp(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		release := make(chan struct{})
		r.cluster.propose = func(context.Context) error { <-release; return nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Do(ctx, []*fsm.Command{submit(r.task("p.f"))}); !errors.Is(err, fsm.ErrUnknown) {
			t.Errorf("got %v, want %v", err, fsm.ErrUnknown)
		}
		close(release)
		synctest.Wait()
		if _, err := r.Do(ctx, []*fsm.Command{submit(r.task("p.f"))}); !errors.Is(err, fsm.ErrNoLeader) && !errors.Is(err, fsm.ErrUnknown) {
			t.Errorf("with a time that is up: got %v, want an error", err)
		}
	})
}

// TestTermOutcomesGoFirst: outcomes do not wait behind new work.
func TestTermOutcomesGoFirst(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		running := r.task("p.f")
		r.do(submit(running))
		gate := make(chan struct{})
		r.cluster.propose = func(context.Context) error { <-gate; return nil }
		var wg sync.WaitGroup
		call := func(cmd *fsm.Command) {
			wg.Go(func() {
				if _, err := r.Do(t.Context(), []*fsm.Command{cmd}); err != nil {
					t.Errorf("Do: %v", err)
				}
			})
			synctest.Wait()
		}
		for range fewInFlight + 1 { // the last one waits for room
			call(submit(r.task("p.f")))
		}
		call(submit(r.task("q.f")))
		call(submit(r.task("q.f")))
		call(finish(fsm.Key(running.Key), 1, time.Second))
		close(gate)
		wg.Wait()
		var order []string
		for _, c := range r.cluster.commands() {
			switch {
			case c.GetFinish() != nil:
				order = append(order, "outcome")
			case c.GetSubmit() != nil && c.GetSubmit().Tasks[0].Type == "q.f":
				order = append(order, "new")
			}
		}
		if want := []string{"outcome", "new", "new"}; !slices.Equal(order, want) {
			t.Errorf("written in the order %v, want %v", order, want)
		}
	})
}

// TestTermTimers: a delayed task starts at its time, once, with one tick; also under a
// leader that comes later.
func TestTermTimers(t *testing.T) {
	serve(t, Config{}, []uint32{4}, func(t *testing.T, r *reign) {
		tasks := []*fsm.New{r.task("p.f", delayed(10*time.Second)), r.task("p.f", delayed(10*time.Second)), r.task("p.f", delayed(20*time.Second))}
		r.do(submit(tasks...))
		r.beatFor(9*time.Second, 1)
		r.is(fsm.Status_SCHEDULED, keysOf(tasks...)...)
		r.beatFor(time.Second, 1)
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		r.is(fsm.Status_STARTED, keysOf(tasks[:2]...)...)
		if got := r.cluster.count(isTick); got != 1 {
			t.Errorf("%d ticks, want one for both", got)
		}
		r.end()
		time.Sleep(30 * time.Second)
		r.is(fsm.Status_SCHEDULED, keysOf(tasks[2])...)
		r.lead()
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		r.is(fsm.Status_STARTED, keysOf(tasks[2])...)
		if got := r.cluster.count(isTick); got != 2 {
			t.Errorf("%d ticks, want two", got)
		}
		for _, k := range keysOf(tasks...) {
			if got := r.record(k).Attempt; got != 1 {
				t.Errorf("task %d is in attempt %d, want the first", k[15], got)
			}
		}
	})
}

// TestTermIdle: with nothing to do nothing is written.
func TestTermIdle(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		r.do(submit(r.task("p.f", delayed(time.Hour))))
		before := len(r.cluster.commands())
		r.beatFor(10*time.Minute, 1)
		if got := len(r.cluster.commands()) - before; got != 0 {
			t.Errorf("%d commands in ten idle minutes, want none", got)
		}
	})
}

func TestTermPurges(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		keep int
	}{
		"by age":   {Config{KeepFinished: time.Minute}, 0},
		"by count": {Config{MaxFinished: 3}, 3},
		"by bytes": {Config{MaxFinishedBytes: 1}, 0},
		"not yet":  {Config{}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, c.cfg, []uint32{10}, func(t *testing.T, r *reign) {
				for range 10 {
					n := r.task("p.f")
					r.do(submit(n))
					r.do(finish(fsm.Key(n.Key), 1, time.Millisecond))
				}
				r.beatFor(70*time.Second, 1)
				if got := r.state.Counts().Finished; got != c.keep {
					t.Errorf("%d finished tasks are kept, want %d", got, c.keep)
				}
				before := r.cluster.count(isPurge)
				if (before > 0) != (c.keep < 10) {
					t.Errorf("%d purges", before)
				}
				r.beatFor(time.Minute, 1)
				if got := r.cluster.count(isPurge); got != before {
					t.Errorf("%d more purges with nothing to forget", got-before)
				}
			})
		})
	}
}

// TestRefusedEntriesPause: while the log takes no entries, as during a transfer of the
// leadership, the leader tries now and then, not as fast as it can.
func TestRefusedEntriesPause(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		tries, over := 0, make(chan struct{})
		r.cluster.propose = func(context.Context) error {
			r.cluster.mu.Lock()
			defer r.cluster.mu.Unlock()
			if tries++; tries > 1000 {
				<-over // or virtual time would stand still for ever
			}
			return fsm.ErrNoLeader
		}
		r.queue(r.task("p.f"))
		time.Sleep(time.Second)
		close(over)
		r.cluster.mu.Lock()
		defer r.cluster.mu.Unlock()
		if most := fewInFlight * int(time.Second/refusedPause); tries < 2 || tries > most+fewInFlight {
			t.Errorf("%d entries were tried in a second, want 2 to %d", tries, most)
		}
	})
}
