package fsm

import (
	"bytes"
	"maps"
	"strings"
	"testing"
)

// TestPackKey checks what tasks wait by.
func TestPackKey(t *testing.T) {
	for _, tt := range []struct{ kind, release, want string }{
		{"p.f", "", "p"}, {"p.main.f", "", "p"}, {"p", "", "p"}, {"", "", ""},
		{"p.main.f", "1.0+3fa9c1e2b4d5", "p@1.0+3fa9c1e2b4d5"}, {"p", "1", "p@1"},
	} {
		if got := PackKey(tt.kind, tt.release); got != tt.want {
			t.Errorf("PackKey(%q, %q) = %q, want %q", tt.kind, tt.release, got, tt.want)
		}
	}
}

// TestReleaseOfATask follows a task's release from Submit to its end, and what it waits by.
func TestReleaseOfATask(t *testing.T) {
	m := newCluster(t)
	m.gives(Code_NO_PACK, submit(task(1), task(2, released("1"))))
	m.ok(packPut("p", "1"))
	m.gives(Code_NO_PACK, submit(task(1, typed("q.f"), released("1"))))
	first := submit(task(1, released("1")), task(2), task(3, released("1"), delayed(1000)))
	m.ok(first)
	counted := func(pending map[string]int, tasks int) {
		t.Helper()
		if got := m.PendingPacks(); !maps.Equal(got, pending) {
			t.Errorf("PendingPacks = %v, want %v", got, pending)
		}
		if got := m.PackTasks("p@1"); got != tasks {
			t.Errorf("%d tasks need the release, want %d", got, tasks)
		}
	}
	counted(map[string]int{"p": 1, "p@1": 1}, 2)
	var ready []Ready
	m.Pending("p@1", DefaultPriority, 0, func(r Ready) bool { ready = append(ready, r); return true })
	if len(ready) != 1 || ready[0].Key != k(1) || ready[0].Pack != "p@1" || ready[0].Type != "p.f" {
		t.Errorf("%+v waits for the release, want task 1", ready)
	}
	m.ok(assign(k(1), 1, place(1, 1)))
	counted(map[string]int{"p": 1}, 2)
	m.ok(release(k(1), 1, ReasonDrain))
	counted(map[string]int{"p": 1, "p@1": 1}, 2)
	m.ok(assign(k(1), 2, place(2, 1)), finish(k(1), 2, `1`))
	counted(map[string]int{"p": 1}, 1)
	if got := m.get(k(1).String()); got.Release != "1" || got.Status != Status_SUCCESS {
		t.Errorf("the task is %v", got)
	}
	m.ok(cancel(k(3).String()), packRemove(&PackRemove{Name: "p"}), first) // a second try, whatever is installed by now
	counted(map[string]int{"p": 1}, 0)
}

// TestLogOfATask checks what the record keeps of the attempts' logs.
func TestLogOfATask(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, attempts(3), at(place(1, 1)))))
	has := func(want string) {
		t.Helper()
		if got := m.get(k(1).String()).Log; string(got) != want {
			t.Errorf("the log has %d bytes %.20q, want %d bytes %.20q", len(got), got, len(want), want)
		}
	}
	m.ok(fail(k(1), 1, logged([]byte("first"))))
	has("first")
	if got, want := m.Counts().LiveBytes, int64(len(`{"x":1}`)+len("first")); got != want {
		t.Errorf("unfinished tasks have %d bytes, want %d", got, want)
	}
	m.ok(assign(k(1), 2, place(1, 1)), release(k(1), 2, ReasonDrain), assign(k(1), 3, place(1, 1)))
	has("first") // until another attempt tells of its own
	m.ok(fail(k(1), 3))
	has("")
	end := strings.Repeat("e", maxLog)
	before := m.Counts().FinishedBytes
	m.ok(assign(k(1), 4, place(1, 1)), finish(k(1), 4, `1`, logged([]byte("start"+end))))
	has(end)
	if got := m.Counts().FinishedBytes - before; got < maxLog {
		t.Errorf("a finished task with a log of %d bytes counts %d", maxLog, got)
	}
}

// TestLogIsBounded checks that logs count where memory is bounded.
func TestLogIsBounded(t *testing.T) {
	m := newCluster(t)
	still(m.State)
	m.ok(submit(task(1, attempts(2), at(place(1, 1))), task(2, attempts(2), at(place(1, 1)))))
	m.ok(fail(k(1), 1, logged(bytes.Repeat([]byte("l"), maxLog))), fail(k(2), 1, logged([]byte("l"))))
	if m.active.bytes < maxLog {
		t.Errorf("a log of %d bytes counts %d bytes of the memtable", maxLog, m.active.bytes)
	}
	if m.State.index.tasks[k(1)].record != nil || m.State.index.tasks[k(2)].record == nil {
		t.Error("the index holds the record with the large log, or not the one with the small log")
	}
}
