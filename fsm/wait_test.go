package fsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestWaitApplied waits for an index that is there, comes later, or never comes.
func TestWaitApplied(t *testing.T) {
	m := newMachine(t)
	m.ok(submit(task(1)))
	if err := m.WaitApplied(t.Context(), 1); err != nil {
		t.Errorf("WaitApplied of what is applied: %v", err)
	}
	cause := errors.New("enough")
	ctx, cancelCtx := context.WithCancelCause(t.Context())
	cancelCtx(cause)
	if err := m.WaitApplied(ctx, 9); !errors.Is(err, cause) {
		t.Errorf("WaitApplied of what never comes: %v, want %v", err, cause)
	}
	var wg sync.WaitGroup
	for want := uint64(2); want <= 20; want++ {
		wg.Go(func() {
			if err := m.WaitApplied(t.Context(), want); err != nil || m.Applied() < want {
				t.Errorf("WaitApplied(%d) = %v at index %d", want, err, m.Applied())
			}
		})
	}
	for range 19 {
		m.ok(tick(1))
	}
	wg.Wait()
}

// TestWaitAppliedBySnapshot waits for an index that comes with a snapshot.
func TestWaitAppliedBySnapshot(t *testing.T) {
	from := finishedTasks(t, 3)
	snap := snapshotBytes(t, from.State)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := openMachine(t, dir)
		defer m.Close()
		waited := make(chan error, 1)
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		go func() { waited <- m.WaitApplied(ctx, from.index) }()
		synctest.Wait()
		if err := m.FSM().Restore(readCloser{bytes.NewReader(snap)}); err != nil {
			t.Fatal(err)
		}
		if err := <-waited; err != nil {
			t.Errorf("WaitApplied: %v", err)
		}
	})
}

// TestWaitFinished waits for a task that is finished, is finished later, arrives
// later, is unknown, or is finished by a snapshot.
func TestWaitFinished(t *testing.T) {
	type result struct {
		task *Task
		err  error
	}
	// wait starts a WaitFinished and returns once it waits.
	wait := func(t *testing.T, m *machine, id string, key Key) chan result {
		got := make(chan result, 1)
		go func() {
			task, err := m.WaitFinished(t.Context(), id)
			got <- result{task, err}
		}()
		synctest.Wait()
		m.hub.mu.Lock()
		defer m.hub.mu.Unlock()
		if len(m.hub.waiting[key]) == 0 {
			t.Errorf("nobody waits for %s", key)
		}
		return got
	}
	checkResult := func(r result, key Key, want Status) {
		t.Helper()
		if r.err != nil || Key(r.task.GetKey()) != key || r.task.Status != want {
			t.Errorf("WaitFinished = %v, %v; want %s %v", r.task, r.err, key, want)
		}
	}
	dir, dir2 := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := openMachine(t, dir)
		defer m.Close()
		m.ok(up("id1", "alpha", 1), submit(task(1, named("mine"), at(place(1, 1)))))

		later, byKey, alsoLater := wait(t, m, "mine", k(1)), wait(t, m, k(2).String(), k(2)), wait(t, m, "mine", k(1))
		m.ok(finish(k(1), 1, `1`))
		checkResult(<-later, k(1), Status_SUCCESS)
		checkResult(<-alsoLater, k(1), Status_SUCCESS)
		task1, err := m.WaitFinished(t.Context(), "mine")
		checkResult(result{task1, err}, k(1), Status_SUCCESS)

		m.ok(submit(task(2)), cancel(k(2).String()))
		checkResult(<-byKey, k(2), Status_REVOKED)

		if _, err := m.WaitFinished(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
			t.Errorf("WaitFinished of an unknown name: %v, want %v", err, ErrNotFound)
		}
		ctx, cancelCtx := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		cancelCtx(cause)
		if _, err := m.WaitFinished(ctx, k(9).String()); !errors.Is(err, cause) {
			t.Errorf("WaitFinished of what never comes: %v, want %v", err, cause)
		}

		// Another state has finished task 3; a snapshot of it comes here.
		other := openMachine(t, dir2)
		defer other.Close()
		other.ok(submit(task(3)), cancel(k(3).String()), submit(task(4)))
		three, four := wait(t, m, k(3).String(), k(3)), wait(t, m, k(4).String(), k(4))
		if err := m.FSM().Restore(readCloser{bytes.NewReader(snapshotBytes(t, other.State))}); err != nil {
			t.Fatal(err)
		}
		checkResult(<-three, k(3), Status_REVOKED)
		m.index = m.Applied()
		m.ok(cancel(k(4).String()))
		checkResult(<-four, k(4), Status_REVOKED)

		m.hub.mu.Lock()
		defer m.hub.mu.Unlock()
		if len(m.hub.waiting) != 0 {
			t.Errorf("somebody is still waited for: %v", m.hub.waiting)
		}
	})
}

// TestConcurrentReaders reads in every way while entries are applied and flushed.
// It is for the race detector, and checks that readers see whole entries.
func TestConcurrentReaders(t *testing.T) {
	m := newCluster(t)
	const tasks = 300
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	reader := func(read func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := read(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	reader(func() error {
		if c := m.Counts(); (c.Live+c.Finished)%2 != 0 { // two in each Submit
			return fmt.Errorf("counts %+v show half an entry", c)
		}
		return nil
	})
	reader(func() error { _, err := m.List(Filter{Limit: 20}); return err })
	reader(func() error { return m.flush() })
	reader(func() error {
		for i := range 2 * tasks {
			if rec, err := m.TaskByKey(k(i)); err != nil || rec != nil && rec.ID() != k(i).String() {
				return fmt.Errorf("task %d is %v, %v", i, rec, err)
			}
		}
		return nil
	})
	reader(func() error {
		m.Pending("p", DefaultPriority, 0, func(Ready) bool { return true })
		m.Assigned(1)
		m.Nodes()
		m.Load()
		m.NextDue()
		m.Oldest()
		m.Size()
		return nil
	})
	wg.Go(func() {
		if _, err := m.WaitFinished(t.Context(), k(2*tasks-1).String()); err != nil {
			t.Error(err)
		}
	})
	for i := range tasks {
		m.ok(submit(task(2*i, at(place(1, 1))), task(2*i+1)))
		m.do(finish(k(2*i), 1, `1`), cancel(k(2*i+1).String()))
	}
	stop()
	wg.Wait()
	if c := m.Counts(); c.Finished != 2*tasks || c.Live != 0 {
		t.Errorf("counts are %+v", c)
	}
}
