package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// usedNode leaves the data of a node that has led a cluster of one: two snapshots, and a log that begins after the first
// of them and ends with "entry 59". It returns the state, too.
func usedNode(t *testing.T) (Config, *memory) {
	t.Helper()
	cfg := config(t, "a")
	cfg.TrailingLogs = 5
	a := open(t, cfg)
	leader(t, []*testNode{a})
	for i := range 50 {
		propose(t, a, fmt.Sprintf("entry %02d", i))
		if i == 24 || i == 49 {
			if err := a.raft.Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 10 {
		propose(t, a, fmt.Sprintf("entry %d", 50+i))
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(snapshotsIn(t, cfg.Dir)); got != 2 {
		t.Fatalf("%d snapshots, want 2", got)
	}
	cfg.Boot = 2
	return cfg, a.fsm
}

// snapshotsIn returns the directories of the snapshots, the newest first.
func snapshotsIn(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found) // one term, and indexes of two digits
	slices.Reverse(found)
	return found
}

// rewrite changes a file.
func rewrite(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(raw), 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip damages every place where a text stands in a file.
func flip(t *testing.T, path, text string) {
	t.Helper()
	rewrite(t, path, func(raw []byte) []byte {
		damaged := bytes.ReplaceAll(raw, []byte(text), append([]byte{text[0] ^ 1}, text[1:]...))
		if bytes.Equal(damaged, raw) {
			t.Fatalf("%q is not in %s", text, path)
		}
		return damaged
	})
}

func flipMiddle(raw []byte) []byte {
	raw[len(raw)/2] ^= 1
	return raw
}

// TestDamagedData: a node whose data are damaged does not start, and says in one sentence which file it is and what to
// do; unless it can do without what is damaged.
func TestDamagedData(t *testing.T) {
	used, _ := usedNode(t)
	log := func(dir string) string { return filepath.Join(dir, "raft", "raft.db") }
	data := func(t *testing.T, dir string, n int) string {
		return filepath.Join(snapshotsIn(t, dir)[n], snapshotData)
	}
	meta := func(t *testing.T, dir string, n int) string {
		return filepath.Join(snapshotsIn(t, dir)[n], snapshotMeta)
	}
	empty := func([]byte) []byte { return nil }
	remove := func(t *testing.T, path string) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	const stateIsNew, stateIsGone = true, false
	for _, test := range []struct {
		name   string
		state  bool // has applied more than the newest snapshot holds
		damage func(t *testing.T, dir string)
		want   string // in the error; "" = the node starts, with all its entries
	}{
		{"nothing", stateIsGone, func(*testing.T, string) {}, ""},
		{"nothing, new state", stateIsNew, func(*testing.T, string) {}, ""},
		{"last entry", stateIsNew, func(t *testing.T, dir string) { flip(t, log(dir), "entry 59") }, "raft.db is damaged: entry "},
		{"entry in the middle", stateIsGone, func(t *testing.T, dir string) { flip(t, log(dir), "entry 54") }, "raft.db is damaged: entry "},
		{"log cut in half", stateIsNew, func(t *testing.T, dir string) {
			rewrite(t, log(dir), func(raw []byte) []byte { return raw[:len(raw)/2/4096*4096] })
		}, "raft.db is damaged: "},
		{"log cut to two pages", stateIsNew, func(t *testing.T, dir string) {
			rewrite(t, log(dir), func(raw []byte) []byte { return raw[:8192] })
		}, "raft.db is damaged: "},
		{"log cut to a few bytes", stateIsNew, func(t *testing.T, dir string) {
			rewrite(t, log(dir), func(raw []byte) []byte { return raw[:50] })
		}, "raft.db is damaged: its first page"},
		{"log empty", stateIsNew, func(t *testing.T, dir string) { rewrite(t, log(dir), empty) }, "raft.db is gone"},
		{"log deleted", stateIsNew, func(t *testing.T, dir string) { remove(t, log(dir)) }, "raft.db is gone"},
		{"log and snapshots deleted", stateIsGone, func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "raft")) }, "raft.db is gone"},
		{"all but the state deleted", stateIsNew, func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "raft"))
			remove(t, filepath.Join(dir, identityFile))
		}, "raft.db is gone"},
		{"newest snapshot", stateIsGone, func(t *testing.T, dir string) { rewrite(t, data(t, dir, 0), flipMiddle) }, "state.bin: CRC mismatch"},
		{"newest snapshot, new state", stateIsNew, func(t *testing.T, dir string) { rewrite(t, data(t, dir, 0), flipMiddle) }, ""},
		{"newest snapshot deleted", stateIsGone, func(t *testing.T, dir string) { remove(t, data(t, dir, 0)) }, "state.bin: "},
		{"newest meta", stateIsNew, func(t *testing.T, dir string) { rewrite(t, meta(t, dir, 0), flipMiddle) }, "meta.json"},
		{"older snapshot", stateIsGone, func(t *testing.T, dir string) { rewrite(t, data(t, dir, 1), flipMiddle) }, ""},
		{"older meta", stateIsGone, func(t *testing.T, dir string) { rewrite(t, meta(t, dir, 1), flipMiddle) }, ""},
		{"both snapshots", stateIsGone, func(t *testing.T, dir string) {
			rewrite(t, data(t, dir, 0), flipMiddle)
			rewrite(t, data(t, dir, 1), flipMiddle)
		}, "state.bin: CRC mismatch"},
		{"both snapshots, new state", stateIsNew, func(t *testing.T, dir string) {
			rewrite(t, data(t, dir, 0), flipMiddle)
			rewrite(t, data(t, dir, 1), flipMiddle)
		}, ""},
		{"both metas", stateIsNew, func(t *testing.T, dir string) {
			rewrite(t, meta(t, dir, 0), empty)
			rewrite(t, meta(t, dir, 1), flipMiddle)
		}, "meta.json"},
		{"snapshots deleted", stateIsNew, func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "raft", "snapshots")) }, "snapshots before it are gone"},
		{"identity damaged", stateIsNew, func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, identityFile), func(raw []byte) []byte { return raw[:len(raw)/2] })
		}, "cluster.json is damaged"},
		{"identity empty", stateIsNew, func(t *testing.T, dir string) { rewrite(t, filepath.Join(dir, identityFile), empty) }, "cluster.json is damaged"},
		{"identity deleted", stateIsNew, func(t *testing.T, dir string) { remove(t, filepath.Join(dir, identityFile)) }, "cluster.json is missing"},
		{"addresses damaged", stateIsNew, func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, peersFile), []byte(`[{"id":`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := used
			cfg.Dir = t.TempDir()
			if err := os.CopyFS(cfg.Dir, os.DirFS(used.Dir)); err != nil {
				t.Fatal(err)
			}
			test.damage(t, cfg.Dir)
			state := func() *memory {
				if test.state {
					return &memory{durable: 60} // it has what the newest snapshot has, and more
				}
				return &memory{}
			}
			if test.want == "" {
				cfg.FSM = state()
				a := open(t, cfg)
				leader(t, []*testNode{a})
				propose(t, a, "one more")
				if !test.state && (!a.fsm.has("entry 00") || !a.fsm.has("entry 59")) {
					t.Errorf("entries are missing: %q", a.fsm.entries)
				}
				return
			}
			for range 2 { // it says the same when it is started again
				cfg.FSM = state()
				_, err := tryOpen(t, cfg)
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), cfg.Dir) ||
					!strings.Contains(err.Error(), "empty data directory") || strings.Contains(err.Error(), "\n") {
					t.Fatalf("got %v, want one sentence that names a file, with %q, and says what to do", err, test.want)
				}
			}
		})
	}
}

