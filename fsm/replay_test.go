package fsm

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// TestReplay draws logs and applies each to several states that flush, restart
// and batch differently. All must end with the same snapshot and must have given
// the same outcomes, and after every entry the invariants must hold.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	n := 0
	checks := flag.Lookup("rapid.checks")
	if checks.Value.String() == checks.DefValue { // not asked for on the command line
		if err := flag.Set("rapid.checks", "100"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = flag.Set("rapid.checks", checks.DefValue) }()
	}
	rapid.Check(t, func(rt *rapid.T) {
		n++
		run := filepath.Join(dir, fmt.Sprint(n))
		defer func() { _ = os.RemoveAll(run) }()
		r := &replay{t: rt, dir: run}
		log, outs := r.write(rapid.IntRange(1, 40).Draw(rt, "entries"))
		want := r.snapshot
		for _, replica := range []struct {
			name string
			run  func(log []*raft.Log) (snapshot []byte, outs [][]*Outcome)
		}{
			{"batches", r.batches}, {"reopened", r.reopened}, {"killed", r.killed}, {"restored", r.restored},
		} {
			got, gotOuts := replica.run(log)
			if !bytes.Equal(got, want) {
				rt.Fatalf("%s: another snapshot after the same log:\n%s", replica.name, diffSnapshots(rt, r.folder(), want, got))
			}
			for i := range outs {
				if gotOuts[i] != nil && !equalOutcomes(gotOuts[i], outs[i]) {
					rt.Fatalf("%s: entry %d gave %v, want %v", replica.name, i+1, gotOuts[i], outs[i])
				}
			}
		}
	})
}

// replay is one run of TestReplay.
type replay struct {
	t        *rapid.T
	dir      string
	folders  int
	snapshot []byte // of the state that was written to first
}

func (r *replay) folder() string {
	r.folders++
	dir := filepath.Join(r.dir, fmt.Sprint(r.folders))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatalf("%v", err)
	}
	return dir
}

// write draws a log, entry by entry, against a state that applies it meanwhile.
func (r *replay) write(entries int) (log []*raft.Log, outs [][]*Outcome) {
	m := openMachine(r.t, r.folder())
	still(m.State)
	defer r.close(m.State)
	inv := &invariants{t: r.t, tasks: map[Key]*Task{}}
	for range entries {
		m.clock += rapid.Int64Range(-50, 300).Draw(r.t, "ms")
		cmds := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) *Command { return drawCommand(rt, m) }), 1, 4).Draw(r.t, "commands")
		m.index++
		l := encoded(r.t, m.index, m.clock, cmds...)
		log = append(log, l)
		m.changes = nil
		outs = append(outs, m.FSM().Apply(l).([]*Outcome))
		inv.check(m)
		r.maybeFlush(m.State)
	}
	r.snapshot = snapshotBytes(r.t, m.State)
	return log, outs
}

// batches applies the log to a fresh state in batches.
func (r *replay) batches(log []*raft.Log) ([]byte, [][]*Outcome) {
	s := r.open(r.folder())
	defer r.close(s)
	var outs [][]*Outcome
	for len(log) > 0 {
		n := rapid.IntRange(1, len(log)).Draw(r.t, "batch")
		for _, out := range s.FSM().ApplyBatch(log[:n]) {
			outs = append(outs, out.([]*Outcome))
		}
		log = log[n:]
		r.maybeFlush(s)
	}
	return snapshotBytes(r.t, s), outs
}

// reopened closes the state in the middle and opens it again; raft then applies
// the log from some earlier entry on.
func (r *replay) reopened(log []*raft.Log) ([]byte, [][]*Outcome) {
	dir, mid := r.folder(), rapid.IntRange(0, len(log)).Draw(r.t, "closed after")
	s := r.open(dir)
	outs := r.apply(s, log[:mid])
	before := dumpIndex(s.index)
	r.close(s)
	s = r.open(dir)
	defer r.close(s)
	if got := dumpIndex(s.index); got != before {
		r.t.Fatalf("the index that load made:\n%s\nwant the one before:\n%s", got, before)
	}
	if s.Applied() != uint64(mid) {
		r.t.Fatalf("reopened at index %d, want %d", s.Applied(), mid)
	}
	r.apply(s, log[rapid.IntRange(0, mid).Draw(r.t, "again from"):mid])
	return r.finish(s, outs, log[mid:])
}

