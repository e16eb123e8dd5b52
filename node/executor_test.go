package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pytasks/fsm"
	"pytasks/taskpacks"
)

func TestExecutorRunsAtMostItsSlots(t *testing.T) {
	play(t, 3, func(t *testing.T, s *stage) {
		for i := range byte(10) {
			s.assign(given(i, "waits", 1))
		}
		if busy, queued := s.counts(); busy != 3 || queued != 7 {
			t.Errorf("%d are running and %d wait, want 3 and 7", busy, queued)
		}
		s.open()
		s.outcomes(10, 0)
		if got := s.most.Load(); got != 3 {
			t.Errorf("%d ran at once, want 3", got)
		}
	})
}

func TestExecutorOutcomes(t *testing.T) {
	for kind, want := range map[string]struct {
		result, reason, errorType, message, trace string
		permanent                                 bool
	}{
		"echo":     {result: `{"x":1}`},
		"fails":    {reason: fsm.ReasonError, errorType: "Error", message: "no no no"},
		"gives up": {reason: fsm.ReasonError, errorType: "Error", message: "never", permanent: true},
		"panics":   {reason: fsm.ReasonPanic, errorType: "PanicError", message: "panic: oops", trace: "executor_stage_test.go"},
		"large":    {reason: fsm.ReasonError, message: "larger than 1048576 bytes", permanent: true},
		"unknown":  {reason: fsm.ReasonError, message: "no func p.unknown", permanent: true},
	} {
		t.Run(kind, func(t *testing.T) {
			play(t, 1, func(t *testing.T, s *stage) {
				s.assign(given(4, kind, 2))
				s.outcomes(1, 0)
				f := s.rep.finished[0]
				if f.Key[15] != 4 || f.Attempt != 2 || f.RunUs < 1 || string(f.Result) != want.result {
					t.Errorf("got %v, want attempt 2 of the task with result %q", f, want.result)
				}
				if (f.Error != nil) != (want.reason != "") {
					t.Fatalf("got the error %v, want one: %v", f.Error, want.reason != "")
				}
				if f.Error == nil {
					return
				}
				if f.Reason != want.reason || f.Permanent != want.permanent || !strings.Contains(f.Error.Message, want.message) || !strings.Contains(f.Error.Traceback, want.trace) {
					t.Errorf("got %v, want %+v", f, want)
				}
				if want.errorType != "" && f.Error.Type != want.errorType {
					t.Errorf("got an error of type %q, want %q", f.Error.Type, want.errorType)
				}
				if len(f.Error.Message) > 9<<10 {
					t.Errorf("the message has %d bytes, want it cut off", len(f.Error.Message))
				}
			})
		})
	}
}

func TestExecutorTellsTheCodeItsCall(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		s.assign(given(2, "echo", 5))
		s.outcomes(1, 0)
		if want := (taskpacks.Call{ID: "c", Attempt: 5, Node: "n"}); len(s.calls) != 1 || describe(s.calls[0]) != describe(want) {
			t.Errorf("the code saw the call %+v, want %+v", s.calls, want)
		}
	})
}

func TestExecutorTimeout(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		start := time.Now()
		task := given(1, "waits", 1)
		task.TimeoutMs = 1500
		s.assign(task)
		time.Sleep(1499 * time.Millisecond)
		s.outcomes(0, 0)
		time.Sleep(time.Millisecond)
		s.outcomes(1, 0)
		f := s.rep.finished[0]
		if f.Reason != fsm.ReasonTimeout || f.Error.Type != "Timeout" || !strings.Contains(f.Error.Message, "1.5s") || f.Permanent || f.RunUs != time.Since(start).Microseconds() {
			t.Errorf("got %v, want a timeout of 1.5s", f)
		}
		s.becomes(task, fsm.Status_RETRY)
		s.holds(0, 0)
	})
}

// TestExecutorDefaultTimeout: a task that names no timeout has the node's.
func TestExecutorDefaultTimeout(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		s.assign(given(1, "waits", 1))
		time.Sleep(time.Hour)
		s.outcomes(1, 0)
		if got := s.cause("b"); !errors.Is(got, errTimeout) {
			t.Errorf("the code was cancelled because %v, want %v", got, errTimeout)
		}
	})
}

