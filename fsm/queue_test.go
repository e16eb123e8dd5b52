package fsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeLog answers calls to the leader by a function, and counts them.
type fakeLog struct {
	do func(ctx context.Context, call int, cmds []*Command) ([]*Outcome, error)

	mu    sync.Mutex
	calls []int           // guarded by mu; commands in each
	at    []time.Duration // guarded by mu; since the first
	first time.Time       // guarded by mu
}

func (l *fakeLog) Do(ctx context.Context, cmds []*Command) ([]*Outcome, error) {
	l.mu.Lock()
	call := len(l.calls)
	if call == 0 {
		l.first = time.Now()
	}
	l.calls = append(l.calls, len(cmds))
	l.at = append(l.at, time.Since(l.first))
	l.mu.Unlock()
	return l.do(ctx, call, cmds)
}

func (l *fakeLog) sizes() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// done answers every command with OK.
func done(cmds []*Command) []*Outcome {
	outs := make([]*Outcome, len(cmds))
	for i := range outs {
		outs[i] = &Outcome{}
	}
	return outs
}

// inQueue runs a test in a bubble, with a queue that works until the test ends.
func inQueue(t *testing.T, do func(ctx context.Context, call int, cmds []*Command) ([]*Outcome, error), test func(t *testing.T, q *Queue, l *fakeLog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &fakeLog{do: do}
		q := NewQueue(l, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- q.Run(ctx) }()
		test(t, q, l)
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want %v", err, context.Canceled)
		}
	})
}

// TestQueueGathers checks that a call leaves at once while few are in flight, and
// that what comes behind them travels together.
func TestQueueGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, others := make(chan struct{}), make(chan struct{})
		l := &fakeLog{do: func(_ context.Context, call int, cmds []*Command) ([]*Outcome, error) {
			switch {
			case call == 0:
				<-first
			case call < callsInFlight:
				<-others
			}
			return done(cmds), nil
		}}
		q := NewQueue(l, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		var run, callers sync.WaitGroup
		run.Go(func() { _ = q.Run(ctx) })
		for i := range callsInFlight + 100 {
			callers.Go(func() {
				if _, err := q.Submit(t.Context(), &Submit{Tasks: []*New{task(i)}}); err != nil {
					t.Errorf("Submit: %v", err)
				}
			})
			synctest.Wait()
		}
		if got, want := l.sizes(), []int{1, 1, 1}; !slices.Equal(got, want) {
			t.Errorf("in flight are calls of %v commands, want %v", got, want)
		}
		close(first)
		synctest.Wait()
		if got, want := l.sizes(), []int{1, 1, 1, 100}; !slices.Equal(got, want) {
			t.Errorf("calls carried %v commands, want %v", got, want)
		}
		close(others)
		callers.Wait()
		stop()
		run.Wait()
	})
}

// TestQueueBounds checks how much one call carries.
func TestQueueBounds(t *testing.T) {
	tests := []struct {
		name  string
		n     int
		bytes int // of each
		most  int // commands in a call
	}{
		{"count", 3 * maxCallCommands, 2, maxCallCommands},
		{"bytes", 30, maxCallBytes / 4, 4},
		{"one is too large", 5, 2 * maxCallBytes, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			do := func(ctx context.Context, _ int, cmds []*Command) ([]*Outcome, error) {
				time.Sleep(time.Millisecond) // of the bubble's clock
				return done(cmds), nil
			}
			inQueue(t, do, func(t *testing.T, q *Queue, l *fakeLog) {
				var callers sync.WaitGroup
				args := []byte(strings.Repeat("x", tt.bytes))
				for range tt.n {
					callers.Go(func() {
						if _, err := q.Submit(t.Context(), &Submit{Tasks: []*New{{Args: args}}}); err != nil {
							t.Errorf("Submit: %v", err)
						}
					})
				}
				callers.Wait()
				sizes := l.sizes()
				sum := 0
				for _, n := range sizes {
					sum += n
				}
				if most := slices.Max(sizes); most > tt.most || sum != tt.n {
					t.Errorf("calls carried %v commands, want %d at most in one, %d in all", sizes, tt.most, tt.n)
				}
			})
		})
	}
}

