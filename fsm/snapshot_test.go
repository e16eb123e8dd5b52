package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/s2"
	bolt "go.etcd.io/bbolt"
)

// TestRestore checks that a snapshot replaces everything, for good.
func TestRestore(t *testing.T) {
	from := finishedTasks(t, 3)
	from.ok(keyed("once", "h", 1e6, task(10)))
	snap := snapshotBytes(t, from.State)

	dir := t.TempDir()
	m := openMachine(t, dir)
	m.ok(up("other", "omega", 9), submit(task(20, named("mine")), task(21)), keyed("mine", "h", 1e6, task(22)))
	m.mustFlush()
	m.ok(submit(task(23))) // in memory only
	m.changes = nil
	if err := m.FSM().Restore(readCloser{bytes.NewReader(snap)}); err != nil {
		t.Fatal(err)
	}
	if len(m.changes) != 1 || !m.changes[0].Reset || m.changes[0].Index != from.index {
		t.Errorf("the observer was told %+v", m.changes)
	}
	check := func() {
		t.Helper()
		if got, want := m.Counts(), from.Counts(); got != want {
			t.Errorf("counts are %+v, want %+v", got, want)
		}
		if got := m.Applied(); got != from.index {
			t.Errorf("Applied = %d, want %d", got, from.index)
		}
		for _, i := range []int{20, 21, 22, 23} {
			if rec, err := m.TaskByKey(k(i)); rec != nil || err != nil {
				t.Errorf("task %d is still there: %v, %v", i, rec, err)
			}
		}
		if _, err := m.Task("mine"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the old name is still there: %v", err)
		}
		if n := m.Nodes(); len(n) != 2 || n[0].Name != "alpha" {
			t.Errorf("nodes are %v", n)
		}
		if got := snapshotBytes(t, m.State); !bytes.Equal(got, snap) {
			t.Error("a snapshot of what was restored is another one")
		}
	}
	check()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openMachine(t, dir)
	defer m.Close()
	check()
	m.clock = from.clock
	m.ok(submit(task(30)), keyed("mine", "other", 1, task(31)))
	m.gives(Code_KEY_REUSED, keyed("once", "other", 1, task(32)))
	if _, err := os.Stat(m.path() + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file beside the state is still there: %v", err)
	}
}

// TestSnapshotStandsStill checks that a snapshot shows the moment it was taken,
// while entries are applied and the store is written.
func TestSnapshotStandsStill(t *testing.T) {
	m := finishedTasks(t, 20)
	want := snapshotBytes(t, m.State)
	snap, err := m.FSM().Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	started, goOn := make(chan struct{}), make(chan struct{})
	sink := &slowSink{started: started, goOn: goOn}
	persisted := make(chan error, 1)
	go func() { persisted <- snap.Persist(sink) }()
	<-started
	p := forgetNothing()
	p.MaxCount = 5
	for i := 100; i < 200; i++ {
		m.ok(submit(task(i, at(place(1, 1)))), finish(k(i), 1, strings.Repeat("x", 1000)), purge(p))
	}
	m.mustFlush()
	close(goOn)
	if err := <-persisted; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sink.Bytes(), want) || !sink.closed || sink.cancelled {
		t.Errorf("the snapshot is not that of its moment; closed %v, cancelled %v", sink.closed, sink.cancelled)
	}
}

// slowSink stands still at its first write until it may go on.
type slowSink struct {
	memorySink
	started, goOn chan struct{}
}

func (s *slowSink) Write(b []byte) (int, error) {
	if s.started != nil {
		close(s.started)
		s.started = nil
		<-s.goOn
	}
	return s.memorySink.Write(b)
}

// TestPersistFails checks that a sink that fails is cancelled, wherever it fails.
func TestPersistFails(t *testing.T) {
	m := finishedTasks(t, 20)
	size := len(snapshotBytes(t, m.State))
	for _, room := range []int{0, len(snapshotFormat), len(snapshotFormat) + 5, size - 1} {
		snap, err := m.FSM().Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		sink := &fullSink{room: room}
		if err := snap.Persist(sink); !errors.Is(err, errFull) {
			t.Errorf("with room for %d of %d bytes: Persist = %v, want %v", room, size, err, errFull)
		}
		if !sink.cancelled || sink.closed {
			t.Errorf("with room for %d of %d bytes: cancelled %v, closed %v", room, size, sink.cancelled, sink.closed)
		}
		snap.Release()
	}
}

