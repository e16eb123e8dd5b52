package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// History is everything that the clients of one run asked and were answered.
type History struct {
	Start  int64 // ns since 1970, when the recorder started
	Ops    []Op
	Events []Event
}

// line is one line of a history's file.
type line struct {
	Start int64  `json:"start,omitempty"`
	Op    *Op    `json:"op,omitempty"`
	Event *Event `json:"event,omitempty"`
}

// Write writes the history as lines of JSON.
func (h *History) Write(w io.Writer) error {
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	lines := []line{{Start: h.Start}}
	for i := range h.Ops {
		lines = append(lines, line{Op: &h.Ops[i]})
	}
	for i := range h.Events {
		lines = append(lines, line{Event: &h.Events[i]})
	}
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("write history: %w", err)
		}
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// ReadHistory reads what Write wrote.
func ReadHistory(r io.Reader) (*History, error) {
	h := new(History)
	dec := json.NewDecoder(r)
	for n := 1; ; n++ {
		var l line
		err := dec.Decode(&l)
		switch {
		case errors.Is(err, io.EOF):
			return h, nil
		case err != nil:
			return nil, fmt.Errorf("read history, line %d: %w", n, err)
		case l.Op != nil:
			h.Ops = append(h.Ops, *l.Op)
		case l.Event != nil:
			h.Events = append(h.Events, *l.Event)
		default:
			h.Start = l.Start
		}
	}
}

// Save writes the history to a file.
func (h *History) Save(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("save history: %w", err)
	}
	return errors.Join(h.Write(f), f.Close())
}

// LoadHistory reads a history from a file.
func LoadHistory(path string) (*History, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load history: %w", err)
	}
	defer f.Close()
	return ReadHistory(f)
}
