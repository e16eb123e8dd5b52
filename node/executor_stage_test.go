package node

import (
	"context"
	"crypto/sha256"
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
	"pytasks/node/config"
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
	runs    atomic.Int32      // code that is running
	most    atomic.Int32      // the most that ran at once
	starts  atomic.Int32      // code that was started
	gate    chan struct{}     // closed: what waits or is deaf ends
	blobs   map[string]string // by digest; guarded by mu of the reporter
	full    error             // why nothing can be stored; guarded by mu of the reporter
	causes  map[string]error  // why code was cancelled, by task; guarded by mu of the reporter
	calls   []taskpacks.Call  // guarded by mu of the reporter
}

// stageResult is the largest result that these executors take.
const stageResult = 1 << 20

// here is where the executors of these tests are registered.
var here = &fsm.Place{Node: 7, Boot: 3}

// play runs a test on an executor in a bubble; what is left running at its end is told
// to end.
func play(t *testing.T, slots int, story func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, rep: &reporter{}, gate: make(chan struct{}), causes: map[string]error{}, blobs: map[string]string{}}
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
				return json.RawMessage(`"` + strings.Repeat("x", stageResult) + `"`), nil
			}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.executor = newExecutor(config.Config{Name: "n", Slots: slots, TaskTimeout: time.Hour, MaxResult: stageResult}, compiled{funcs}, s, s.rep, s.applied.Load, slog.New(slog.DiscardHandler))
		s.register(fsm.Start{Node: here.Node, Boot: here.Boot})
		s.hear(0)
		story(t, s)
		s.open()
		s.executor.close(t.Context())
	})
}

// load and keep are those of other nodes and of this one's disk.
func (s *stage) load(ctx context.Context, b *fsm.Blob) (content []byte, err error) {
	s.rep.locked(func() {
		text, ok := s.blobs[string(b.Digest)]
		if content = []byte(text); !ok {
			err = fsm.ErrNoBlob
		}
	})
	return content, err
}

func (s *stage) keep(content []byte) (*fsm.Blob, error) {
	d := sha256.Sum256(content)
	var err error
	s.rep.locked(func() {
		s.blobs[string(d[:])] = string(content)
		err = s.full
	})
	return &fsm.Blob{Digest: d[:], Size: int64(len(content))}, err
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

// cause returns why a task's code was told to stop, nil if it was not.
func (s *stage) cause(id string) (err error) {
	synctest.Wait()
	s.rep.locked(func() { err = s.causes[id] })
	return err
}

// compiled is funcs that this program has compiled in.
type compiled struct{ *taskpacks.Registry }

func (c compiled) Func(kind, _ string) (*taskpacks.Func, error) {
	if f, ok := c.Registry.Func(kind); ok {
		return f, nil
	}
	return nil, taskpacks.Permanent(errors.New("no func " + kind))
}
