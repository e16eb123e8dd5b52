package fsm

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// FuzzDecodeEntry checks that any bytes give an entry or an error, that what was
// read is written and read the same again, and that an entry that can be read can
// be applied and stored: one that cannot would stop every node, again and again.
func FuzzDecodeEntry(f *testing.F) {
	for _, c := range goldenCommands() {
		for _, actor := range []*Actor{nil, {Sub: "ann", Addr: "::1"}, {Sub: strings.Repeat("s", 65), Addr: strings.Repeat("a", 300)}} {
			c.Actor = actor
			data, err := EncodeEntry(&Entry{NowMs: 5, Commands: []*Command{c, c}})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	large, err := EncodeEntry(&Entry{Commands: []*Command{submit(task(1, args(strings.Repeat("x", 2*packAbove))))}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(large)
	f.Add([]byte{entryVersion, packedPlain})
	m := newCluster(f)
	still(m.State)
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEntry(data)
		if err != nil {
			return
		}
		again, err := EncodeEntry(e)
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
		back, err := DecodeEntry(again)
		if err != nil || !proto.Equal(back, e) {
			t.Fatalf("decoded again: %v, %v\nwant %v", back, err, e)
		}
		m.index++
		outs, err := m.apply(m.index, e)
		if err != nil || len(outs) != len(e.Commands) {
			t.Fatalf("apply of %v gave %d outcomes, %v", e, len(outs), err)
		}
		if err := m.flush(); err != nil {
			t.Fatalf("flush after %v: %v", e, err)
		}
		asked := 0
		for _, c := range e.Commands {
			if c.Actor != nil {
				asked++
			}
		}
		err = m.EachAudit(m.index-1, func(AuditRecord) error { asked--; return nil })
		if err != nil || asked != 0 {
			t.Fatalf("the audit log has %d records too few of %v, %v", asked, e, err)
		}
	})
}

// FuzzReadSnapshot checks that any bytes give a whole snapshot or an error.
func FuzzReadSnapshot(f *testing.F) {
	m := finishedTasks(f, 3)
	m.ok(by("root", userPut("ann")), keysPut(0, "a"), secretPut(0, &Rotation{To: "s2", Phase: 1}), by("ann", submit(task(9))))
	good := snapshotBytes(f, m.State)
	f.Add(good)
	for _, format := range []string{"2", "3"} {
		f.Add(readGolden(f, "testdata/snapshots/"+format+".golden"))
	}
	f.Add(good[:len(good)/2])
	f.Add([]byte(snapshotFormat))
	f.Fuzz(func(t *testing.T, data []byte) {
		db, err := openStore(filepath.Join(t.TempDir(), "state.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.close()
		if err := readSnapshot(db, bytes.NewReader(data)); err != nil {
			return
		}
		s := new(State)
		if err := s.load(db); err != nil {
			t.Fatalf("a snapshot with the right checksum cannot be loaded: %v", err)
		}
		tx, err := db.begin()
		if err != nil {
			t.Fatal(err)
		}
		snap := &snapshot{s, db, tx}
		defer snap.Release()
		if err := snap.writeTo(new(bytes.Buffer)); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzListCursor checks that any cursor gives a page, newest first, or
// ErrBadCursor.
func FuzzListCursor(f *testing.F) {
	m := finishedTasks(f, 20)
	page, err := m.List(Filter{Limit: 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page.Next, int32(0), 3)
	f.Add("", int32(Status_SUCCESS), -1)
	f.Add("x", int32(99), 1)
	f.Add(strings.Repeat("_", 22), int32(Status_FAILURE), 1)
	f.Fuzz(func(t *testing.T, cursor string, status int32, limit int) {
		page, err := m.List(Filter{Cursor: cursor, Status: Status(status), Limit: limit})
		if err != nil {
			if !errors.Is(err, ErrBadCursor) {
				t.Fatalf("List with cursor %q: %v, want %v", cursor, err, ErrBadCursor)
			}
			return
		}
		for i, rec := range page.Tasks {
			if i > 0 && bytes.Compare(rec.Key, page.Tasks[i-1].Key) >= 0 {
				t.Fatalf("task %x comes after %x", rec.Key, page.Tasks[i-1].Key)
			}
			if status != 0 && rec.Status != Status(status) {
				t.Fatalf("asked for status %d, got %v", status, rec.Status)
			}
		}
	})
}

// TestEncodeEntryKeepsLittle checks that a packed entry does not hold on to the room it was
// packed in: raft keeps entries in memory.
func TestEncodeEntryKeepsLittle(t *testing.T) {
	data, err := EncodeEntry(&Entry{Commands: []*Command{submit(task(1, args(strings.Repeat("x", 1<<20))))}})
	if err != nil {
		t.Fatal(err)
	}
	if cap(data) > 64<<10 {
		t.Errorf("%d bytes stand in room for %d", len(data), cap(data))
	}
}