// TestQueueRetries checks that a call is made again after a pause, whatever it
// failed with, until it is answered in full.
func TestQueueRetries(t *testing.T) {
	tests := []struct {
		name string
		outs []*Outcome
		err  error
	}{
		{"no leader", nil, ErrNoLeader},
		{"no leader, wrapped", nil, fmt.Errorf("call alpha: %w", ErrNoLeader)},
		{"something else", nil, errors.New("connection reset")},
		{"too few outcomes", nil, nil},
		{"too many outcomes", []*Outcome{{}, {}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			do := func(_ context.Context, call int, cmds []*Command) ([]*Outcome, error) {
				if call < 3 {
					return tt.outs, tt.err
				}
				return []*Outcome{{Ids: []string{"x"}}}, nil
			}
			inQueue(t, do, func(t *testing.T, q *Queue, l *fakeLog) {
				out, err := q.Submit(t.Context(), &Submit{Tasks: []*New{task(1)}})
				if err != nil || !slices.Equal(out.Ids, []string{"x"}) {
					t.Errorf("Submit = %v, %v", out, err)
				}
				if want := []time.Duration{0, retryPause, 2 * retryPause, 3 * retryPause}; !slices.Equal(l.at, want) {
					t.Errorf("calls were made at %v, want %v", l.at, want)
				}
			})
		})
	}
}

// TestQueueLanes checks that reporting work never waits behind new work.
func TestQueueLanes(t *testing.T) {
	do := func(ctx context.Context, _ int, cmds []*Command) ([]*Outcome, error) {
		switch cmds[0].Kind.(type) {
		case *Command_Submit, *Command_Cancel:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		out := done(cmds)
		out[0].Node = 7
		return out, nil
	}
	inQueue(t, do, func(t *testing.T, q *Queue, _ *fakeLog) {
		ctx, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for range 2 * maxCallCommands {
			callers.Go(func() { _, _ = q.Submit(ctx, &Submit{}) })
		}
		synctest.Wait()
		for name, report := range map[string]func() error{
			"Finish":    func() error { return q.Finish(t.Context(), &Finish{}) },
			"Release":   func() error { return q.Release(t.Context(), &Release{}) },
			"NodeDown":  func() error { return q.NodeDown(t.Context(), &NodeDown{}) },
			"NodeDrain": func() error { return q.NodeDrain(t.Context(), &NodeDrain{}) },
			"NodeUp": func() error {
				n, err := q.NodeUp(t.Context(), &NodeUp{})
				if n != 7 {
					t.Errorf("NodeUp gave number %d, want 7", n)
				}
				return err
			},
		} {
			start := time.Now()
			if err := report(); err != nil || time.Since(start) != 0 {
				t.Errorf("%s = %v after %v", name, err, time.Since(start))
			}
		}
		leave()
		callers.Wait()
	})
}

// TestQueueCodes checks the error of every code.
func TestQueueCodes(t *testing.T) {
	want := map[Code]*Error{
		Code_STALE: ErrStale, Code_NOT_FOUND: ErrNotFound, Code_FINISHED: ErrFinished, Code_ID_TAKEN: ErrIDTaken,
		Code_KEY_REUSED: ErrKeyReused, Code_QUEUE_FULL: ErrQueueFull, Code_DISK_FULL: ErrDiskFull, Code_NAME_TAKEN: ErrNameTaken, Code_MISFIT: ErrMisfit,
		Code_PACK_BUSY: ErrPackBusy, Code_NO_PACK: ErrNoPack, Code_LAST_ADMIN: ErrLastAdmin, Code_CONFLICT: ErrConflict, Code_LAST_NODE: ErrLastNode,
		99: ErrMisfit,
	}
	for number := range Code_name {
		code := Code(number)
		if code != Code_OK && want[code] == nil {
			t.Errorf("%v has no error in this test", code)
		}
	}
	for code, wantErr := range want {
		do := func(_ context.Context, _ int, cmds []*Command) ([]*Outcome, error) {
			return []*Outcome{{Code: code, Status: Status_SUCCESS}}, nil
		}
		inQueue(t, do, func(t *testing.T, q *Queue, l *fakeLog) {
			out, err := q.Cancel(t.Context(), "x")
			if !errors.Is(err, wantErr) || out.GetStatus() != Status_SUCCESS {
				t.Errorf("Cancel that gave %v = %v, %v; want %v", code, out, err, wantErr)
			}
			if err := q.Finish(t.Context(), &Finish{}); !errors.Is(err, wantErr) {
				t.Errorf("Finish that gave %v = %v; want %v", code, err, wantErr)
			}
			if got := len(l.sizes()); got != 2 {
				t.Errorf("%d calls, want 2: a refusal is an answer", got)
			}
		})
	}
	if wire := (&Error{code: "stale"}); !errors.Is(wire, ErrStale) || errors.Is(wire, ErrFinished) || errors.Is(errors.New("stale"), ErrStale) {
		t.Error("errors do not match by their code")
	}
}

// TestQueueEnds checks what callers are told when the queue stops.
func TestQueueEnds(t *testing.T) {
	for name, tt := range map[string]struct{ err, want error }{
		"written perhaps": {errors.New("connection reset"), ErrUnknown},
		"not written":     {ErrNoLeader, ErrNoLeader},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &fakeLog{do: func(context.Context, int, []*Command) ([]*Outcome, error) { return nil, tt.err }}
				q := NewQueue(l, slog.New(slog.DiscardHandler))
				ctx, stop := context.WithCancel(t.Context())
				var run sync.WaitGroup
				run.Go(func() { _ = q.Run(ctx) })
				got := make(chan error)
				go func() {
					_, err := q.Submit(t.Context(), &Submit{})
					got <- err
				}()
				synctest.Wait()
				stop()
				if err := <-got; err != tt.want {
					t.Errorf("Submit = %v, want %v", err, tt.want)
				}
				run.Wait()
				late, cancelLate := context.WithTimeout(t.Context(), time.Second)
				defer cancelLate()
				if _, err := q.Submit(late, &Submit{}); err != ErrNoLeader {
					t.Errorf("Submit to a queue that has ended = %v, want %v", err, ErrNoLeader)
				}
			})
		})
	}
}