// TestExecutorDeafCode: an attempt whose code ignores its context fails without it;
// the slot stays taken until the code returns, and what it returns then is nobody's.
func TestExecutorDeafCode(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		deaf := given(1, "deaf", 1)
		deaf.TimeoutMs = 100
		next := given(2, "echo", 1)
		s.assign(deaf, next)
		time.Sleep(100*time.Millisecond + timeoutGrace)
		s.overrun()
		s.outcomes(0, 0)
		time.Sleep(time.Millisecond)
		s.overrun()
		s.overrun()
		s.outcomes(1, 0)
		if f := s.rep.finished[0]; f.Key[15] != 1 || f.Reason != fsm.ReasonTimeout {
			t.Errorf("got %v, want the timeout of the deaf one", f)
		}
		s.becomes(deaf, fsm.Status_FAILURE)
		s.holds(1, 1)
		s.open()
		s.outcomes(2, 0)
		if f := s.rep.finished[1]; f.Key[15] != 2 || f.Error != nil {
			t.Errorf("got %v, want the result of the next one", f)
		}
		s.becomes(next, fsm.Status_SUCCESS)
		s.holds(0, 0)
	})
}

// TestExecutorDropsOutcomes: when the log moved on without an attempt, its code is told
// so and its outcome is not reported; one that waits never starts.
func TestExecutorDropsOutcomes(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		running, waiting := given(1, "waits", 1), given(2, "waits", 1)
		s.assign(running, waiting)
		s.becomes(waiting, fsm.Status_REVOKED)
		s.becomes(running, fsm.Status_REVOKED)
		s.outcomes(0, 0)
		s.holds(0, 0)
		if got := s.cause("b"); !errors.Is(got, context.Canceled) {
			t.Errorf("the code was cancelled because %v, want %v", got, context.Canceled)
		}
		if got := s.starts.Load(); got != 1 {
			t.Errorf("%d were started, want the first alone", got)
		}
	})
}

// TestExecutorNextAttempt: a new attempt of a task that is still held takes its place.
func TestExecutorNextAttempt(t *testing.T) {
	play(t, 2, func(t *testing.T, s *stage) {
		s.assign(given(1, "waits", 1))
		s.nudge(s.applied.Load()+5, given(1, "waits", 3))
		s.nudge(s.applied.Load()+5, given(1, "waits", 2)) // came late
		s.holds(1, 1)
		if got := s.cause("b"); !errors.Is(got, context.Canceled) {
			t.Errorf("the first attempt was cancelled because %v, want %v", got, context.Canceled)
		}
		s.open()
		s.outcomes(1, 0)
		if got := s.rep.finished[0].Attempt; got != 3 {
			t.Errorf("attempt %d was reported, want 3", got)
		}
	})
}

func TestExecutorNudges(t *testing.T) {
	play(t, 4, func(t *testing.T, s *stage) {
		early := given(1, "echo", 1)
		s.nudge(1, early)
		s.outcomes(1, 0)
		s.assign(early) // the state has it now
		s.outcomes(1, 0)
		s.nudge(s.applied.Load(), early)
		s.becomes(early, fsm.Status_SUCCESS)
		s.nudge(s.applied.Load(), early) // all of it long known
		s.outcomes(1, 0)
		if got := s.starts.Load(); got != 1 {
			t.Errorf("it ran %d times, want once", got)
		}
		s.holds(0, 0)

		elsewhere, before := given(2, "echo", 1), given(3, "echo", 1)
		elsewhere.Place = &fsm.Place{Node: here.Node + 1, Boot: here.Boot}
		before.Place = &fsm.Place{Node: here.Node, Boot: here.Boot - 1}
		s.nudge(s.applied.Load()+1, elsewhere, before)
		s.assign(elsewhere, before)
		s.outcomes(1, 0)
		s.holds(0, 0)
	})
}

// TestExecutorRemembersReported: an outcome that is committed is not forgotten before
// the state shows it, or the late news of the assignment would run it again.
func TestExecutorRemembersReported(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		task := given(1, "echo", 1)
		s.nudge(9, task)
		s.outcomes(1, 0)
		s.holds(0, 1)
		s.nudge(9, task) // twice
		s.assign(task)
		s.holds(0, 1)
		s.becomes(task, fsm.Status_SUCCESS)
		s.holds(0, 0)
		if got := s.starts.Load(); got != 1 {
			t.Errorf("it ran %d times, want once", got)
		}
	})
}

