package fsm

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// forgetNothing is a Purge that finds nothing too old or too much. Tests lower
// one limit.
func forgetNothing() *Purge {
	return &Purge{MaxCount: math.MaxUint64, MaxBytes: math.MaxUint64, Limit: math.MaxUint32}
}

// finished is a machine with tasks 1 to n finished in that order, one each
// second, task 1 named "first", and task n+1 unfinished.
func finishedTasks(t testing.TB, n int) *machine {
	m := newCluster(t)
	for i := 1; i <= n; i++ {
		nt := task(i, at(place(1, 1)))
		if i == 1 {
			nt.Name = "first"
		}
		m.ok(submit(nt), finish(k(i), 1, `1`))
		m.clock += 1000
	}
	m.ok(submit(task(n + 1)))
	return m
}

// kept returns which of the tasks 1 to n there are.
func (m *machine) kept(n int) (kept []int) {
	m.t.Helper()
	for i := 1; i <= n; i++ {
		t, err := m.TaskByKey(k(i))
		if err != nil {
			m.t.Fatalf("TaskByKey: %v", err)
		}
		if t != nil {
			kept = append(kept, i)
		}
	}
	return kept
}

// TestPurgeTasks checks which finished tasks are forgotten.
func TestPurgeTasks(t *testing.T) {
	tests := []struct {
		name  string
		lower func(p *Purge, size uint64) // size of one record
		want  []int
	}{
		{"nothing", func(*Purge, uint64) {}, []int{1, 2, 3, 4, 5}},
		{"age", func(p *Purge, _ uint64) { p.FinishedBeforeMs = startClock + 2000 }, []int{3, 4, 5}},
		{"age, all but the unfinished", func(p *Purge, _ uint64) { p.FinishedBeforeMs = math.MaxInt64 }, []int{5}},
		{"count", func(p *Purge, _ uint64) { p.MaxCount = 1 }, []int{4, 5}},
		{"bytes", func(p *Purge, size uint64) { p.MaxBytes = 2 * size }, []int{3, 4, 5}},
		{"bytes, one short", func(p *Purge, size uint64) { p.MaxBytes = 2*size - 1 }, []int{4, 5}},
		{"limit", func(p *Purge, _ uint64) { p.MaxCount, p.Limit = 0, 2 }, []int{3, 4, 5}},
		{"limit 0", func(p *Purge, _ uint64) { p.MaxCount, p.Limit = 0, 0 }, []int{1, 2, 3, 4, 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := finishedTasks(t, 4)
			p := forgetNothing()
			tt.lower(p, uint64(m.get(k(4).String()).SizeVT()))
			for _, when := range []string{"once", "twice"} {
				if when == "twice" && tt.name == "limit" {
					break // it would forget two more
				}
				m.ok(purge(p))
				if got := m.kept(5); !slices.Equal(got, tt.want) {
					t.Fatalf("%s: kept %v, want %v", when, got, tt.want)
				}
				c, size := m.Counts(), int64(0)
				for _, i := range tt.want[:len(tt.want)-1] {
					rec, _ := m.TaskByKey(k(i))
					size += int64(rec.SizeVT())
				}
				if c.Finished != len(tt.want)-1 || c.Tasks[Status_SUCCESS] != c.Finished || c.FinishedBytes != size || c.Live != 1 {
					t.Errorf("%s: counts are %+v, want %d finished of %d bytes", when, c, len(tt.want)-1, size)
				}
				m.mustFlush()
			}
		})
	}
}

// TestPurgeFreesNames checks that the id of a forgotten task, and its key, may be
// used again, whether the store has been written meanwhile or not.
func TestPurgeFreesNames(t *testing.T) {
	for name, flush := range map[string]func(*machine){"memtable": func(*machine) {}, "flushed": (*machine).mustFlush} {
		t.Run(name, func(t *testing.T) {
			m := finishedTasks(t, 1)
			p := forgetNothing()
			p.MaxCount = 0
			m.ok(purge(p))
			flush(m)
			for _, id := range []string{"first", k(1).String()} {
				if got, err := m.Task(id); !errors.Is(err, ErrNotFound) {
					t.Errorf("Task(%s) = %v, %v; want %v", id, got, err, ErrNotFound)
				}
			}
			m.gives(Code_NOT_FOUND, cancel("first"))
			m.ok(submit(task(1))) // the late second try of a forgotten Submit makes a new task, without its name
			m.gives(Code_NOT_FOUND, cancel("first"))
			m.ok(submit(task(7, named("first"))))
			m.mustFlush()
			m.is(Status_PENDING, 0, k(1), k(7))
			if got := Key(m.get("first").Key); got != k(7) {
				t.Errorf("the name leads to %s, want %s", got, k(7))
			}
			if page, err := m.List(Filter{}); err != nil || len(page.Tasks) != 3 {
				t.Errorf("List has %v, %v; want three tasks, each once", page.Tasks, err)
			}
		})
	}
}