// TestDamagedPages: whatever page of the log is damaged, the node starts with all of its log or says that it cannot. It
// must not be ended by bbolt, or go on with less.
func TestDamagedPages(t *testing.T) {
	dir := t.TempDir()
	s, _ := openTestStore(t, dir)
	for i := range uint64(6) { // enough for a tree
		if err := s.StoreLogs(entries(1+i*50, 50+i*50)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Set([]byte("key"), []byte("value")), s.DeleteRange(1, 100), s.close()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	meta := func(n int) []byte { return whole[n*os.Getpagesize()+boltHeader:] }
	pages := int(max(binary.NativeEndian.Uint64(meta(0)[40:]), binary.NativeEndian.Uint64(meta(1)[40:])))
	read := func(raw []byte) (first, last uint64, err error) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "raft.db"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		store, err := openBolt(dir)
		if err != nil {
			return 0, 0, err
		}
		s := newLogStore(store, dir, time.Minute, func(error) {})
		defer s.close()
		if first, err = s.FirstIndex(); err != nil {
			return 0, 0, err
		}
		if last, err = s.LastIndex(); err != nil {
			return 0, 0, err
		}
		for i := first; i <= last; i++ {
			if err := s.GetLog(i, new(raft.Log)); err != nil {
				return 0, 0, err
			}
		}
		return first, last, nil
	}
	first, last, err := read(whole)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for page := range pages {
		for offset := range boltHeader + boltElement {
			damaged := bytes.Clone(whole)
			damaged[page*os.Getpagesize()+offset] ^= 1 << (offset % 8)
			gotFirst, gotLast, err := read(damaged)
			switch {
			case err != nil:
				refused++
				if !strings.Contains(err.Error(), "raft.db is damaged: ") || !strings.HasSuffix(err.Error(), advice) {
					t.Errorf("page %d, byte %d: got %v, want a sentence that says what to do", page, offset, err)
				}
			case gotFirst != first || gotLast != last:
				t.Errorf("page %d, byte %d: the log is %d to %d without a word, want %d to %d", page, offset, gotFirst, gotLast, first, last)
			}
		}
	}
	if refused < 16 {
		t.Errorf("%d damaged files were refused, want those with a damaged meta page at least", refused)
	}
	t.Logf("%d of %d refused", refused, (boltHeader+boltElement)*pages)
}

// TestDamagedMeta: a changed byte anywhere in meta.json, which holds the members, is noticed.
func TestDamagedMeta(t *testing.T) {
	used, _ := usedNode(t)
	s, err := openSnapshots(filepath.Join(used.Dir, "raft"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(snapshotsIn(t, used.Dir)[0], snapshotMeta)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if list, err := s.List(); err != nil || len(list) != 1 {
			t.Fatalf("byte %d: %d snapshots, %v, want the other alone", i, len(list), err)
		}
	}
}

// TestDamagedSnapshotIsReplaced: a snapshot that turns out to be damaged when a newcomer needs it gives way to another.
func TestDamagedSnapshotIsReplaced(t *testing.T) {
	cfg, state := usedNode(t)
	rewrite(t, filepath.Join(snapshotsIn(t, cfg.Dir)[0], snapshotData), flipMiddle)
	cfg.FSM = state
	a := open(t, cfg)
	leader(t, []*testNode{a})
	b := joining(t, []*testNode{a}, "b")
	eventually(t, "the newcomer has it all", func() bool {
		propose(t, a, "later") // raft snapshots nothing between a change of the members and the next entry
		return b.fsm.has("entry 00") && b.fsm.has("entry 59")
	})
}

// TestForeignLog: a node does not take another's votes and promises for its own.
func TestForeignLog(t *testing.T) {
	used, _ := usedNode(t)
	used.FSM, used.ID = &memory{}, uuid.NewString()
	_, err := tryOpen(t, used)
	if err == nil || !strings.Contains(err.Error(), "data of two nodes were mixed up") || !strings.Contains(err.Error(), advice) {
		t.Errorf("with the log of another node: got %v", err)
	}
}
