package fsm

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

const (
	// A sequence has so many entries, of about 200 commands.
	drawnEntries = 110
	// TestModel runs so many times the sequences that rapid is asked for, 100 by default.
	shards = 20
)

// TestModel draws sequences of commands and applies each to a state, beside the model,
// and to two more that batch, flush, restart, lose what was not written and are replaced
// by snapshots, each at other times. After every entry the state must be the model's, and
// in the end all of them the same.
func TestModel(t *testing.T) {
	var reached coverage
	t.Run("shards", func(t *testing.T) {
		for i := range shards {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				dir, n := fastDir(t), 0
				rapid.Check(t, func(rt *rapid.T) {
					n++
					r := &replay{t: rt, dir: filepath.Join(dir, fmt.Sprint(n)), model: newModel(), reached: &reached}
					defer func() { _ = os.RemoveAll(r.dir) }()
					r.run()
				})
			})
		}
	})
	reached.check(t)
}

// fastDir returns a folder for the time of a test, in memory where the system has one.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fsm")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// coverage counts which outcomes the sequences reached.
type coverage struct {
	mu sync.Mutex
	n  map[string]int // guarded by mu
}

func (c *coverage) add(cmd *Command, out *Outcome) {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", cmd.Kind), "*fsm.Command_")
	if out.Code != Code_OK || out.Status == Status_UNKNOWN {
		kind += " " + out.Code.String()
	} else {
		kind += " " + out.Status.String()
	}
	if out.Count > 0 {
		kind += ", some left"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[kind]++
}

// check tells what was reached, and fails where enough commands left something out: what
// no sequence does is not tested.
func (c *coverage) check(t *testing.T) {
	total := 0
	for _, n := range c.n {
		total += n
	}
	t.Logf("%d commands gave %v", total, c.n)
	if total < 20_000 {
		return
	}
	for _, want := range []string{
		"Submit SCHEDULED", "Submit PENDING", "Submit STARTED", "Submit SUCCESS", "Submit OK", // the last two are answers to a second try
		"Submit ID_TAKEN", "Submit KEY_REUSED", "Submit MISFIT",
		"Assign STARTED", "Assign MISFIT", "Assign NOT_FOUND",
		"Finish SUCCESS", "Finish RETRY", "Finish FAILURE", "Finish STALE", "Finish NOT_FOUND", "Finish MISFIT",
		"Release PENDING", "Release FAILURE", "Release STALE", "Release NOT_FOUND",
		"Cancel REVOKED", "Cancel FINISHED", "Cancel NOT_FOUND", "Tick OK", "Purge OK",
		"NodeUp OK", "NodeUp NAME_TAKEN", "NodeUp MISFIT", "NodeDown OK", "NodeDown STALE", "NodeDown NOT_FOUND",
		"NodeDrain OK", "NodeDrain LAST_NODE", "NodeDrain STALE", "NodeDrain NOT_FOUND", "NodeLabel OK", "NodeLabel MISFIT", "NodeLabel NOT_FOUND", "NodePacks OK", "NodePacks STALE", "NodePacks NOT_FOUND",
		"PackPut OK", "PackPut MISFIT", "PackPut PACK_BUSY", "PackUse OK", "PackUse NOT_FOUND", "Submit NO_PACK",
		"PackRemove OK", "PackRemove OK, some left", "PackRemove PACK_BUSY, some left", "PackRemove NOT_FOUND",
		"UserPut OK", "UserPut MISFIT", "UserPut NOT_FOUND", "UserPut CONFLICT", "UserPut LAST_ADMIN",
		"UserRemove OK", "UserRemove NOT_FOUND", "UserRemove LAST_ADMIN",
		"KeysPut OK", "KeysPut MISFIT", "KeysPut CONFLICT", "SecretPut OK", "SecretPut MISFIT", "SecretPut CONFLICT",
	} {
		if c.n[want] == 0 {
			t.Errorf("of %d commands none gave %s", total, want)
		}
	}
}

// replay is one sequence of TestModel.
type replay struct {
	t       *rapid.T
	dir     string
	folders int
	model   *model
	reached *coverage
	log     []*raft.Log
	outs    [][]*Outcome
}

func (r *replay) run() {
	want := r.write()
	for range 2 {
		if got := r.replica(); !bytes.Equal(got, want) {
			r.t.Fatalf("another snapshot after the same log:\n%s", diffSnapshots(r.t, r.folder(), want, got))
		}
	}
}

func (r *replay) folder() string {
	r.folders++
	dir := filepath.Join(r.dir, fmt.Sprint(r.folders))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatalf("%v", err)
	}
	return dir
}

// write draws a log, entry by entry, against a state that applies it meanwhile, and
// returns the snapshot of that state.
func (r *replay) write() []byte {
	m := openMachine(r.t, r.folder())
	still(m.State)
	defer r.close(m.State)
	c := &comparison{t: r.t, same: map[Key][2]*Task{}}
	r.draw(m, c, drawnEntries)
	checkStore(r.t, m.State, r.model)
	everything := purge(&Purge{FinishedBeforeMs: m.clock + 1e6, Limit: 1e6})
	r.model.begin(m.index+1, m.clock)
	r.entry(m, []*Command{everything}, []*Outcome{r.model.command(everything)})
	c.check(m.State, r.model)
	checkStore(r.t, m.State, r.model)
	return snapshotBytes(r.t, m.State)
}

