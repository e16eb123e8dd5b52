package fsm

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestQueueDeadline checks what a caller is told when its time is over: that
// nothing was written only where that is certain.
func TestQueueDeadline(t *testing.T) {
	const deadline = 110 * time.Millisecond // in a pause between two tries
	other := errors.New("connection reset")
	tests := []struct {
		name string
		errs []error // of the calls, the last one for all later ones; nil hangs
		want error
	}{
		{"never a leader", []error{ErrNoLeader}, ErrNoLeader},
		{"always another error", []error{other}, ErrUnknown},
		{"leader lost at last", []error{ErrNoLeader, other}, ErrUnknown},
		{"another error, then never a leader", []error{other, ErrNoLeader}, ErrUnknown},
		{"leader, error, no leader", []error{ErrNoLeader, ErrNoLeader, other, ErrNoLeader}, ErrUnknown},
		{"hangs", []error{nil}, ErrUnknown},
		{"no leader, then hangs", []error{ErrNoLeader, nil}, ErrUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			do := func(ctx context.Context, call int, _ []*Command) ([]*Outcome, error) {
				if err := tt.errs[min(call, len(tt.errs)-1)]; err != nil {
					return nil, err
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}
			inQueue(t, do, func(t *testing.T, q *Queue, l *fakeLog) {
				ctx, stop := context.WithTimeout(t.Context(), deadline)
				defer stop()
				start := time.Now()
				_, err := q.Submit(ctx, &Submit{Tasks: []*New{task(1)}})
				if err != tt.want {
					t.Errorf("Submit = %v, want %v", err, tt.want)
				}
				if took := time.Since(start); took != deadline {
					t.Errorf("it took %v, want %v", took, deadline)
				}
				calls := len(l.sizes())
				time.Sleep(10 * retryPause)
				if got := len(l.sizes()); got != calls {
					t.Errorf("%d more calls for a caller that has gone", got-calls)
				}
			})
		})
	}
}

// TestQueueDeadlineInTheLane checks that what never left was not written.
func TestQueueDeadlineInTheLane(t *testing.T) {
	stuck := func(ctx context.Context, _ int, _ []*Command) ([]*Outcome, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	inQueue(t, stuck, func(t *testing.T, q *Queue, l *fakeLog) {
		forever, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for i := range callsInFlight { // they fill the lane's calls
			callers.Go(func() {
				if _, err := q.Submit(forever, &Submit{Tasks: []*New{task(i)}}); err != ErrUnknown {
					t.Errorf("a caller that was on its way got %v, want %v", err, ErrUnknown)
				}
			})
			synctest.Wait()
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		for range 2 * cap(q.lanes[laneSubmit]) { // in the lane, and before it
			callers.Go(func() {
				if _, err := q.Cancel(ctx, "x"); err != ErrNoLeader {
					t.Errorf("a caller in the lane got %v, want %v", err, ErrNoLeader)
				}
			})
		}
		<-ctx.Done()
		synctest.Wait()
		leave()
		callers.Wait()
		if got, want := l.sizes(), []int{1, 1, 1}; !slices.Equal(got, want) {
			t.Errorf("calls carried %v commands, want %v", got, want)
		}
	})
}

// TestQueueCallersOfABatch checks that a caller's deadline is its own: the batch
// goes on for the others, without it.
func TestQueueCallersOfABatch(t *testing.T) {
	var deadlines []time.Duration
	start := time.Time{}
	do := func(ctx context.Context, call int, cmds []*Command) ([]*Outcome, error) {
		switch {
		case call == 0: // the next ones gather behind it
			time.Sleep(time.Millisecond)
			return done(cmds), nil
		case call < callsInFlight: // the others' calls hang
			<-ctx.Done()
			return nil, ctx.Err()
		}
		d, ok := ctx.Deadline()
		if !ok {
			t.Error("the call has no deadline although all its callers have one")
		}
		deadlines = append(deadlines, d.Sub(start))
		time.Sleep(100 * time.Millisecond)
		if call == callsInFlight {
			return nil, errors.New("connection reset")
		}
		return done(cmds), nil
	}
	inQueue(t, do, func(t *testing.T, q *Queue, l *fakeLog) {
		start = time.Now()
		var callers sync.WaitGroup
		caller := func(timeout, took time.Duration, want error) {
			callers.Go(func() {
				ctx, stop := context.WithTimeout(t.Context(), timeout)
				defer stop()
				if _, err := q.Cancel(ctx, "x"); err != want || time.Since(start) != took {
					t.Errorf("the caller with %v got %v after %v, want %v after %v", timeout, err, time.Since(start), want, took)
				}
			})
			synctest.Wait()
		}
		caller(time.Second, time.Millisecond, nil)
		for range callsInFlight - 1 {
			caller(time.Second, time.Second, ErrUnknown)
		}
		answered := time.Millisecond + 100*time.Millisecond + retryPause + 100*time.Millisecond
		caller(10*time.Millisecond, 10*time.Millisecond, ErrUnknown)
		caller(time.Second, answered, nil)
		caller(2*time.Second, answered, nil)
		callers.Wait()
		if got, want := l.sizes()[callsInFlight:], []int{3, 2}; !slices.Equal(got, want) {
			t.Errorf("calls carried %v commands, want %v", got, want)
		}
		if want := []time.Duration{2 * time.Second, 2 * time.Second}; !slices.Equal(deadlines, want) {
			t.Errorf("the calls' deadlines are %v, want the last caller's, %v", deadlines, want)
		}
	})
}