// killed goes on with what is on disk in the middle, and replays the rest.
func (r *replay) killed(log []*raft.Log) ([]byte, [][]*Outcome) {
	s := r.open(r.folder())
	outs := r.apply(s, log[:rapid.IntRange(0, len(log)).Draw(r.t, "killed after")])
	dir := killed(r.t, s, filepath.Join(r.folder(), "left"))
	r.close(s)
	s = r.open(dir)
	defer r.close(s)
	mid := s.Applied()
	return r.finish(s, outs[:mid], log[mid:])
}

// restored streams a snapshot in the middle into another state, which had
// something else in it.
func (r *replay) restored(log []*raft.Log) ([]byte, [][]*Outcome) {
	mid := rapid.IntRange(0, len(log)).Draw(r.t, "snapshot after")
	s := r.open(r.folder())
	outs := r.apply(s, log[:mid])
	snap := snapshotBytes(r.t, s)
	r.close(s)
	s = r.open(r.folder())
	defer r.close(s)
	r.apply(s, log[:rapid.IntRange(0, mid).Draw(r.t, "had before")])
	if err := s.FSM().Restore(readCloser{bytes.NewReader(snap)}); err != nil {
		r.t.Fatalf("Restore: %v", err)
	}
	return r.finish(s, outs, log[mid:])
}

func (r *replay) apply(s *State, log []*raft.Log) (outs [][]*Outcome) {
	for _, l := range log {
		outs = append(outs, s.FSM().Apply(l).([]*Outcome))
		r.maybeFlush(s)
	}
	return outs
}

func (r *replay) finish(s *State, outs [][]*Outcome, rest []*raft.Log) ([]byte, [][]*Outcome) {
	outs = append(outs, r.apply(s, rest)...)
	return snapshotBytes(r.t, s), outs
}

func (r *replay) maybeFlush(s *State) {
	if rapid.IntRange(0, 3).Draw(r.t, "flush") == 0 {
		if err := s.flush(); err != nil {
			r.t.Fatalf("flush: %v", err)
		}
	}
}

// open opens a state whose memtable is written when the test says so.
func (r *replay) open(dir string) *State {
	s := mustOpen(r.t, Config{Dir: dir})
	still(s)
	return s
}

func (r *replay) close(s *State) {
	if err := s.Close(); err != nil {
		r.t.Fatalf("Close: %v", err)
	}
}

func equalOutcomes(a, b []*Outcome) bool {
	return slices.EqualFunc(a, b, func(x, y *Outcome) bool { return proto.Equal(x, y) })
}

// Few of each, so that commands meet.
const (
	drawnKeys  = 12
	drawnNodes = 3
)