// draw draws so many entries and applies each to the machine and to the model.
func (r *replay) draw(m *machine, c *comparison, entries int) {
	for range entries {
		m.clock += rapid.Int64Range(-50, 300).Draw(r.t, "ms")
		r.model.begin(m.index+1, m.clock)
		var cmds []*Command
		var want []*Outcome
		for range rapid.IntRange(0, 4).Draw(r.t, "commands") {
			cmds = append(cmds, drawCommand(r.t, r.model))
			want = append(want, r.model.command(cmds[len(cmds)-1]))
		}
		r.entry(m, cmds, want)
		c.steps(m.changes)
		c.check(m.State, r.model)
		if r.maybeFlush(m.State) {
			c.auditLog(m.State, r.model)
		}
	}
}

// entry applies commands as the next entry of the log and checks what they give.
func (r *replay) entry(m *machine, cmds []*Command, want []*Outcome) {
	m.index++
	m.changes = nil
	l := encoded(r.t, m.index, m.clock, cmds...)
	outs := m.FSM().Apply(l).([]*Outcome)
	for i, out := range outs {
		if !proto.Equal(out, want[i]) {
			r.t.Fatalf("entry %d, %v gave %v, want %v", m.index, cmds[i], out, want[i])
		}
		r.reached.add(cmds[i], out)
	}
	r.log, r.outs = append(r.log, l), append(r.outs, outs)
}

// replica applies the log to a fresh state in batches, with something in between: its
// memory is written, it is closed, killed, or a snapshot of it goes on in another state.
// It returns the snapshot in the end.
func (r *replay) replica() []byte {
	dir := r.folder()
	s := r.open(dir)
	defer func() { r.close(s) }()
	for at := 0; at < len(r.log); at = int(s.Applied()) {
		again := rapid.IntRange(0, min(at, 3)).Draw(r.t, "again") // raft may bring what was applied before
		n := rapid.IntRange(1, 30).Draw(r.t, "batch")
		r.apply(s, at-again, min(at+n, len(r.log)))
		switch rapid.SampledFrom([]string{"", "flush", "close", "kill", "snapshot"}).Draw(r.t, "then") {
		case "flush":
			if err := s.flush(); err != nil {
				r.t.Fatalf("flush: %v", err)
			}
		case "close":
			c := &comparison{t: r.t}
			applied, before := s.Applied(), c.walk(s.index)
			r.close(s)
			s = r.open(dir)
			if after := c.walk(s.index); s.Applied() != applied || !maps.Equal(after, before) {
				r.t.Fatalf("reopened at index %d, closed at %d; the index has\n%s\nwant\n%s", s.Applied(), applied, listed(after), listed(before))
			}
		case "kill":
			s.Abandon()
			r.close(s)
			s = r.open(dir)
		case "snapshot":
			snap := snapshotBytes(r.t, s)
			r.close(s)
			dir = r.folder()
			s = r.open(dir)
			r.apply(s, 0, rapid.IntRange(0, at).Draw(r.t, "had before"))
			if err := s.FSM().Restore(readCloser{bytes.NewReader(snap)}); err != nil {
				r.t.Fatalf("Restore: %v", err)
			}
		}
	}
	c := &comparison{t: r.t, same: map[Key][2]*Task{}}
	c.check(s, r.model)
	c.auditLog(s, r.model)
	return snapshotBytes(r.t, s)
}

// apply applies a part of the log in one batch and checks that it gives what it gave
// before.
func (r *replay) apply(s *State, from, to int) {
	for i, out := range s.FSM().ApplyBatch(r.log[from:to]) {
		outs := out.([]*Outcome)
		if want := r.outs[from+i]; outs != nil && !slices.EqualFunc(outs, want, func(x, y *Outcome) bool { return proto.Equal(x, y) }) {
			r.t.Fatalf("entry %d gave %v, want %v", from+i+1, outs, want)
		}
	}
}

func (r *replay) maybeFlush(s *State) bool {
	flush := rapid.IntRange(0, 3).Draw(r.t, "flush") == 0
	if flush {
		if err := s.flush(); err != nil {
			r.t.Fatalf("flush: %v", err)
		}
	}
	return flush
}

// open opens a state whose memtable is written when the test says so.
func (r *replay) open(dir string) *State {
	s := mustOpen(r.t, Config{Dir: dir})
	still(s)
	return s
}

func (r *replay) close(s *State) {
	if !s.mu.TryLock() { // Apply panicked; waiting for it would hide that
		return
	}
	s.mu.Unlock()
	if err := s.Close(); err != nil {
		r.t.Fatalf("Close: %v", err)
	}
}

// diffSnapshots says which records of two snapshots differ.
func diffSnapshots(t failer, dir string, want, got []byte) string {
	var out strings.Builder
	a, b := unpack(t, filepath.Join(dir, "want"), want), unpack(t, filepath.Join(dir, "got"), got)
	for _, key := range slices.Sorted(maps.Keys(a)) {
		if a[key] != b[key] {
			fmt.Fprintf(&out, "- %s = %x\n", key, a[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b)) {
		if v, ok := a[key]; !ok || v != b[key] {
			fmt.Fprintf(&out, "+ %s = %x\n", key, b[key])
		}
	}
	return out.String()
}
