package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/fsm"
)

// releases checks what was handed back, by task, and why.
func (s *stage) releases(want map[byte]string) {
	s.t.Helper()
	s.rep.locked(func() {
		if len(s.rep.released) != len(want) {
			s.t.Fatalf("%d attempts were handed back, want %d: %v", len(s.rep.released), len(want), s.rep.released)
		}
		for _, r := range s.rep.released {
			if r.Reason != want[r.Key[15]] || r.Attempt != 1 {
				s.t.Errorf("task %d: attempt %d was handed back for %q, want attempt 1 for %q", r.Key[15], r.Attempt, r.Reason, want[r.Key[15]])
			}
		}
	})
}

// TestExecutorHandsBack: what waits behind slots that do not become free goes back for
// another node to run; where slots do move it stays.
func TestExecutorHandsBack(t *testing.T) {
	play(t, 2, func(t *testing.T, s *stage) {
		s.assign(given(1, "waits", 1))
		time.Sleep(stuckAfter)
		s.handBack() // a slot is free
		s.assign(given(2, "waits", 1), given(3, "waits", 1), given(4, "waits", 1))
		time.Sleep(stuckAfter - time.Millisecond)
		s.handBack()
		s.outcomes(0, 0)
		time.Sleep(time.Millisecond)
		s.handBack()
		s.handBack()
		s.outcomes(0, 2)
		s.releases(map[byte]string{3: fsm.ReasonNotStarted, 4: fsm.ReasonNotStarted})
		for _, i := range []byte{3, 4} {
			s.becomes(given(i, "waits", 1), fsm.Status_PENDING)
		}
		s.holds(2, 2)
		s.open()
		s.outcomes(2, 2)
	})
}

// TestExecutorTakesBackWhatItHandedBack: the next attempt may come here again.
func TestExecutorTakesBackWhatItHandedBack(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		s.assign(given(1, "waits", 1), given(2, "waits", 1))
		time.Sleep(stuckAfter)
		s.handBack()
		s.outcomes(0, 1)
		s.nudge(99, given(2, "waits", 2)) // before the state shows the hand-back
		s.becomes(given(2, "waits", 1), fsm.Status_PENDING)
		s.holds(1, 2)
		s.open()
		s.outcomes(2, 1)
		for _, f := range s.rep.finished {
			if want := uint32(f.Key[15]); f.Attempt != want {
				t.Errorf("task %d: attempt %d was reported, want %d", f.Key[15], f.Attempt, want)
			}
		}
	})
}

// TestExecutorAbandon: out of the leader's reach nothing goes on; everything is handed
// back, and new work is taken afterwards.
func TestExecutorAbandon(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		s.assign(given(1, "waits", 1), given(2, "waits", 1))
		s.abandon()
		s.outcomes(0, 2)
		s.releases(map[byte]string{1: fsm.ReasonCutOff, 2: fsm.ReasonNotStarted})
		if got := s.cause("b"); !errors.Is(got, context.Canceled) {
			t.Errorf("the code was cancelled because %v, want %v", got, context.Canceled)
		}
		s.abandon() // once is enough
		s.outcomes(0, 2)
		s.register(fsm.Start{Node: here.Node, Boot: here.Boot})
		s.assign(given(3, "echo", 1))
		s.outcomes(1, 2)
	})
}

// TestExecutorDrain: what runs may finish in time, what waits goes back at once, and
// what takes too long is told to stop and goes back too.
func TestExecutorDrain(t *testing.T) {
	play(t, 2, func(t *testing.T, s *stage) {
		quick := given(1, "waits", 1)
		quick.TimeoutMs = 1000 // ends it, which is an outcome as good as any
		long, queued := given(2, "waits", 1), given(3, "echo", 1)
		s.assign(quick, long, queued)
		s.rep.answer = s.show(map[byte]*fsm.Task{1: quick, 2: long, 3: queued})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		drained := make(chan struct{})
		go func() {
			s.drain(ctx)
			close(drained)
		}()
		s.outcomes(0, 1)
		s.releases(map[byte]string{3: fsm.ReasonNotStarted})
		<-drained
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("it took %s, want the 5 s given", took)
		}
		s.outcomes(1, 2)
		s.releases(map[byte]string{2: fsm.ReasonDrain, 3: fsm.ReasonNotStarted})
		if got := s.cause("c"); !errors.Is(got, context.Canceled) {
			t.Errorf("the long one was cancelled because %v, want %v", got, context.Canceled)
		}
		s.holds(0, 0)
	})
}

// show lets the state show the end of every task that is reported.
func (s *stage) show(tasks map[byte]*fsm.Task) func(context.Context) error {
	shown := map[byte]bool{}
	return func(context.Context) error {
		var over []*fsm.Task
		s.rep.locked(func() {
			add := func(key []byte) {
				if i := key[15]; !shown[i] {
					shown[i] = true
					over = append(over, tasks[i])
				}
			}
			for _, f := range s.rep.finished {
				add(f.Key)
			}
			for _, r := range s.rep.released {
				add(r.Key)
			}
		})
		for _, task := range over {
			s.becomes(task, fsm.Status_PENDING)
		}
		return nil
	}
}

// TestExecutorDrainEndsEarly: with nothing left to do there is nothing to wait for.
func TestExecutorDrainEndsEarly(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		start := time.Now()
		s.drain(t.Context())
		task := given(1, "waits", 1)
		s.assign(task)
		time.AfterFunc(time.Second, s.open)
		s.rep.answer = s.show(map[byte]*fsm.Task{1: task})
		s.drain(t.Context())
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %s, want as long as the task, 1s", took)
		}
		s.outcomes(1, 0)
	})
}

// TestExecutorDrainWithoutLeader: when nobody takes the tasks back, the node goes.
func TestExecutorDrainWithoutLeader(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		s.rep.answer = func(ctx context.Context) error {
			<-ctx.Done()
			return fsm.ErrNoLeader
		}
		s.assign(given(1, "waits", 1), given(2, "waits", 1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		s.drain(ctx)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %s, want about 3s", took)
		}
		if got := s.cause("b"); !errors.Is(got, context.Canceled) {
			t.Errorf("the code was cancelled because %v, want %v", got, context.Canceled)
		}
		s.outcomes(0, 2)
	})
}

// TestExecutorClose: code that listens ends, code that does not is left behind after
// the time given, reports end, and nothing starts any more.
func TestExecutorClose(t *testing.T) {
	play(t, 2, func(t *testing.T, s *stage) {
		s.rep.answer = func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		s.assign(given(1, "echo", 1)) // its report hangs
		s.assign(given(2, "waits", 1), given(3, "deaf", 1), given(4, "waits", 1))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		s.executor.close(ctx)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("it took %s, want the 2 s given for the deaf one", took)
		}
		if got := s.cause("c"); !errors.Is(got, context.Canceled) {
			t.Errorf("the code was cancelled because %v, want %v", got, context.Canceled)
		}
		s.assign(given(5, "echo", 1))
		synctest.Wait()
		if got := s.starts.Load(); got != 3 {
			t.Errorf("%d were started, want 3: none after the end", got)
		}
		s.outcomes(1, 0)
	})
}
