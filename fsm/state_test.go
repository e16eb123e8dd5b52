package fsm

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// TestReopen checks what a state has after it was closed, or killed.
func TestReopen(t *testing.T) {
	fill := func(m *machine) {
		m.ok(up("id1", "alpha", 1))
		m.ok(keyed("once", "h", 1e6, task(1, named("mine"), at(place(1, 1))), task(2), task(3, delayed(500))))
		m.clock += 100
		m.ok(finish(k(1), 1, `1`))
	}
	check := func(t *testing.T, m *machine, applied uint64) {
		t.Helper()
		if got := m.Applied(); got != applied {
			t.Fatalf("Applied = %d, want %d", got, applied)
		}
		m.is(Status_SUCCESS, 1, k(1))
		m.is(Status_PENDING, 0, k(2))
		m.is(Status_SCHEDULED, 0, k(3))
		if c := m.Counts(); c.Live != 2 || c.Finished != 1 || c.FinishedBytes == 0 {
			t.Errorf("counts are %+v", c)
		}
		if n := m.Node(1); n == nil || n.Name != "alpha" {
			t.Errorf("node 1 is %v", n)
		}
		if got := Key(m.get("mine").Key); got != k(1) {
			t.Errorf("the name leads to %s", got)
		}
		m.gives(Code_KEY_REUSED, keyed("once", "other", 1, task(9)))
		// The order of the queue and the clock go on.
		m.clock = startClock
		m.ok(submit(task(4)))
		if four, two := m.get(k(4).String()), m.get(k(2).String()); four.Order <= two.Order || four.CreatedMs != startClock+100 {
			t.Errorf("task 4 has order %d after %d and was created at %d", four.Order, two.Order, four.CreatedMs)
		}
	}
	t.Run("closed", func(t *testing.T) {
		dir := t.TempDir()
		m := openMachine(t, dir)
		fill(m)
		applied := m.index
		for range 2 { // Close is safe twice
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
		m = openMachine(t, dir)
		defer m.Close()
		check(t, m, applied)
	})
	t.Run("killed after a flush", func(t *testing.T) {
		m := newMachine(t)
		fill(m)
		m.mustFlush()
		m2 := openMachine(t, killed(t, m.State, filepath.Join(t.TempDir(), "copy")))
		defer m2.Close()
		check(t, m2, m.index)
	})
	t.Run("killed between flushes", func(t *testing.T) {
		m := newMachine(t)
		still(m.State)
		fill(m)
		m.mustFlush()
		flushed := m.index
		late := encoded(t, m.index+1, m.clock, submit(task(8)))
		m.FSM().Apply(late)
		m2 := openMachine(t, killed(t, m.State, filepath.Join(t.TempDir(), "copy")))
		defer m2.Close()
		if got, err := m2.TaskByKey(k(8)); got != nil || err != nil || m2.Applied() != flushed {
			t.Fatalf("what was not flushed is there: %v, %v, applied %d", got, err, m2.Applied())
		}
		m2.FSM().Apply(late) // raft brings it again
		m2.is(Status_PENDING, 0, k(8))
		m2.index++
		m2.ok(cancel(k(8).String()))
		if c := m2.Counts(); c.Live != 2 || c.Finished != 2 {
			t.Errorf("counts are %+v", c)
		}
	})
}

// TestBootMark checks when the file of a state is trusted.
func TestBootMark(t *testing.T) {
	if bootID() == nil {
		t.Skip("this system has no boot id")
	}
	tests := []struct {
		name string
		mark []byte // nil: no mark
		keep bool
	}{
		{"clean", []byte(cleanMark), true},
		{"same boot", bootID(), true},
		{"another boot", []byte("00000000-0000-0000-0000-000000000000"), false},
		{"damaged", []byte{}, false},
		{"missing", nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			m := openMachine(t, dir)
			m.ok(submit(task(1)))
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "state.mark")
			err := os.Remove(path)
			if tt.mark != nil {
				err = os.WriteFile(path, tt.mark, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			var lines bytes.Buffer
			s := mustOpen(t, Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&lines, nil))})
			defer s.Close()
			want := uint64(0)
			if tt.keep {
				want = m.index
			}
			if got := s.Applied(); got != want {
				t.Errorf("Applied = %d, want %d", got, want)
			}
			if said := strings.Contains(lines.String(), "discarded"); said == tt.keep {
				t.Errorf("the log says %q", lines.String())
			}
			if mark, err := os.ReadFile(path); err != nil || !bytes.Equal(mark, bootID()) {
				t.Errorf("while it is open the mark is %q, %v; want the boot id", mark, err)
			}
		})
	}
	t.Run("new", func(t *testing.T) {
		var lines bytes.Buffer
		s := mustOpen(t, Config{Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&lines, nil))})
		defer s.Close()
		if lines.Len() > 0 {
			t.Errorf("a new state logs %q", lines.String())
		}
	})
}

// TestApplySkips checks that entries at or below Applied are skipped, and which
// entries have no meaning for the state.
func TestApplySkips(t *testing.T) {
	m := newMachine(t)
	m.ok(submit(task(1)))
	again := encoded(t, m.index, m.clock, submit(task(2)))
	if outs := m.FSM().Apply(again).([]*Outcome); outs != nil {
		t.Errorf("an entry that was applied before gave %v", outs)
	}
	for i, l := range []*raft.Log{
		{Index: 2, Type: raft.LogNoop}, {Index: 3, Type: raft.LogConfiguration, Data: []byte("x")}, {Index: 4, Type: raft.LogCommand},
	} {
		if outs := m.FSM().Apply(l).([]*Outcome); outs != nil {
			t.Errorf("entry %d gave %v", l.Index, outs)
		}
		if got, want := m.Applied(), uint64(i+2); got != want {
			t.Errorf("Applied = %d, want %d", got, want)
		}
	}
	m.FSM().Apply(&raft.Log{Index: 1, Type: raft.LogNoop})
	if got := m.Applied(); got != 4 {
		t.Errorf("Applied went back to %d", got)
	}
	if got := m.Counts().Live; got != 1 {
		t.Errorf("%d tasks, want 1", got)
	}
	m.mustFlush()
	m2 := openMachine(t, killed(t, m.State, filepath.Join(t.TempDir(), "copy")))
	defer m2.Close()
	if got := m2.Applied(); got != 4 {
		t.Errorf("reopened at %d, want 4", got)
	}
}

