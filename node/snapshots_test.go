package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"pytasks/cluster/blob"
	"pytasks/fsm"
	"pytasks/node/backup"
	"pytasks/node/datadir"
)

// savedState is a state that a test writes a log for.
type savedState struct {
	*fsm.State
	t     *testing.T
	index uint64
}

func newSavedState(t *testing.T) *savedState {
	t.Helper()
	s, err := fsm.Open(fsm.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &savedState{s, t, 0}
}

// submit applies an entry with one task, whose arguments are a blob if there is one.
func (s *savedState) submit(id string, args *fsm.Blob) {
	s.t.Helper()
	key := fsm.NewKey(time.Now())
	task := &fsm.New{Key: key[:], Name: id, Type: "t.f", ArgsBlob: args}
	if args == nil {
		task.Args = []byte("{}")
	}
	data, err := fsm.EncodeEntry(&fsm.Entry{NowMs: 1, Commands: []*fsm.Command{{Kind: &fsm.Command_Submit{Submit: &fsm.Submit{Tasks: []*fsm.New{task}}}}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.index++
	outs := s.FSM().Apply(&raft.Log{Index: s.index, Type: raft.LogCommand, Data: data}).([]*fsm.Outcome)
	if len(outs) != 1 || outs[0].Code != fsm.Code_OK {
		s.t.Fatalf("submit %s: %v", id, outs)
	}
}

// savedAt returns what writes snapshots at node a of a room.
func savedAt(t *testing.T, r *blobRoom, s *savedState) *snapshots {
	return &snapshots{
		state: s.State, blobs: r.nodes["a"], caught: func(context.Context) error { return nil }, name: "a", dir: t.TempDir(), now: time.Now,
		cluster: func() (string, uint64) { return "c", 5 }, log: slog.New(slog.DiscardHandler),
	}
}

// TestSave: a snapshot has what is committed before, all blobs wherever they are, and says which are nowhere. A second at the same time is
// refused, and nothing is collected or left behind.
func TestSave(t *testing.T) {
	room, state := newBlobRoom(t), newSavedState(t)
	here, there := room.put("a", "it is here"), room.put("c", "it is there")
	lost := blob.Digest{1, 2, 3}
	for id, d := range map[string]blob.Digest{"here": here, "there": there, "lost": lost} {
		state.submit(id, &fsm.Blob{Digest: d[:], Size: int64(len("it is " + id))})
	}
	state.submit("small", nil)
	s := savedAt(t, room, state)
	s.caught = func(context.Context) error {
		state.submit("late", nil) // committed before; only now is it here
		return nil
	}
	var once, held atomic.Bool
	var file bytes.Buffer
	err := s.Save(t.Context(), writerFunc(func(b []byte) (int, error) {
		if !once.Swap(true) {
			if err := s.Save(t.Context(), io.Discard); !errors.Is(err, errSnapshotRuns) {
				t.Errorf("a second one: got %v, want %v", err, errSnapshotRuns)
			}
			for range 2 * idleLooks { // nobody but the snapshot needs them: the room's state names none
				room.nodes["a"].look(t.Context())
			}
			held.Store(room.nodes["a"].Store.Has(here) && room.nodes["a"].Store.Has(there))
		}
		return file.Write(b)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if !held.Load() {
		t.Error("blobs were collected while they were being saved")
	}
	in, err := datadir.Inspect(bytes.NewReader(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if in.Index != 5 || in.Term != 5 || in.State.Tasks[fsm.Status_PENDING] != 5 || in.Blobs != 2 || in.BlobBytes != int64(len("it is hereit is there")) || in.MissingBlobs != 1 {
		t.Errorf("the snapshot is of index %d, with the tasks %v, %d blobs of %d bytes, %d missing; want 5, five tasks, 2 and 1 missing", in.Index,
			in.State.Tasks, in.Blobs, in.BlobBytes, in.MissingBlobs)
	}
	if left := files(t, s.dir); len(left) > 0 {
		t.Errorf("%v are left behind", left)
	}
	for range 2 * idleLooks {
		room.nodes["a"].look(t.Context())
	}
	if room.nodes["a"].Store.Has(here) {
		t.Error("what nobody needs is not collected any more")
	}

	out, err := datadir.Restore(bytes.NewReader(withCluster(t, file.Bytes())), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil || out.MissingBlobs != 1 || out.State.Tasks[fsm.Status_PENDING] != 5 {
		t.Errorf("restored: %+v, %v", out, err)
	}
}

// withCluster returns a snapshot with a cluster's id that is one.
func withCluster(t *testing.T, file []byte) []byte {
	t.Helper()
	in, err := backup.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	head := in.Header()
	head.Cluster = "0d8a4c5e-6a1e-4c4b-9f5e-0123456789ab"
	w, err := backup.NewWriter(&out, head)
	for err == nil {
		var r backup.Record
		if r, err = in.Next(); err != nil {
			break
		}
		switch r.Kind {
		case backup.KindState:
			err = w.State(in)
		case backup.KindBlob:
			err = w.Blob(r.Name, in)
		case backup.KindMissing:
			err = w.Missing(r.Name)
		}
	}
	if errors.Is(err, io.EOF) {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestSaveFails: what fails before the first byte writes none, and nothing stays on the disk.
func TestSaveFails(t *testing.T) {
	room, state := newBlobRoom(t), newSavedState(t)
	state.submit("one", nil)
	for want, breaks := range map[string]func(*snapshots) context.Context{
		"no_leader": func(s *snapshots) context.Context {
			s.caught = func(context.Context) error { return fsm.ErrNoLeader }
			return t.Context()
		},
		"disk_full": func(s *snapshots) context.Context {
			s.blobs = newBlobs(room.nodes["a"].Store, room, "a", &disk{floor: 1 << 40}, s.log)
			return t.Context()
		},
	} {
		s := savedAt(t, room, state)
		ctx := breaks(s)
		var out strings.Builder
		err := s.Save(ctx, &out)
		var coded interface{ Code() string }
		if !errors.As(err, &coded) || coded.Code() != want || out.Len() > 0 || len(files(t, s.dir)) > 0 {
			t.Errorf("got %v after %d bytes, %v left; want the code %s", err, out.Len(), files(t, s.dir), want)
		}
	}
	s, broken := savedAt(t, room, state), errors.New("the client hung up")
	if err := s.Save(t.Context(), writerFunc(func([]byte) (int, error) { return 0, broken })); !errors.Is(err, broken) || len(files(t, s.dir)) > 0 {
		t.Errorf("got %v, %v left; want %v", err, files(t, s.dir), broken)
	}
	if err := s.Save(t.Context(), io.Discard); err != nil {
		t.Errorf("the next: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