// TestExecutorReportsUntilAnswered: while nobody answers an attempt is held; one that the
// cluster has no place for is held until the state shows that too, or the late news of
// its beginning would run it again.
func TestExecutorReportsUntilAnswered(t *testing.T) {
	for _, err := range []error{fsm.ErrStale, fsm.ErrNotFound} {
		play(t, 1, func(t *testing.T, s *stage) {
			answer := make(chan error)
			s.rep.answer = func(ctx context.Context) error {
				select {
				case err := <-answer:
					return err
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			task := given(1, "echo", 1)
			s.nudge(9, task)
			time.Sleep(time.Hour)
			s.outcomes(1, 0)
			s.holds(0, 1)
			answer <- err
			s.holds(0, 1)
			s.assign(task)
			s.becomes(task, fsm.Status_PENDING)
			s.holds(0, 0)
			if got := s.starts.Load(); got != 1 {
				t.Errorf("it ran %d times, want once", got)
			}
		})
	}
}

// TestExecutorBeforeRegistration: nothing is this node's before it has a number.
func TestExecutorBeforeRegistration(t *testing.T) {
	play(t, 1, func(t *testing.T, s *stage) {
		s.register(fsm.Start{})
		nobodys := given(1, "echo", 1)
		nobodys.Place = nil
		s.assign(nobodys, given(2, "echo", 1))
		s.nudge(99, nobodys, given(2, "echo", 1))
		s.resync(s.applied.Load(), []*fsm.Task{nobodys})
		s.holds(0, 0)
		if got := s.starts.Load(); got != 0 {
			t.Errorf("%d were started, want none", got)
		}
	})
}

func TestExecutorResync(t *testing.T) {
	play(t, 4, func(t *testing.T, s *stage) {
		kept, gone, older := given(1, "waits", 2), given(2, "waits", 1), given(3, "waits", 1)
		s.assign(kept, gone, older)
		elsewhere := given(5, "waits", 1)
		elsewhere.Place = &fsm.Place{Node: here.Node + 1, Boot: 1}
		s.resync(s.applied.Load(), []*fsm.Task{given(1, "waits", 2), given(3, "waits", 2), given(4, "waits", 1), elsewhere})
		s.holds(3, 3)
		for id, want := range map[string]bool{"b": false, "c": true, "d": true} {
			if got := s.cause(id); errors.Is(got, context.Canceled) != want {
				t.Errorf("task %s was cancelled because %v, want it superseded: %v", id, got, want)
			}
		}
		s.open()
		s.outcomes(3, 0)
		for _, f := range s.rep.finished {
			if want := map[byte]uint32{1: 2, 3: 2, 4: 1}[f.Key[15]]; f.Attempt != want {
				t.Errorf("task %d: attempt %d was reported, want %d", f.Key[15], f.Attempt, want)
			}
		}
	})
}

// TestExecutorStartsNothingOld: where the log is behind the leader's, what it shows as
// assigned may be over; it is not started before the log has come to where the leader
// was. What the leader itself tells of is.
func TestExecutorStartsNothingOld(t *testing.T) {
	play(t, 4, func(t *testing.T, s *stage) {
		over, still, told := given(1, "echo", 1), given(2, "echo", 1), given(3, "echo", 1)
		s.hear(4)
		s.assign(over, still)
		s.nudge(9, told)
		s.outcomes(1, 0)
		if got := s.rep.finished[0].Key[15]; got != 3 {
			t.Errorf("task %d ran, want the one that the leader told of", got)
		}
		s.becomes(over, fsm.Status_PENDING)
		s.outcomes(1, 0)
		s.becomes(told, fsm.Status_SUCCESS) // index 4
		s.outcomes(2, 0)
		if got := s.rep.finished[1].Key[15]; got != 2 {
			t.Errorf("task %d ran, want the one that is still assigned", got)
		}
	})
}

// TestExecutorStartsNothingCutOff: a node that no leader has answered for long starts
// nothing, whoever told of it, until one does.
func TestExecutorStartsNothingCutOff(t *testing.T) {
	play(t, 4, func(t *testing.T, s *stage) {
		time.Sleep(selfFence + time.Second)
		task := given(1, "echo", 1)
		s.nudge(9, task)
		s.assign(given(2, "echo", 1))
		s.outcomes(0, 0)
		s.hear(1)
		s.outcomes(2, 0)
	})
}

// TestExecutorResyncBehindNudge: a snapshot that is older than what the leader has told of
// ends nothing of that, or the log would begin it anew.
func TestExecutorResyncBehindNudge(t *testing.T) {
	play(t, 4, func(t *testing.T, s *stage) {
		task := given(1, "echo", 1)
		s.nudge(9, task)
		s.outcomes(1, 0)
		s.resync(5, nil)
		s.holds(0, 1)
		s.assign(task)
		s.outcomes(1, 0)
		s.resync(9, nil)
		s.holds(0, 0)
	})
}

// describe is what identifies a call.
func describe(c taskpacks.Call) string { return fmt.Sprint(c.ID, c.Attempt, c.Node) }
