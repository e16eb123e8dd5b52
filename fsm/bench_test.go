package fsm

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// benchEntries returns n log entries of 100 Submits of one placed task each, and
// of the results of the tasks of the entry before: what a busy leader writes. The Submits
// are asked for by actor.
func benchEntries(t failer, first uint64, n int, actor *Actor) []*raft.Log {
	log := make([]*raft.Log, n)
	var last []Key
	for i := range log {
		var cmds []*Command
		keys := make([]Key, 100)
		for j := range keys {
			keys[j] = NewKey(time.Now())
			cmds = append(cmds, submit(&New{
				Key: keys[j][:], Type: "test.add", Args: []byte(`{"a":12345,"b":67890}`), Priority: DefaultPriority,
				TimeoutMs: 60000, Retry: &Retry{MaxAttempts: 3, InitialMs: 1000, Factor: 2, MaxMs: 60000, Jitter: 0.1},
				Place: place(uint32(1+j%2), 1),
			}))
			cmds[len(cmds)-1].Actor = actor
		}
		for _, key := range last {
			cmds = append(cmds, finish(key, 1, `80235`))
		}
		last = keys
		log[i] = encoded(t, first+uint64(i), startClock+int64(i), cmds...)
	}
	return log
}

// BenchmarkApply applies entries of 100 placed tasks and 100 results.
func BenchmarkApply(b *testing.B) {
	for _, bench := range actors {
		b.Run(bench.name, func(b *testing.B) { benchApply(b, bench.actor) })
	}
}

// actors are who asks for what the benchmarks apply.
var actors = []struct {
	name  string
	actor *Actor
}{{"nobody", nil}, {"user", &Actor{Sub: "somebody@example.org", Addr: "2001:db8::1234:5678"}}}

func benchApply(b *testing.B, actor *Actor) {
	m := newCluster(b)
	log := benchEntries(b, m.index+1, b.N, actor)
	m.cfg.Observe = func(Changes) {} // keeps nothing
	fsm := m.FSM()
	b.ReportAllocs()
	b.ResetTimer()
	for _, l := range log {
		fsm.Apply(l)
	}
	b.ReportMetric(float64(100*b.N)/b.Elapsed().Seconds(), "tasks/s")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(100*b.N), "us/task")
}

// BenchmarkFlush writes memtables of flushSize finished tasks.
func BenchmarkFlush(b *testing.B) {
	for _, bench := range actors {
		b.Run(bench.name, func(b *testing.B) { benchFlush(b, bench.actor) })
	}
}

func benchFlush(b *testing.B, actor *Actor) {
	m := newCluster(b)
	m.cfg.Observe = func(Changes) {} // keeps nothing
	still(m.State)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for _, l := range benchEntries(b, m.Applied()+1, flushSize/100, actor) {
			m.FSM().Apply(l)
		}
		b.StartTimer()
		if err := m.flush(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(flushSize/100*100*b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkTaskFinished reads finished tasks from the store.
func BenchmarkTaskFinished(b *testing.B) {
	m := newCluster(b)
	m.changes = nil
	for _, l := range benchEntries(b, m.index+1, 1000, nil) {
		m.FSM().Apply(l)
	}
	m.mustFlush()
	var ids []string
	for _, c := range m.changes {
		for _, t := range c.Tasks {
			if t.New.Status.Final() {
				ids = append(ids, t.New.ID())
			}
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := m.Task(ids[i*7919%len(ids)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad opens a store with a million finished tasks: what is done over all of
// its pages first, and the rest.
func BenchmarkLoad(b *testing.B) {
	if testing.Short() {
		b.Skip("it takes a while to fill")
	}
	const tasks = 1_000_000
	m := newCluster(b)
	m.cfg.Observe = func(Changes) {} // keeps nothing
	for m.Counts().Finished < tasks {
		for _, l := range benchEntries(b, m.Applied()+1, 500, nil) {
			m.FSM().Apply(l)
		}
	}
	m.mustFlush()
	path := killed(b, m.State, b.TempDir()+"/copy") + "/state.db"
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if err := verifyStore(path); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load", func(b *testing.B) { benchLoad(b, path, tasks) })
	b.ReportMetric(float64(m.Size())/float64(m.Counts().Finished), "stored-B/task")
}

func benchLoad(b *testing.B, path string, tasks int) {
	for b.Loop() {
		db, err := openStore(path)
		if err != nil {
			b.Fatal(err)
		}
		s := new(State)
		if err := s.load(db); err != nil {
			b.Fatal(err)
		}
		if s.done.counts[Status_SUCCESS] < tasks {
			b.Fatal(fmt.Errorf("loaded %d tasks", s.done.counts[Status_SUCCESS]))
		}
		if err := db.close(); err != nil {
			b.Fatal(err)
		}
	}
}
