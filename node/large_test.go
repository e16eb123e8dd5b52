package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/cluster/blob"
	"pytasks/fsm"
)

// logOf is a log that takes every command, and is shown each before.
type logOf func(*fsm.Command)

func (l logOf) Do(_ context.Context, cmds []*fsm.Command) ([]*fsm.Outcome, error) {
	outs := make([]*fsm.Outcome, len(cmds))
	for i, c := range cmds {
		l(c)
		outs[i] = &fsm.Outcome{}
	}
	return outs, nil
}

// queue returns a queue over a log that runs until the test ends.
func (r *blobRoom) queue(l logOf) *fsm.Queue {
	q := fsm.NewQueue(l, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(r.t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = q.Run(ctx) })
	r.t.Cleanup(func() { stop(); done.Wait() })
	return q
}

func taskOf(size int) *fsm.New {
	key := fsm.NewKey(time.Now())
	return &fsm.New{Key: key[:], Args: bytes.Repeat([]byte("x"), size)}
}

// TestSubmitLarge: what is too large for the log is on the disks of a majority when the log hears of it;
// if it cannot be, the log hears nothing.
func TestSubmitLarge(t *testing.T) {
	r := newBlobRoom(t)
	var logged []*fsm.New
	queue := r.queue(func(c *fsm.Command) {
		for _, n := range c.GetSubmit().Tasks {
			logged = append(logged, n)
			if n.ArgsBlob == nil {
				continue
			}
			copies := 0
			for _, b := range r.nodes {
				if b.Store.Has(blob.Digest(n.ArgsBlob.Digest)) {
					copies++
				}
			}
			if copies < 2 {
				t.Errorf("the log names a blob that is on %d disks", copies)
			}
		}
	})
	records := &tasks{Queue: queue, blobs: r.nodes["a"]}
	submit := func(tasks ...*fsm.New) error {
		logged = nil
		_, err := records.Submit(t.Context(), &fsm.Submit{Tasks: tasks})
		return err
	}
	r.down["c"] = true
	if err := submit(taskOf(maxInline), taskOf(maxInline+1), taskOf(10), taskOf(1<<20)); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{0, maxInline + 1, 0, 1 << 20} {
		if n := logged[i]; n.ArgsBlob.GetSize() != int64(size) || (size > 0) != (len(n.Args) == 0) {
			t.Errorf("task %d has %d bytes of args and the blob %v, want one of %d", i, len(n.Args), n.ArgsBlob, size)
		}
	}
	f, err := records.Blob(t.Context(), logged[3].ArgsBlob)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(f)
	if f.Close(); err != nil || !bytes.Equal(content, bytes.Repeat([]byte("x"), 1<<20)) {
		t.Errorf("the blob has %d bytes, or other ones, %v", len(content), err)
	}

	r.down["b"] = true
	if err := submit(taskOf(10), taskOf(100_000)); !errors.Is(err, fsm.ErrNoLeader) || logged != nil {
		t.Errorf("without a majority: %v, and %d tasks in the log", err, len(logged))
	}
	r.down["b"] = false
	r.nodes["a"].disk.low.Store(true)
	if err := submit(taskOf(100_000)); !errors.Is(err, fsm.ErrDiskFull) || logged != nil {
		t.Errorf("on a disk that is nearly full: %v, and %d tasks in the log", err, len(logged))
	}
	var many []*fsm.New
	for range 400 {
		many = append(many, taskOf(maxInline))
	}
	var coded interface{ Code() string }
	if err := submit(many...); !errors.As(err, &coded) || coded.Code() != "too_large" || !strings.Contains(err.Error(), "send it in parts") || logged != nil {
		t.Errorf("25 MiB for the log: %v, and %d tasks in it", err, len(logged))
	}
	if err := submit(many[:300]...); err != nil || len(logged) != 300 {
		t.Errorf("19 MiB for the log: %v, and %d tasks in it", err, len(logged))
	}
}

// TestFinishLarge: a large result is on the disks of a majority before its outcome is reported,
// however long that takes.
func TestFinishLarge(t *testing.T) { synctest.Test(t, testFinishLarge) }

func testFinishLarge(t *testing.T) {
	r := newBlobRoom(t)
	logged := make(chan *fsm.Finish, 2)
	r.down["b"], r.down["c"] = true, true
	reports := &reports{r.queue(func(c *fsm.Command) { logged <- c.GetFinish() }), r.nodes["a"]}
	named, err := r.nodes["a"].keep([]byte("result"))
	if err != nil {
		t.Fatal(err)
	}
	finished := make(chan error, 1)
	go func() { finished <- reports.Finish(t.Context(), &fsm.Finish{ResultBlob: named}) }()
	time.Sleep(time.Minute)
	if len(logged) > 0 {
		t.Error("the log names a result that is on one disk")
	}
	r.change(func() { r.down["b"] = false })
	if err := <-finished; err != nil {
		t.Fatal(err)
	}
	if f := <-logged; f.ResultBlob != named {
		t.Errorf("reported %v", f)
	}
	r.has(blob.Digest(named.Digest), "a", "b")

	r.change(func() { r.down["b"] = true })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := reports.Finish(ctx, &fsm.Finish{ResultBlob: named}); err == nil || len(logged) > 0 {
		t.Errorf("a result of a node that stops: %v, and %d in the log", err, len(logged))
	}
}
