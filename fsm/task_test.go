package fsm

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestNewKey checks that keys are UUIDs of version 7 that sort by their time, to the
// fraction of a millisecond.
func TestNewKey(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 999_999_000, time.UTC)
	var last Key
	for i := range 1000 {
		k := NewKey(now)
		u := uuid.UUID(k)
		if u.Version() != 7 || u.Variant() != uuid.RFC4122 {
			t.Fatalf("key %s has version %d and variant %d", k, u.Version(), u.Variant())
		}
		if sec, ns := u.Time().UnixTime(); sec*1000+ns/1e6 != now.UnixMilli() {
			t.Fatalf("key %s has the time %d ms, want %d", k, sec*1000+ns/1e6, now.UnixMilli())
		}
		if bytes.Compare(k[:], last[:]) <= 0 {
			t.Fatalf("key %d, %s, does not sort behind %s", i, k, last)
		}
		last, now = k, now.Add(time.Microsecond)
	}
}
