package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/taskpacks"
)

// TestPack: what the funcs return and write down, as a node calls them.
func TestPack(t *testing.T) {
	for _, c := range []struct {
		name, fn, args string
		attempt        int
		stop           time.Duration // when the context ends; 0 = never
		result         string        // "" = an error
		end            string
		took           time.Duration
	}{
		{"works", workFunc, `{"n":4,"ms":100}`, 1, 0, "1000000019", EndOK, 100 * time.Millisecond},
		{"fails once", workFunc, `{"n":4,"fail":1}`, 1, 0, "", EndFailed, 0},
		{"not twice", workFunc, `{"n":4,"fail":1}`, 2, 0, "1000000019", EndOK, 0},
		{"fails always", workFunc, `{"n":4,"fail":-1}`, 9, 0, "", EndFailed, 0},
		{"stops", workFunc, `{"n":4,"ms":100}`, 1, time.Millisecond, "", EndStopped, time.Millisecond},
		{"does not hear", deafFunc, `{"n":4,"ms":100}`, 1, time.Millisecond, "1000000019", EndOK, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				journal := new(Memory)
				ctx := taskpacks.WithCall(t.Context(), taskpacks.Call{ID: "a", Attempt: c.attempt, Node: "n1"})
				if c.stop > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.stop)
					defer cancel()
				}
				start := time.Now()
				result, err := packFunc(t, journal, c.fn).Call(ctx, []byte(c.args))
				if string(result) != c.result || (err == nil) != (c.result != "") {
					t.Errorf("got %q, %v, want %q", result, err, c.result)
				}
				want := Entry{At: start.UnixNano(), Task: "a", Attempt: c.attempt, Node: "n1", N: 4}
				entries := []Entry{want, want}
				entries[1].At, entries[1].End = start.Add(c.took).UnixNano(), c.end
				if got := journal.Entries(); !slices.Equal(got, entries) {
					t.Errorf("got %v in the journal, want %v", got, entries)
				}
			})
		})
	}
}

// TestPackWithoutJournal: an attempt that cannot be written down does not count.
func TestPackWithoutJournal(t *testing.T) {
	for _, good := range []int{0, 1} {
		ctx := taskpacks.WithCall(t.Context(), taskpacks.Call{ID: "a", Attempt: 1, Node: "n1"})
		result, err := packFunc(t, &broken{good}, workFunc).Call(ctx, []byte(`{"n":1}`))
		if !errors.Is(err, errBroken) || !taskpacks.IsPermanent(err) {
			t.Errorf("after %d entries: got %s, %v, want a permanent error of the journal", good, result, err)
		}
	}
}

// TestResultOf: what a func returns is what the checks expect, and no number of a task.
func TestResultOf(t *testing.T) {
	seen := map[string]bool{}
	for n := range 10_000 {
		if r := ResultOf(n); seen[r] || r == fmt.Sprint(n) {
			t.Fatalf("got %s for %d, want another result for every task", r, n)
		}
		seen[ResultOf(n)] = true
	}
}

var errBroken = errors.New("no space left")

// broken is a journal that takes so many entries.
type broken struct{ good int }

func (b *broken) Write(Entry) error {
	if b.good--; b.good < 0 {
		return errBroken
	}
	return nil
}

func packFunc(t *testing.T, j Journal, name string) *taskpacks.Func {
	t.Helper()
	r, err := taskpacks.NewRegistry(Pack(j))
	if err != nil {
		t.Fatal(err)
	}
	fn, ok := r.Func(name)
	if !ok {
		t.Fatalf("no func %s", name)
	}
	return fn
}