// TestQueueCountsBytes checks that all that may be large counts for what a call carries.
func TestQueueCountsBytes(t *testing.T) {
	large := make([]byte, maxCallBytes/2)
	for name, send := range map[string]func(ctx context.Context, q *Queue) error{
		"result":   func(ctx context.Context, q *Queue) error { return q.Finish(ctx, &Finish{Result: large}) },
		"log":      func(ctx context.Context, q *Queue) error { return q.Finish(ctx, &Finish{Log: large}) },
		"packs":    func(ctx context.Context, q *Queue) error { return q.NodePacks(ctx, &NodePacks{Packs: large}) },
		"a pack's": func(ctx context.Context, q *Queue) error { return q.PackPut(ctx, &PackPut{Info: large}) },
		"rights": func(ctx context.Context, q *Queue) error {
			return q.UserPut(ctx, &UserPut{Scopes: []string{string(large)}})
		},
		"keys": func(ctx context.Context, q *Queue) error {
			return q.KeysPut(ctx, &KeysPut{Keys: []*SigningKey{{Sealed: large}}})
		},
		"secret": func(ctx context.Context, q *Queue) error {
			return q.SecretPut(ctx, &SecretPut{Rotation: &Rotation{Sealed: large}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			do := func(ctx context.Context, _ int, cmds []*Command) ([]*Outcome, error) {
				time.Sleep(time.Millisecond) // of the bubble's clock
				return done(cmds), nil
			}
			inQueue(t, do, func(t *testing.T, q *Queue, l *fakeLog) {
				var callers sync.WaitGroup
				for range 4 * callsInFlight {
					callers.Go(func() {
						if err := send(t.Context(), q); err != nil {
							t.Error(err)
						}
					})
				}
				callers.Wait()
				if most := slices.Max(l.sizes()); most > 2 {
					t.Errorf("a call carried %d commands, want 2 at most", most)
				}
			})
		})
	}
}

// TestQueuePackRemove checks that a removal by force goes on until no task is left, and
// after its first step touches only what that marked.
func TestQueuePackRemove(t *testing.T) {
	for name, last := range map[string]*Outcome{"ends": {}, "is ended by the leader": {Code: Code_NOT_FOUND}} {
		t.Run(name, func(t *testing.T) {
			var sent []*PackRemove
			do := func(_ context.Context, call int, cmds []*Command) ([]*Outcome, error) {
				sent = append(sent, cmds[0].GetPackRemove())
				return []*Outcome{[]*Outcome{{Count: 1500}, {Count: 500}, last}[call]}, nil
			}
			inQueue(t, do, func(t *testing.T, q *Queue, _ *fakeLog) {
				out, err := q.PackRemove(t.Context(), &PackRemove{Name: "p", Release: "1", Force: true})
				if err != nil || out.Count != 0 || len(sent) != 3 {
					t.Fatalf("PackRemove = %v, %v after %d calls, want 3", out, err, len(sent))
				}
			})
			for i, c := range sent {
				if c.Name != "p" || c.Release != "1" || !c.Force || c.Limit != RemoveLimit || c.Resume != (i > 0) {
					t.Errorf("call %d sent %v", i, c)
				}
			}
		})
	}
	refuse := func(code Code) {
		do := func(context.Context, int, []*Command) ([]*Outcome, error) {
			return []*Outcome{{Code: code, Count: 7}}, nil
		}
		inQueue(t, do, func(t *testing.T, q *Queue, l *fakeLog) {
			out, err := q.PackRemove(t.Context(), &PackRemove{Name: "p"})
			if !errors.Is(err, code.Err()) || out.GetCount() != 7 || len(l.sizes()) != 1 {
				t.Errorf("PackRemove that gave %v = %v, %v after %d calls", code, out, err, len(l.sizes()))
			}
		})
	}
	refuse(Code_PACK_BUSY)
	refuse(Code_NOT_FOUND)
}
