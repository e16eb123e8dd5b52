//go:build failpoints

package failpoint

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestArmed: only the hit that was named fails, hits count from the arming, and a file
// that is written anew arms other points.
func TestArmed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings")
	synctest.Test(t, func(t *testing.T) {
		p := &points{setting: "@" + file}
		arm := func(text string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(lookEvery)
		}
		want := func(name string, want error) {
			t.Helper()
			if got := p.hit(name); !errors.Is(got, want) {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
		want("fsm.flush.before", nil) // there is no file
		arm("fsm.flush.before=error@2; raft.append.before=error")
		want("fsm.flush.before", nil)
		want("fsm.flush.before", ErrArmed)
		want("fsm.flush.before", nil)
		want("raft.append.before", ErrArmed)
		want("raft.append.before", ErrArmed)
		want("fsm.flush.after", nil)
		arm("fsm.flush.before=error@1")
		want("fsm.flush.before", ErrArmed)
		want("raft.append.before", nil)

		arm("fsm.flush.after=sleep:2s")
		start := time.Now()
		want("fsm.flush.after", nil)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("sleep:2s took %s", took)
		}
	})
}

// TestParseRefuses: a setting that would arm nothing is an error.
func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"kill", "no.such.point=kill", "fsm.flush.after=burn", "fsm.flush.after=sleep:soon", "fsm.flush.after=kill@x"} {
		if armed, err := parse(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, armed)
		}
	}
}
