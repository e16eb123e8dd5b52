package history

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestJournalFile: entries of several starts and several nodes are read back; a line that
// was cut off is left out, one that is damaged is not.
func TestJournalFile(t *testing.T) {
	dir := t.TempDir()
	one, two, none := filepath.Join(dir, "1"), filepath.Join(dir, "2"), filepath.Join(dir, "none")
	want := []Entry{
		{At: 1, Task: "a", Attempt: 1, Node: "n1", N: 1},
		{At: 2, Task: "a", Attempt: 1, Node: "n1", N: 1, End: EndOK},
		{At: 3, Task: "b", Attempt: 2, Node: "n2", N: 2, End: EndStopped},
	}
	for i, path := range []string{one, one, two} {
		f, err := OpenJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Write(want[i]); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	add := func(text string) {
		f, err := os.OpenFile(one, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	add(`{"at":4,"ta`)
	got, err := ReadJournal(one, none, two)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	add("\n")
	if got, err := ReadJournal(one); err == nil {
		t.Errorf("of a damaged line: got %v, want an error", got)
	}
}