var errFull = errors.New("disk full")

// fullSink has room for so many bytes.
type fullSink struct {
	memorySink
	room int
}

func (s *fullSink) Write(b []byte) (int, error) {
	if s.Len()+len(b) > s.room {
		return 0, errFull
	}
	return s.memorySink.Write(b)
}

// TestRestoreRefuses checks that a damaged snapshot is refused and the state that
// was there stays as it is.
func TestRestoreRefuses(t *testing.T) {
	from := finishedTasks(t, 30)
	good := snapshotBytes(t, from.State)
	cut := func(n int) io.Reader { return bytes.NewReader(good[:n]) }
	flip := func(i int) io.Reader {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		return bytes.NewReader(bad)
	}
	packed := func(fill func(w *bufio.Writer)) io.Reader {
		var b bytes.Buffer
		b.WriteString(snapshotFormat)
		p := s2.NewWriter(&b)
		w := bufio.NewWriter(p)
		fill(w)
		if err := errors.Join(w.Flush(), p.Close()); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	tests := map[string]io.Reader{
		"empty":         cut(0),
		"half a head":   cut(len(snapshotFormat) / 2),
		"only the head": cut(len(snapshotFormat)),
		"half":          cut(len(good) / 2),
		"one byte less": cut(len(good) - 1),
		"another head":  strings.NewReader("pytasks snapshot 9\n" + string(good[len(snapshotFormat):])),
		"reading fails": io.MultiReader(cut(len(good)/2), iotest.ErrReader(errors.New("connection reset"))),
		"other bucket":  packed(func(w *bufio.Writer) { writeBytes(w, []byte("else")) }),
		"too large a record": packed(func(w *bufio.Writer) {
			writeBytes(w, bucketMeta)
			_, _ = w.Write([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
		}),
		"wrong sum": packed(func(w *bufio.Writer) {
			for _, name := range buckets {
				writeBytes(w, name)
				writeBytes(w, nil)
			}
			_, _ = w.Write(make([]byte, sha256.Size))
		}),
	}
	for i := 0; i < len(good); i += len(good)/40 + 1 {
		tests[fmt.Sprint("flipped byte ", i)] = flip(i)
	}
	m := newMachine(t)
	m.ok(submit(task(50, named("mine"))))
	before := snapshotBytes(t, m.State)
	m.changes = nil
	for name, r := range tests {
		if err := m.FSM().Restore(readCloser{r}); err == nil {
			t.Errorf("%s: the snapshot was taken for good", name)
		}
	}
	if len(m.changes) != 0 {
		t.Errorf("the observer was told %+v", m.changes)
	}
	if after := snapshotBytes(t, m.State); !bytes.Equal(after, before) {
		t.Error("the state changed")
	}
	if _, err := os.Stat(m.path() + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file beside the state is still there: %v", err)
	}
	m.ok(cancel("mine"), submit(task(51)))
	if err := m.FSM().Restore(readCloser{bytes.NewReader(good)}); err != nil {
		t.Fatalf("a good snapshot after the bad ones: %v", err)
	}
	if got, want := m.Counts(), from.Counts(); got != want {
		t.Errorf("counts are %+v, want %+v", got, want)
	}
}

// TestRestoreAfterACrash checks that what a crash in the middle of a restore left
// behind does no harm.
func TestRestoreAfterACrash(t *testing.T) {
	from := finishedTasks(t, 3)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.db.new"), []byte("half a store"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := openMachine(t, dir)
	defer m.Close()
	if err := m.FSM().Restore(readCloser{bytes.NewReader(snapshotBytes(t, from.State))}); err != nil {
		t.Fatal(err)
	}
	m.is(Status_SUCCESS, 1, k(1), k(2), k(3))
}

type readCloser struct{ io.Reader }

func (readCloser) Close() error { return nil }

// unpack returns the records of a snapshot, by bucket and key in hex.
func unpack(t failer, path string, snap []byte) map[string]string {
	t.Helper()
	db, err := openStore(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer db.close()
	if err := readSnapshot(db, bytes.NewReader(snap)); err != nil {
		t.Fatalf("readSnapshot: %v", err)
	}
	records := map[string]string{}
	err = db.view(func(tx *bolt.Tx) error {
		for _, name := range buckets {
			err := readBucket(tx, name).each(func(k, v []byte) error {
				records[fmt.Sprintf("%s/%x", name, k)] = string(v)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return records
}
