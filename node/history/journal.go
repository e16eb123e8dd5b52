package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
)

// Entry is one line of a journal: the code of an attempt started, or ended.
type Entry struct {
	At      int64  `json:"at"` // ns since 1970
	Task    string `json:"task"`
	Attempt int    `json:"attempt"`
	Node    string `json:"node"`
	N       int    `json:"n"`
	End     string `json:"end,omitempty"` // "" for a start, else how it ended
}

// How the code of an attempt ends.
const (
	EndOK      = "ok"
	EndFailed  = "failed"  // as it was asked to
	EndStopped = "stopped" // its context ended first
)

// Journal takes down which attempts were run. It is safe for concurrent use.
type Journal interface {
	Write(e Entry) error
}

// Memory is a journal of nodes that run in this process. Its zero value is empty.
type Memory struct {
	mu      sync.Mutex
	entries []Entry // guarded by mu
}

// Write adds an entry.
func (m *Memory) Write(e Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = append(m.entries, e)
	return nil
}

// Entries returns what has been written so far.
func (m *Memory) Entries() []Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.entries)
}

// File is a journal in a file, which survives the process that writes it, and may be
// written by several.
type File struct{ f *os.File }

// OpenJournal opens the file for appending, and makes it if it is not there.
func OpenJournal(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &File{f}, nil
}

// Write appends an entry by one write. When it returns from writing an end, that is on the
// disk.
func (f *File) Write(e Entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if _, err := f.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if e.End == "" {
		return nil
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// ReadJournal reads the journals of several nodes. A last line that was cut off is left
// out; a file that is not there is an empty one: its node ran nothing.
func ReadJournal(paths ...string) ([]Entry, error) {
	var entries []Entry
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		for n := 1; ; n++ {
			l, rest, whole := bytes.Cut(text, []byte("\n"))
			if !whole {
				break
			}
			var e Entry
			if err := json.Unmarshal(l, &e); err != nil {
				return nil, fmt.Errorf("read journal %s, line %d: %w", path, n, err)
			}
			entries = append(entries, e)
			text = rest
		}
	}
	return entries, nil
}
