package fsm

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Key is the inner name of a task: a UUIDv7, so that keys made later sort later
// and land together in the store.
type Key [16]byte

// NewKey makes a key from a clock's time and randomness: a UUIDv7 whose twelve bits
// behind the milliseconds are their fraction (RFC 9562, section 6.2, method 3).
func NewKey(now time.Time) Key {
	u := uuid.New()
	ns := now.UnixNano()
	ms, fraction := ns/1e6, ns%1e6<<12/1e6
	binary.BigEndian.PutUint64(u[:8], uint64(ms)<<16|7<<12|uint64(fraction))
	return Key(u)
}

// ParseKey reads the canonical, lower-case text of a key.
func ParseKey(s string) (Key, bool) {
	if len(s) != 36 {
		return Key{}, false
	}
	u, err := uuid.Parse(s)
	return Key(u), err == nil
}

func (k Key) String() string { return uuid.UUID(k).String() }

// ID returns what callers know the task by: the id of their choice, or its key.
func (t *Task) ID() string {
	if t.Name != "" {
		return t.Name
	}
	return Key(t.Key).String()
}

// size is what a finished task counts for, in bytes: its record, and what that names.
func (t *Task) size() int64 { return int64(t.SizeVT()) + t.blobBytes() }

// Final says whether a task in this status never changes again.
func (s Status) Final() bool { return s >= Status_SUCCESS }

// next returns a copy of t for a transition to change. Slices are shared: a
// transition replaces them, it never writes into them.
func (t *Task) next() *Task {
	return &Task{
		Key: t.Key, Name: t.Name, Type: t.Type, Args: t.Args, Status: t.Status, Priority: t.Priority,
		Retry: t.Retry, Tags: t.Tags, TimeoutMs: t.TimeoutMs, CreatedMs: t.CreatedMs, DueMs: t.DueMs,
		Order: t.Order, Attempt: t.Attempt, Failures: t.Failures, Lost: t.Lost, Place: t.Place,
		AssignedMs: t.AssignedMs, StartedMs: t.StartedMs, FinishedMs: t.FinishedMs,
		Result: t.Result, Error: t.Error, Reason: t.Reason, Past: t.Past,
		Release: t.Release, Log: t.Log, ArgsBlob: t.ArgsBlob, ResultBlob: t.ResultBlob, Owner: t.Owner, Where: t.Where,
	}
}

// WithProgress returns a copy of t that tells how far its attempt is.
func (t *Task) WithProgress(p *Progress) *Task {
	c := t.next()
	c.Progress = p
	return c
}

// maxPast bounds the attempts that a record remembers; the oldest go first.
const maxPast = 20

// endAttempt moves the current attempt into the past. What it keeps of the log entry
// it copies: see newTask.
func (t *Task) endAttempt(now int64, reason, message string) {
	past := t.Past
	if len(past) >= maxPast {
		past = past[len(past)-maxPast+1:]
	}
	t.Past = append(past[:len(past):len(past)], &Past{
		Attempt: t.Attempt, Node: t.Place.GetNode(), StartMs: t.AssignedMs, EndMs: now,
		Reason: strings.Clone(reason), Message: strings.Clone(clip(message, 500)),
	})
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 { // not inside a rune
		n--
	}
	return s[:n] + "..."
}

// assign starts the next attempt at a place.
func (t *Task) assign(now int64, p *Place) {
	t.Status = Status_STARTED
	t.Attempt++
	t.Place = p
	t.AssignedMs = now
}

// end makes t final.
func (t *Task) end(now int64, s Status, reason string) {
	t.Status = s
	t.Reason = reason
	t.FinishedMs = now
}