// drawCommand draws a command that fits the state more often than not.
func drawCommand(rt *rapid.T, m *machine) *Command {
	places := []*Place{nil, place(1, 1), place(2, 2), place(9, 1)}
	for _, n := range m.Nodes() {
		places = append(places, place(n.Number, n.Boot), place(n.Number, n.Boot), place(n.Number, n.Boot))
	}
	somewhere := rapid.SampledFrom(places)
	reason := rapid.SampledFrom([]string{ReasonError, ReasonWorkerLost, ReasonWorkerLost, ReasonDrain, ReasonNotStarted})
	key, attempt := drawTask(rt, m)
	switch rapid.SampledFrom([]int{1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 6, 7, 8, 8, 9, 10}).Draw(rt, "command") {
	case 1:
		tasks := rapid.SliceOfNDistinct(rapid.Custom(func(rt *rapid.T) *New { return drawNew(rt, somewhere) }), 1, 3,
			func(n *New) string { return string(n.Key) }).Draw(rt, "tasks")
		return keyed(rapid.SampledFrom([]string{"", "", "", "once", "twice"}).Draw(rt, "idempotency key"),
			rapid.SampledFrom([]string{"hash", "hash", "other"}).Draw(rt, "hash"), rapid.Int64Range(0, 600).Draw(rt, "keep"), tasks...)
	case 2:
		return assign(key, attempt+1, somewhere.Draw(rt, "place"))
	case 3:
		if rapid.Bool().Draw(rt, "success") {
			return finish(key, attempt, "3")
		}
		return fail(key, attempt, retryIn(rapid.Int64Range(-1, 400).Draw(rt, "retry in")), func(f *Finish) {
			f.Permanent = rapid.IntRange(0, 5).Draw(rt, "permanent") == 0
		})
	case 4:
		return release(key, attempt, reason.Draw(rt, "reason"))
	case 5:
		return cancel(rapid.SampledFrom([]string{key.String(), key.String(), "a", "b", "none"}).Draw(rt, "id"))
	case 6:
		return tick(rapid.Uint32Range(0, 4).Draw(rt, "limit"))
	case 7:
		return purge(&Purge{
			FinishedBeforeMs: m.clock - rapid.Int64Range(0, 2000).Draw(rt, "age"),
			MaxCount:         rapid.Uint64Range(0, 6).Draw(rt, "count"), MaxBytes: rapid.Uint64Range(0, 600).Draw(rt, "bytes"),
			Limit: rapid.Uint32Range(0, 5).Draw(rt, "limit"),
		})
	case 8:
		n := rapid.IntRange(1, drawnNodes).Draw(rt, "node")
		return up(fmt.Sprint("id", n), rapid.SampledFrom([]string{fmt.Sprint("name", n), "name0"}).Draw(rt, "name"),
			rapid.Uint64Range(1, 6).Draw(rt, "boot"))
	case 9:
		return down(somewhere.Draw(rt, "place"), reason.Draw(rt, "reason"), rapid.IntRange(0, 3).Draw(rt, "forget") == 0)
	default:
		return drain(somewhere.Draw(rt, "place"), rapid.Bool().Draw(rt, "draining"))
	}
}

// drawTask draws a task, and its current attempt or another one.
func drawTask(rt *rapid.T, m *machine) (Key, uint32) {
	key := k(rapid.IntRange(1, drawnKeys).Draw(rt, "key"))
	live := slices.SortedFunc(maps.Keys(m.index2().tasks), func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
	if len(live) > 0 && rapid.IntRange(0, 4).Draw(rt, "live") > 0 {
		key = rapid.SampledFrom(live).Draw(rt, "live key")
	}
	attempt := rapid.Uint32Range(0, 3).Draw(rt, "attempt")
	if l := m.index2().tasks[key]; l != nil && rapid.IntRange(0, 4).Draw(rt, "current") > 0 {
		attempt = l.attempt
	}
	return key, attempt
}

func drawNew(rt *rapid.T, somewhere *rapid.Generator[*Place]) *New {
	n := task(rapid.IntRange(1, drawnKeys).Draw(rt, "new key"))
	n.Name = rapid.SampledFrom([]string{"", "", "", "a", "b"}).Draw(rt, "name")
	n.Type = rapid.SampledFrom([]string{"p.f", "p.g", "q.f"}).Draw(rt, "type")
	n.Args = []byte(strings.Repeat("x", rapid.SampledFrom([]int{0, 7, 30, maxRecordArgs + 1}).Draw(rt, "args"))) // the last is not held in memory
	n.Priority = rapid.Uint32Range(0, MaxPriority+1).Draw(rt, "priority")
	n.Tags = rapid.SampledFrom([][]string{nil, {"t"}}).Draw(rt, "tags")
	n.DelayMs = rapid.SampledFrom([]int64{0, 0, 0, 100, 500}).Draw(rt, "delay")
	n.EtaMs = rapid.SampledFrom([]int64{0, 0, 0, startClock + 700}).Draw(rt, "eta")
	n.Retry = rapid.SampledFrom([]*Retry{nil, {MaxAttempts: 2}, {MaxAttempts: 5}}).Draw(rt, "retry")
	n.Place = somewhere.Draw(rt, "place")
	return n
}

// index2 is the index of the unfinished tasks; machine.index is the log's.
func (m *machine) index2() *index { return m.State.index }

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
