package history

import (
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestHistoryFile: what is written is read back, whatever it holds.
func TestHistoryFile(t *testing.T) {
	now := time.Unix(1000, 5)
	rec := NewRecorder(func() time.Time { return now })
	now = now.Add(time.Second)
	want := []Op{
		{Kind: Submit, Node: "n1", Call: 1, Return: 2, Outcome: Unknown, Code: "io", Key: "k", Payload: "p",
			Tasks: []Task{{ID: "a", N: 1, Func: workFunc, Ms: 2, Fail: -1, MaxAttempts: 3}}},
		{Client: 1, Kind: Read, Node: "n2", Call: 3, Return: 4, Outcome: OK, Consistency: Stale, Tasks: []Task{{ID: "a"}},
			Record: &Record{Status: "SUCCESS", Attempt: 2, Node: "n1", Result: "7", Past: []Past{{1, "n1", "error"}}, Sum: "s"}},
		{Client: 2, Kind: List, Node: "n1", Call: 5, Return: 6, Outcome: OK, Listed: []Listed{{"a", 1}}},
	}
	for _, op := range want {
		rec.Add(op)
	}
	rec.Note(Down, "n1")
	path := filepath.Join(t.TempDir(), "history")
	if err := rec.History().Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := LoadHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := &History{Start: 1_000_000_000_005, Ops: want, Events: []Event{{At: 1e9, Kind: Down, Node: "n1"}}}
	if !reflect.DeepEqual(got, whole) {
		t.Errorf("got %+v, want %+v", got, whole)
	}
	if _, err := ReadHistory(strings.NewReader("{\"start\":1}\n{\"op\":")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a history that is cut off: got %v, want an error that names line 2", err)
	}
}

// TestRecorderConcurrent: no operation is lost when clients record at once.
func TestRecorderConcurrent(t *testing.T) {
	rec := NewRecorder(time.Now)
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Go(func() {
			for range 100 {
				rec.Add(Op{Client: client})
				rec.Note("tick", "")
				rec.History()
			}
		})
	}
	wg.Wait()
	if h := rec.History(); len(h.Ops) != 800 || len(h.Events) != 800 {
		t.Errorf("got %d operations and %d events, want 800 of each", len(h.Ops), len(h.Events))
	}
}
