package node

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/fsm"
	"pytasks/taskpacks"
)

// reporter is a fake of the queue: it takes outcomes down, and answers as the test says.
type reporter struct {
	answer func(ctx context.Context) error // nil = committed

	mu       sync.Mutex
	finished []*fsm.Finish  // guarded by mu
	released []*fsm.Release // guarded by mu
}

func (r *reporter) Finish(ctx context.Context, f *fsm.Finish) error {
	r.mu.Lock()
	r.finished = append(r.finished, f)
	r.mu.Unlock()
	return r.told(ctx)
}

func (r *reporter) Release(ctx context.Context, rel *fsm.Release) error {
	r.mu.Lock()
	r.released = append(r.released, rel)
	r.mu.Unlock()
	return r.told(ctx)
}

func (r *reporter) told(ctx context.Context) error {
	if r.answer == nil {
		return nil
	}
	return r.answer(ctx)
}

// stage is an executor in a bubble of its own time, with what is around it.
type stage struct {
	*executor
	rep     *reporter
	t       *testing.T
	applied atomic.Uint64
	runs    atomic.Int32     // code that is running
	most    atomic.Int32     // the most that ran at once
	starts  atomic.Int32     // code that was started
	gate    chan struct{}    // closed: what waits or is deaf ends
	causes  map[string]error // why code was cancelled, by task; guarded by mu of the reporter
	calls   []taskpacks.Call // guarded by mu of the reporter
}

// here is where the executors of these tests are registered.
var here = &fsm.Place{Node: 7, Boot: 3}

// play runs a test on an executor in a bubble; what is left running at its end is told
// to end.
func play(t *testing.T, slots int, story func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, rep: &reporter{}, gate: make(chan struct{}), causes: map[string]error{}}
		run := func(name string, f taskpacks.Run) taskpacks.Func {
			return taskpacks.NewFunc(taskpacks.Spec{Name: "p." + name}, func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
				s.starts.Add(1)
				n := s.runs.Add(1)
				defer s.runs.Add(-1)
				s.most.Store(max(s.most.Load(), n))
				return f(ctx, args)
			})
		}
		funcs, err := taskpacks.NewRegistry(taskpacks.Pack{Name: "p", Funcs: []taskpacks.Func{
			run("echo", func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
				call, _ := taskpacks.CallFrom(ctx)
				s.rep.locked(func() { s.calls = append(s.calls, call) })
				return args, nil
			}),
			run("waits", s.waits),
			run("deaf", func(context.Context, json.RawMessage) (json.RawMessage, error) {
				<-s.gate
				return json.RawMessage("1"), nil
			}),
			run("fails", func(context.Context, json.RawMessage) (json.RawMessage, error) {
				return nil, errors.New(strings.Repeat("no ", 4000))
			}),
			run("gives up", func(context.Context, json.RawMessage) (json.RawMessage, error) {
				return nil, taskpacks.Permanent(errors.New("never"))
			}),
			run("panics", func(context.Context, json.RawMessage) (json.RawMessage, error) { panic("oops") }),
			run("large", func(context.Context, json.RawMessage) (json.RawMessage, error) {
				return json.RawMessage(`"` + strings.Repeat("x", maxResult) + `"`), nil
			}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.executor = newExecutor(Config{Name: "n", Slots: slots, TaskTimeout: time.Hour}, funcs, s.rep, s.applied.Load, slog.New(slog.DiscardHandler))
		s.register(fsm.Start{Node: here.Node, Boot: here.Boot})
		story(t, s)
		s.open()
		s.executor.close(t.Context())
	})
}

func (r *reporter) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// waits ends with the gate, or when it is told to.
func (s *stage) waits(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
	call, _ := taskpacks.CallFrom(ctx)
	select {
	case <-s.gate:
		return json.RawMessage("1"), nil
	case <-ctx.Done():
		s.rep.locked(func() { s.causes[call.ID] = context.Cause(ctx) })
		return nil, context.Cause(ctx)
	}
}

// open lets everything that waits go on.
func (s *stage) open() {
	select {
	case <-s.gate:
	default:
		close(s.gate)
	}
}

// given returns the record of a task that is assigned to this node.
func given(i byte, kind string, attempt uint32) *fsm.Task {
	return &fsm.Task{Key: slices.Concat(make([]byte, 15), []byte{i}), Name: string('a' + rune(i)), Type: "p." + kind,
		Args: []byte(`{"x":1}`), Status: fsm.Status_STARTED, Attempt: attempt, Place: here}
}

// becomes shows the executor that the log moved a task on.
func (s *stage) becomes(old *fsm.Task, status fsm.Status) {
	s.change(old, &fsm.Task{Key: old.Key, Name: old.Name, Type: old.Type, Status: status, Attempt: old.Attempt, Place: old.Place})
}

func (s *stage) change(old, task *fsm.Task) {
	s.applied.Add(1)
	s.executor.observe(fsm.Changes{Index: s.applied.Load(), Tasks: []fsm.Change{{Old: old, New: task}}})
}

// assign shows the executor that the log gave it tasks, and waits until it has done
// what it can.
func (s *stage) assign(tasks ...*fsm.Task) {
	for _, task := range tasks {
		s.change(nil, task)
	}
	synctest.Wait()
}

// nudge hands over tasks that will be assigned at the next index but one.
func (s *stage) nudge(index uint64, tasks ...*fsm.Task) {
	s.offer(&fsm.Nudge{Index: index, Tasks: tasks})
	synctest.Wait()
}

// outcomes checks how many outcomes and hand-backs were reported so far.
func (s *stage) outcomes(finished, released int) {
	s.t.Helper()
	synctest.Wait()
	s.rep.locked(func() {
		if len(s.rep.finished) != finished || len(s.rep.released) != released {
			s.t.Fatalf("%d attempts were reported as finished and %d handed back, want %d and %d", len(s.rep.finished), len(s.rep.released), finished, released)
		}
	})
}

// holds checks how many slots are busy, and how many attempts are remembered.
func (s *stage) holds(busy, attempts int) {
	s.t.Helper()
	synctest.Wait()
	gotBusy, _ := s.counts()
	s.mu.Lock()
	defer s.mu.Unlock()
	if gotBusy != busy || len(s.attempts) != attempts {
		s.t.Fatalf("%d slots are busy with %d attempts held, want %d and %d", gotBusy, len(s.attempts), busy, attempts)
	}
}

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
		"panics":   {reason: fsm.ReasonPanic, errorType: "PanicError", message: "panic: oops", trace: "executor_test.go"},
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
		if want := (taskpacks.Call{ID: "c", Attempt: 5, Node: "n"}); len(s.calls) != 1 || s.calls[0] != want {
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
		if got := s.causes["b"]; !errors.Is(got, errTimeout) {
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
		if got := s.causes["b"]; !errors.Is(got, context.Canceled) {
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
		if got := s.causes["b"]; !errors.Is(got, context.Canceled) {
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

// TestExecutorReportsUntilAnswered: an attempt that the cluster has no place for is let
// go; while nobody answers it is held.
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
			s.assign(given(1, "echo", 1))
			time.Sleep(time.Hour)
			s.outcomes(1, 0)
			s.holds(0, 1)
			answer <- err
			s.holds(0, 0)
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
		s.resync([]*fsm.Task{nobodys})
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
		s.resync([]*fsm.Task{given(1, "waits", 2), given(3, "waits", 2), given(4, "waits", 1), elsewhere})
		s.holds(3, 3)
		for id, want := range map[string]bool{"b": false, "c": true, "d": true} {
			if got := s.causes[id]; errors.Is(got, context.Canceled) != want {
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