// TestMemtableOverStore checks that reads prefer what is newer: the memtable over
// the one that is being written, both over the store.
func TestMemtableOverStore(t *testing.T) {
	m := newCluster(t)
	still(m.State)
	large := args(strings.Repeat("x", maxRecordArgs+1)) // the index holds no record of them
	m.ok(keyed("once", "h", 1e6, task(1, named("mine"), large), task(2, large), task(3, large)))
	m.mustFlush()
	m.ok(assign(k(1), 1, place(1, 1)), assign(k(2), 1, place(1, 1)))
	m.mu.Lock() // as flush does it before it writes
	m.seal()
	m.flushed = make(chan struct{})
	m.mu.Unlock()
	m.ok(finish(k(1), 1, `1`))
	m.is(Status_SUCCESS, 1, k(1)) // of the memtable
	m.is(Status_STARTED, 1, k(2)) // of the sealed one
	m.is(Status_PENDING, 0, k(3)) // of the store
	if got := m.get("mine").Status; got != Status_SUCCESS {
		t.Errorf("by name it is %v", got)
	}
	m.gives(Code_KEY_REUSED, keyed("once", "other", 1, task(9)))
	m.mu.Lock()
	if err := m.sealed.write(m.db); err != nil {
		t.Fatal(err)
	}
	close(m.flushed)
	m.sealed = nil
	m.mu.Unlock()
	m.mustFlush()
	m.is(Status_SUCCESS, 1, k(1))
	m.is(Status_STARTED, 1, k(2))
}

// TestFlusher checks when the memtable is written: when it is flushAge old, or at
// once when it is large.
func TestFlusher(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	stored := func(m *machine) uint64 {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return m.stored
	}
	t.Run("old", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := openMachine(t, dirs[0])
			defer m.Close()
			m.ok(submit(task(1)))
			synctest.Wait()
			if got := stored(m); got != 0 {
				t.Errorf("stored up to %d at once", got)
			}
			time.Sleep(flushAge) // of the bubble's clock
			synctest.Wait()
			if got := stored(m); got != 1 {
				t.Errorf("stored up to %d after %v, want 1", got, flushAge)
			}
		})
	})
	t.Run("large", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := openMachine(t, dirs[1])
			defer m.Close()
			m.ok(submit(task(0)))
			synctest.Wait() // the flusher waits for flushAge
			var many []*New
			for i := 1; i <= flushSize; i++ {
				many = append(many, task(i))
			}
			m.ok(submit(many...))
			synctest.Wait()
			if got := stored(m); got != 2 {
				t.Errorf("stored up to %d, want 2: the memtable is full", got)
			}
		})
	})
}

// TestBehind checks that applying waits for the disk when it is far ahead of it.
func TestBehind(t *testing.T) {
	m := newMachine(t)
	still(m.State)
	for first := 0; first < maxBehind*flushSize; first += flushSize {
		var many []*New
		for i := range flushSize {
			many = append(many, task(first+i))
		}
		m.ok(submit(many...))
	}
	if m.stored != 0 {
		t.Fatalf("stored up to %d before the memtable is full", m.stored)
	}
	m.ok(tick(1))
	if got, want := m.stored, m.index-1; got != want || m.active.size() != 0 {
		t.Errorf("stored up to %d with %d changes in memory, want %d and none", got, m.active.size(), want)
	}
	m.is(Status_PENDING, 0, k(0), k(maxBehind*flushSize-1))
}

// TestBehindByBytes is TestBehind with few tasks, whose arguments are large.
func TestBehindByBytes(t *testing.T) {
	m := newMachine(t)
	still(m.State)
	large := strings.Repeat("x", 1<<20)
	const most = maxBehind * flushBytes >> 20
	for i := range most {
		m.ok(submit(task(i, args(large))))
	}
	if m.stored != 0 {
		t.Fatalf("stored up to %d before the memtable is full", m.stored)
	}
	m.ok(tick(1))
	if got, want := m.stored, m.index-1; got != want {
		t.Errorf("stored up to %d, want %d: %d MiB are too much to keep in memory", got, want, most)
	}
	m.is(Status_PENDING, 0, k(0), k(most-1))
}

// TestAbandon checks that an abandoned state loses what a killed process loses: what was
// not written, and nothing else.
func TestAbandon(t *testing.T) {
	dir := t.TempDir()
	m := openMachine(t, dir)
	still(m.State)
	m.ok(submit(task(1)))
	m.mustFlush()
	written := m.index
	m.ok(submit(task(2)))
	m.Abandon()
	m.ok(cancel(k(2).String()))
	if _, err := m.FSM().Snapshot(); err == nil {
		t.Error("an abandoned state gives a snapshot that lacks what was not written")
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close of an abandoned state: %v", err)
	}
	s := mustOpen(t, Config{Dir: dir})
	defer s.Close()
	if got := s.Applied(); got != written {
		t.Errorf("Applied = %d, want %d: what was written before", got, written)
	}
}
