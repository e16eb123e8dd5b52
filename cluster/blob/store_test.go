package blob

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestStore(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "7"+unfinished), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, size, err := s.Put(strings.NewReader("hello"), 5)
	if err != nil || size != 5 {
		t.Fatalf("Put = %d, %v", size, err)
	}
	if _, _, err := s.Put(strings.NewReader("hello!"), 5); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Put of 6 bytes where 5 are allowed = %v, want ErrTooLarge", err)
	}
	if again, err := ParseDigest(strings.ToUpper(d.String())); err != nil || again != d {
		t.Errorf("ParseDigest = %s, %v; want %s", again, err, d)
	}
	if _, err := ParseDigest("abc"); err == nil {
		t.Error("ParseDigest takes three digits")
	}
	f, err := s.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(f)
	f.Close()
	if string(text) != "hello" || !s.Has(d) {
		t.Errorf("the blob reads %q, has %v", text, s.Has(d))
	}
	if all, err := s.List(); err != nil || !maps.Equal(all, map[Digest]int64{d: 5}) {
		t.Errorf("List = %v, %v; want %s alone", all, err, d)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the folder holds %v, want the blob alone", entries)
	}
	if err := s.remove(d); err != nil || s.Has(d) || s.remove(d) != nil {
		t.Errorf("after remove = %v the store has it: %v", err, s.Has(d))
	}
	if _, err := s.Open(d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of nothing = %v, want fs.ErrNotExist", err)
	}
}

// TestIdle: a blob goes when it was of no use at so many looks in a row, and nobody asked for it.
func TestIdle(t *testing.T) {
	n := newNetwork(t, "a", "b")
	needed, unused, asked := n.put("a", "needed"), n.put("a", "unused"), n.put("a", "asked for")
	s := n.movers["a"].Store
	look := func(want ...Digest) {
		t.Helper()
		list, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		got := s.Idle(list, func(d Digest) bool { return d == needed }, 2)
		byBytes := func(a, b Digest) int { return bytes.Compare(a[:], b[:]) }
		slices.SortFunc(got, byBytes)
		slices.SortFunc(want, byBytes)
		if !slices.Equal(got, want) {
			t.Errorf("idle are %v, want %v", got, want)
		}
	}
	gone := func(d Digest, want bool) {
		t.Helper()
		if removed, err := s.RemoveIdle(d); err != nil || removed != want || s.Has(d) == want {
			t.Errorf("RemoveIdle = %v, %v, and it is there: %v; want it removed: %v", removed, err, s.Has(d), want)
		}
	}
	look()
	look(unused, asked)
	n.put("a", "asked for")
	gone(asked, false)
	gone(needed, false)
	gone(unused, true)
	look()
	body := append(asked[:len(asked):len(asked)], 0, 0, 0, 0, 0, 0, 0, 9)
	if _, err := n.movers["a"].handleKeep(t.Context(), "b", body); err != nil {
		t.Fatal(err)
	}
	look()
	look(asked)
	if err := n.movers["a"].Spread(t.Context(), asked, 9, nil, func([]string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	gone(asked, false)
	look()
	look(asked)
	gone(asked, true)
}

// TestDamagedReplaced: who finds a file damaged does not remove the one that has taken its place.
func TestDamagedReplaced(t *testing.T) {
	n := newNetwork(t, "a")
	d, s := n.put("a", "hello"), n.movers["a"].Store
	old, err := s.open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	n.put("a", "hello")
	if err := s.removeDamaged(d, old); err != nil || !s.Has(d) {
		t.Errorf("removeDamaged = %v, and the new file is there: %v", err, s.Has(d))
	}
	now, err := s.open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer now.Close()
	if err := s.removeDamaged(d, now); err != nil || s.Has(d) {
		t.Errorf("removeDamaged = %v, and the damaged file is there: %v", err, s.Has(d))
	}
}
