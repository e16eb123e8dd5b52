package cluster

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// countedStore is a log in memory that counts what is read from it.
type countedStore struct {
	*raft.InmemStore
	reads int
	fail  error // of StoreLogs
}

func (s *countedStore) GetLog(index uint64, entry *raft.Log) error {
	s.reads++
	return s.InmemStore.GetLog(index, entry)
}

func (s *countedStore) StoreLogs(entries []*raft.Log) error {
	if s.fail != nil {
		return s.fail
	}
	return s.InmemStore.StoreLogs(entries)
}

func TestLogCache(t *testing.T) {
	store := &countedStore{InmemStore: raft.NewInmemStore()}
	c := &logCache{LogStore: store}
	put := func(index uint64, data string) error {
		return c.StoreLog(&raft.Log{Index: index, Data: []byte(data)})
	}
	// get reads an entry and says whether the store was asked.
	get := func(index uint64, want string) (asked bool) {
		t.Helper()
		before := store.reads
		var entry raft.Log
		if err := c.GetLog(index, &entry); err != nil || string(entry.Data) != want {
			t.Fatalf("entry %d: got %q, %v, want %q", index, entry.Data, err, want)
		}
		return store.reads != before
	}
	for i := uint64(1); i <= cachedLogs+1; i++ {
		if err := put(i, "old"); err != nil {
			t.Fatal(err)
		}
	}
	if !get(1, "old") || get(2, "old") || get(cachedLogs+1, "old") {
		t.Errorf("the newest %d entries are not those kept", cachedLogs)
	}

	large := string(make([]byte, cachedSize+1))
	if err := put(cachedLogs+2, large); err != nil {
		t.Fatal(err)
	}
	if !get(cachedLogs+2, large) {
		t.Error("a large entry is kept")
	}

	// A conflicting tail is deleted and written anew.
	if err := c.DeleteRange(100, cachedLogs+2); err != nil {
		t.Fatal(err)
	}
	if err := c.GetLog(101, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("a deleted entry: got %v, want %v", err, raft.ErrLogNotFound)
	}
	if err := put(100, "new"); err != nil {
		t.Fatal(err)
	}
	if get(100, "new") {
		t.Error("a rewritten entry is not kept")
	}

	store.fail = errors.New("disk full")
	if err := put(101, "lost"); !errors.Is(err, store.fail) {
		t.Errorf("got %v, want %v", err, store.fail)
	}
	if err := c.GetLog(101, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry that was not stored: got %v, want %v", err, raft.ErrLogNotFound)
	}
}
