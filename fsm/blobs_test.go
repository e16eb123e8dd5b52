package fsm

import (
	"fmt"
	"strings"
	"testing"
)

// hasBlobs checks which blobs tasks refer to: "a 5, b 7", once for each that does.
func (m *machine) hasBlobs(want string) {
	m.t.Helper()
	var got []string
	err := m.EachBlob(func(digest []byte, size int64) {
		got = append(got, fmt.Sprintf("%s %d", strings.TrimRight(string(digest), "\x00"), size))
	})
	if err != nil {
		m.t.Fatalf("EachBlob: %v", err)
	}
	if got := strings.Join(got, ", "); got != want {
		m.t.Errorf("tasks refer to the blobs %q, want %q", got, want)
	}
}

// TestBlobsOfATask follows what refers to a blob: tasks, from the command that names it
// until they are forgotten.
func TestBlobsOfATask(t *testing.T) {
	m := newCluster(t)
	m.hasBlobs("")
	m.ok(submit(task(1, large("a", 70_000), at(place(1, 1))), task(2, large("a", 70_000)), task(3)))
	m.hasBlobs("a 70000, a 70000")
	if got := m.get(k(1).String()); got.ArgsBlob.Size != 70_000 || len(got.Args) > 0 {
		t.Errorf("the task is %v", got)
	}
	m.ok(release(k(1), 1, ReasonDrain), assign(k(1), 2, place(1, 1)), finishLarge(k(1), 2, blobOf("b", 90_000)))
	m.hasBlobs("a 70000, a 70000, b 90000")
	m.mustFlush()
	m.clock += 10
	m.ok(cancel(k(2).String()))
	m.hasBlobs("a 70000, a 70000, b 90000") // who asks for the task sees its arguments
	m.ok(purge(&Purge{MaxCount: 1, MaxBytes: 1 << 40, Limit: 10}))
	m.hasBlobs("a 70000")
	m.ok(purge(&Purge{MaxBytes: 1 << 40, Limit: 10}))
	m.hasBlobs("")
	m.is(Status_PENDING, 0, k(3))
}

// TestBlobsCount: what the queue and the finished tasks are bounded by counts their blobs.
func TestBlobsCount(t *testing.T) {
	m := newCluster(t)
	m.ok(submit(task(1, large("a", 1<<20), at(place(1, 1)))))
	if got := m.Counts().LiveBytes; got != 1<<20 {
		t.Errorf("%d bytes are queued, want %d", got, 1<<20)
	}
	m.ok(finishLarge(k(1), 1, blobOf("b", 2<<20)))
	record := m.get(k(1).String())
	want := int64(record.SizeVT() + 3<<20)
	if c := m.Counts(); c.LiveBytes != 0 || c.FinishedBytes != want {
		t.Errorf("%d bytes are queued and %d finished, want 0 and %d", c.LiveBytes, c.FinishedBytes, want)
	}
	m.clock += 10
	m.ok(submit(task(2, at(place(1, 1)))), finish(k(2), 1, "1"))
	m.ok(purge(&Purge{MaxCount: 9, MaxBytes: 2 << 20, Limit: 10})) // the blobs alone are too much
	if got, err := m.TaskByKey(k(1)); got != nil || err != nil {
		t.Errorf("the large task is still there: %v, %v", got, err)
	}
	m.is(Status_SUCCESS, 1, k(2))
}

// TestBlobsRefused: a command names a blob in full, and in the place of bytes.
func TestBlobsRefused(t *testing.T) {
	m := newCluster(t)
	both := large("a", 5)
	for _, bad := range []func(*New){
		large("a", 0), large("a", -1),
		func(n *New) { n.ArgsBlob = &Blob{Digest: []byte("short"), Size: 1}; n.Args = nil },
		func(n *New) { both(n); n.Args = []byte("{}") },
	} {
		m.gives(Code_MISFIT, submit(task(1, bad)))
	}
	m.ok(submit(task(1, at(place(1, 1)))))
	m.gives(Code_MISFIT, finishLarge(k(1), 1, &Blob{Digest: []byte("short"), Size: 1}))
	m.ok(fail(k(1), 1, func(f *Finish) { f.ResultBlob = blobOf("a", 5) })) // a failure has no result
	m.hasBlobs("")

	m.ok(submit(task(2, named("mine"), large("a", 5))), submit(task(3, named("mine"), large("a", 5)))) // sent again
	m.gives(Code_ID_TAKEN, submit(task(3, named("mine"), large("b", 5))))
	m.hasBlobs("a 5")
}
