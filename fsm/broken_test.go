package fsm

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestFailedWriteLosesNothing: the disk is full for a moment. What could not be written
// must not be passed over by later writes: the next start finds a store that ends before
// it, and the log brings the rest.
func TestFailedWriteLosesNothing(t *testing.T) {
	dir := t.TempDir()
	m := openMachine(t, dir)
	still(m.State)
	var fatal []error
	m.cfg.Fatal = func(err error) { fatal = append(fatal, err) }
	m.ok(submit(task(1)))
	m.mustFlush()

	full := &os.PathError{Op: "write", Path: "state.db", Err: syscall.ENOSPC}
	m.write = func(*memtable, *store) error { return full }
	m.ok(submit(task(2)))
	if err := m.flush(); !errors.Is(err, full) || !strings.Contains(err.Error(), "free some and start the node again") {
		t.Fatalf("flush on a full disk: got %v, want %v with what to do", err, full)
	}
	if len(fatal) != 1 || !errors.Is(fatal[0], full) {
		t.Errorf("fatal errors are %v, want one", fatal)
	}
	m.is(Status_PENDING, 0, k(1), k(2)) // both are still to be read

	m.write = (*memtable).write // there is room again, and the node is about to stop
	if outs := m.FSM().Apply(encoded(t, 3, m.clock, submit(task(3)))).([]*Outcome); len(outs) != 0 {
		t.Errorf("applied after a failed write: %v", outs)
	}
	if snap, err := m.FSM().Snapshot(); !errors.Is(err, full) {
		defer snap.Release()
		t.Fatalf("a snapshot of it: got %v, want %v", err, full)
	}
	if err := m.Close(); !errors.Is(err, full) {
		t.Errorf("Close: got %v, want %v", err, full)
	}

	m = openMachine(t, dir)
	defer m.Close()
	if got := m.Applied(); got != 1 {
		t.Fatalf("the store has applied %d, want 1: task 2 is not in it", got)
	}
	m.ok(submit(task(2)), submit(task(3))) // raft brings them again
	m.is(Status_PENDING, 0, k(1), k(2), k(3))
}

// TestFailedWriteWhileBehind: applying that has to wait for a write that fails leaves its
// entry, and all that come after it, to the next start.
func TestFailedWriteWhileBehind(t *testing.T) {
	m := openMachine(t, t.TempDir())
	still(m.State)
	fatal := 0
	m.cfg.Fatal = func(error) { fatal++ }
	m.ok(submit(task(1)))
	m.write = func(*memtable, *store) error { return syscall.EIO }
	for i, c := range []*Command{purge(&Purge{}), submit(task(2)), purge(&Purge{})} {
		index := uint64(i) + 2
		if outs := m.FSM().Apply(encoded(t, index, m.clock, c)).([]*Outcome); len(outs) != 0 {
			t.Errorf("entry %d was applied: %v", index, outs)
		}
	}
	m.pass(5)
	if m.Applied() != 1 || fatal != 1 {
		t.Errorf("applied up to %d with %d fatal errors, want 1 and 1", m.Applied(), fatal)
	}
	if err := m.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close: got %v, want %v", err, syscall.EIO)
	}
}

// TestHungWriteIsFatal: raft would go on with a node whose state never gets any further.
func TestHungWriteIsFatal(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := openMachine(t, dir)
		defer m.Close()
		fatal, release := make(chan error, 1), make(chan struct{})
		m.mu.Lock()
		m.cfg.Fatal = func(err error) { fatal <- err }
		m.write = func(mem *memtable, db *store) error {
			<-release
			return mem.write(db)
		}
		m.mu.Unlock()
		start := time.Now()
		m.ok(submit(task(1)))
		err := <-fatal
		if took := time.Since(start); took != flushAge+flushHang || !strings.Contains(err.Error(), "hangs") {
			t.Errorf("got %v after %v, want a disk that hangs after %v", err, took, flushAge+flushHang)
		}
		close(release)
	})
}
