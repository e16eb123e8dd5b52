package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func openTestStore(t *testing.T, dir string) (*logStore, *[]error) {
	t.Helper()
	var fatals []error
	store, err := openBolt(dir)
	if err != nil {
		t.Fatal(err)
	}
	return newLogStore(store, dir, time.Minute, func(err error) { fatals = append(fatals, err) }), &fatals
}

func entries(first, last uint64) []*raft.Log {
	var logs []*raft.Log
	for i := first; i <= last; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: 3, Type: raft.LogCommand, Data: fmt.Appendf(nil, "data-of-%d", i)})
	}
	return logs
}

func TestLogStoreKeepsEntries(t *testing.T) {
	s, _ := openTestStore(t, t.TempDir())
	defer s.close()
	stored := entries(1, 100)
	if err := s.StoreLogs(stored); err != nil {
		t.Fatal(err)
	}
	for _, entry := range stored {
		if entry.Extensions != nil {
			t.Fatalf("entry %d was changed while it was stored", entry.Index)
		}
	}
	var got raft.Log
	if err := s.GetLog(42, &got); err != nil || string(got.Data) != "data-of-42" || got.Extensions != nil {
		t.Errorf("GetLog(42): got %q, extensions %v, %v", got.Data, got.Extensions, err)
	}
	if err := s.GetLog(101, &got); err != raft.ErrLogNotFound {
		t.Errorf("GetLog of a missing entry: got %v, want %v itself", err, raft.ErrLogNotFound)
	}
	if s.entries.Load() != 100 || s.bytes.Load() == 0 {
		t.Errorf("counted %d entries, %d bytes", s.entries.Load(), s.bytes.Load())
	}
}

func TestLogStoreFindsFlippedBit(t *testing.T) {
	dir := t.TempDir()
	s, _ := openTestStore(t, dir)
	if err := s.StoreLogs(entries(1, 10)); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "raft.db")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.ReplaceAll(raw, []byte("data-of-7"), []byte("data-oF-7"))
	if bytes.Equal(raw, flipped) {
		t.Fatal("entry 7 is not in the file")
	}
	if err := os.WriteFile(path, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	s, fatals := openTestStore(t, dir)
	defer s.close()
	var got raft.Log
	if err := s.GetLog(6, &got); err != nil {
		t.Errorf("entry 6: %v", err)
	}
	err = s.GetLog(7, &got)
	if err == nil || !strings.Contains(err.Error(), "empty data directory") || len(*fatals) != 1 {
		t.Errorf("entry 7: got %v and %d fatal errors, want one that says what to do", err, len(*fatals))
	}
}

func TestLogStoreIsOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	s, _ := openTestStore(t, dir)
	defer s.close()
	_, err := openBolt(dir)
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second open: got %v", err)
	}
}

func TestLogStoreDeletesInChunks(t *testing.T) {
	s, _ := openTestStore(t, t.TempDir())
	defer s.close()
	const n = 3*deleteChunk + 10
	if err := s.StoreLogs(entries(1, n)); err != nil {
		t.Fatal(err)
	}
	fake := &fakeStore{LogStore: s.store}
	s.store = fake
	check := func(first, last uint64) {
		t.Helper()
		gotFirst, _ := s.FirstIndex()
		gotLast, _ := s.LastIndex()
		if gotFirst != first || gotLast != last {
			t.Fatalf("log is %d to %d, want %d to %d", gotFirst, gotLast, first, last)
		}
	}
	fake.after = func() { // a crash at any point leaves no hole
		first, _ := s.store.FirstIndex()
		last, _ := s.store.LastIndex()
		var log raft.Log
		for i := first; i <= last && i > 0; i += 97 {
			if err := s.store.GetLog(i, &log); err != nil {
				t.Fatalf("hole at %d in %d to %d", i, first, last)
			}
		}
	}
	if err := s.DeleteRange(n-deleteChunk-99, n); err != nil { // a conflicting tail
		t.Fatal(err)
	}
	check(1, n-deleteChunk-100)
	if err := s.DeleteRange(1, deleteChunk+1); err != nil { // compaction
		t.Fatal(err)
	}
	check(deleteChunk+2, n-deleteChunk-100)
	if fake.largest > deleteChunk || fake.deletes != 4 {
		t.Errorf("%d deletes, the largest of %d, want 4 of at most %d", fake.deletes, fake.largest, deleteChunk)
	}
	if err := s.DeleteRange(deleteChunk+2, n); err != nil {
		t.Fatal(err)
	}
	check(0, 0)
}

// fakeStore fails or hangs on request.
type fakeStore struct {
	LogStore
	hang    chan struct{}
	fail    error
	after   func()
	deletes int
	largest uint64
}

func (f *fakeStore) StoreLogs(logs []*raft.Log) error {
	if f.hang != nil {
		<-f.hang
	}
	if f.fail != nil {
		return f.fail
	}
	return f.LogStore.StoreLogs(logs)
}

func (f *fakeStore) DeleteRange(first, last uint64) error {
	f.deletes++
	f.largest = max(f.largest, last-first+1)
	err := f.LogStore.DeleteRange(first, last)
	f.after()
	return err
}

func TestLogStoreHangIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		fatal := make(chan error, 10)
		s := &logStore{store: &fakeStore{LogStore: inmem{raft.NewInmemStore()}, hang: hang}, hang: 10 * time.Second,
			fatal: func(err error) { fatal <- err }, observe: func(time.Duration) {}}
		start := time.Now()
		done := make(chan error)
		go func() { done <- s.StoreLogs(entries(1, 1)) }()
		if err := <-fatal; !strings.Contains(err.Error(), "hangs") || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		close(hang)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestLogStoreFailureIsFatal(t *testing.T) {
	full := errors.New("no space left on device")
	var fatal error
	s := &logStore{store: &fakeStore{LogStore: inmem{raft.NewInmemStore()}, fail: full}, hang: time.Minute,
		fatal: func(err error) { fatal = err }, observe: func(time.Duration) {}}
	if err := s.StoreLogs(entries(1, 1)); !errors.Is(err, full) || !errors.Is(fatal, full) {
		t.Errorf("got %v and fatal %v, want both %v", err, fatal, full)
	}
}

type inmem struct{ *raft.InmemStore }

func (inmem) Close() error { return nil }