// TestPurgeTwiceInAnEntry checks that the second goes on where the first ended,
// and lets alone what came between.
func TestPurgeTwiceInAnEntry(t *testing.T) {
	m := finishedTasks(t, 4)
	p := forgetNothing()
	p.MaxCount, p.Limit = 0, 1
	m.do(purge(p), submit(task(1)), purge(p), finish(k(9), 1, ``))
	if got, want := m.kept(5), []int{1, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	m.is(Status_PENDING, 0, k(1))
	if got := m.Counts(); got.Finished != 2 || got.Live != 2 {
		t.Errorf("counts are %+v", got)
	}
}

// TestPurgeSeesTheEntryBefore checks that what was finished a moment ago counts.
func TestPurgeSeesTheEntryBefore(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, at(place(1, 1))), task(2)), finish(k(1), 1, `1`))
	p := forgetNothing()
	p.MaxCount = 0
	m.do(cancel(k(2).String()), purge(p)) // the cancelled one is in the same entry: the next Purge takes it
	if got, want := m.kept(2), []int{2}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	m.ok(purge(p))
	if got := m.kept(2); got != nil {
		t.Errorf("kept %v, want none", got)
	}
	if fin, _ := m.Oldest(); fin != 0 {
		m.mustFlush()
		if fin, _ := m.Oldest(); fin != 0 {
			t.Errorf("the oldest finished task is of %d, want none", fin)
		}
	}
}

// TestPurgeKeys checks that lapsed Idempotency-Keys are forgotten, and no others.
func TestPurgeKeys(t *testing.T) {
	m := newCluster(t)
	m.ok(keyed("a", "h", 1000, task(1)), keyed("b", "h", 2000, task(2)), keyed("c", "h", 1000, task(3)))
	m.mustFlush()
	m.clock += 1500
	m.ok(keyed("a", "h", 5000, task(4))) // given out again
	remembers := func() (keys []string) {
		m.mustFlush()
		for _, key := range []string{"a", "b", "c"} {
			if r, err := m.remembered(key); err != nil {
				t.Fatal(err)
			} else if r != nil {
				keys = append(keys, key)
			}
		}
		return keys
	}
	if got, want := remembers(), []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Fatalf("remembers %v, want %v", got, want)
	}
	if _, first := m.Oldest(); first != startClock+1000 {
		t.Errorf("the first key lapses at %d, want %d", first, startClock+1000)
	}
	p := forgetNothing()
	m.ok(purge(p))
	if got, want := remembers(), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("remembers %v, want %v", got, want)
	}
	m.clock = startClock + 2000
	p.Limit = 0
	m.ok(purge(p))
	if got, want := remembers(), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("remembers %v after a Purge of none, want %v", got, want)
	}
	p.Limit = 1
	m.ok(purge(p))
	if got, want := remembers(), []string{"a"}; !slices.Equal(got, want) {
		t.Errorf("remembers %v, want %v", got, want)
	}
	m.clock = startClock + 6500
	m.ok(purge(p))
	if got := remembers(); got != nil {
		t.Errorf("remembers %v, want none", got)
	}
	if _, first := m.Oldest(); first != 0 {
		t.Errorf("a key is left that lapses at %d", first)
	}
}

// TestPurgeFailed checks that nothing is left of forgotten tasks that failed or
// were cancelled.
func TestPurgeFailed(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, at(place(1, 1))), task(2)), fail(k(1), 1), cancel(k(2).String()))
	m.mustFlush()
	p := forgetNothing()
	p.MaxCount = 0
	m.ok(purge(p))
	snap := unpack(t, t.TempDir()+"/db", snapshotBytes(t, m.State))
	for key := range snap {
		if !strings.HasPrefix(key, string(bucketMeta)) && !strings.HasPrefix(key, string(bucketNodes)) {
			t.Errorf("the store still has %s", key)
		}
	}
	if c := m.Counts(); c != (Counts{}) {
		t.Errorf("counts are %+v, want none", c)
	}
}
