package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/cluster/blob"
	"pytasks/fsm"
)

// roomyDisk returns a disk with a reserve of 2 MiB, and much more free.
func roomyDisk() *disk {
	d := &disk{floor: 2 << 20}
	d.free.Store(1 << 40)
	return d
}

// blobRoom is the blobs of three nodes that vote, over a state that the test writes.
type blobRoom struct {
	t     *testing.T
	nodes map[string]*blobs
	down  map[string]bool

	mu     sync.Mutex
	named  map[blob.Digest]int64 // guarded by mu
	packs  []*fsm.Pack           // guarded by mu
	voters []string              // guarded by mu
}

func newBlobRoom(t *testing.T) *blobRoom {
	r := &blobRoom{t: t, nodes: map[string]*blobs{}, down: map[string]bool{}, named: map[blob.Digest]int64{}, voters: []string{"a", "b", "c"}}
	for _, id := range r.voters {
		store, err := blob.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		b := newBlobs(store, r, id, roomyDisk(), slog.New(slog.DiscardHandler))
		b.holds = func(blob.Digest) bool { return false }
		b.caught = func(context.Context) error { return nil }
		b.voters = r.voting
		b.Others = func() []string {
			return slices.DeleteFunc([]string{"a", "b", "c"}, func(other string) bool { return other == id })
		}
		b.Call = func(ctx context.Context, to, method string, body []byte) ([]byte, error) {
			r.mu.Lock()
			down := r.down[to]
			r.mu.Unlock()
			if down {
				return nil, fmt.Errorf("%s is down", to)
			}
			return r.nodes[to].Handlers()[method](ctx, id, body)
		}
		r.nodes[id] = b
	}
	return r
}

func (r *blobRoom) voting() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.voters
}

func (r *blobRoom) EachBlob(f func([]byte, int64)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d, size := range r.named {
		f(d[:], size)
	}
	return nil
}

func (r *blobRoom) Packs() []*fsm.Pack {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.packs
}

// change changes the state.
func (r *blobRoom) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// put stores text at a node.
func (r *blobRoom) put(id, text string) blob.Digest {
	r.t.Helper()
	d, _, err := r.nodes[id].Store.Put(strings.NewReader(text), 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

// has checks which nodes hold a blob.
func (r *blobRoom) has(d blob.Digest, want ...string) {
	r.t.Helper()
	var got []string
	for _, id := range slices.Sorted(maps.Keys(r.nodes)) {
		if r.nodes[id].Store.Has(d) {
			got = append(got, id)
		}
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("it is at %v, want %v", got, want)
	}
}

// failed returns how many failures a node has counted.
func (b *blobs) failed(t *testing.T) (n float64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(b.failures)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			n += m.GetCounter().GetValue()
		}
	}
	return n
}

func TestBlobsSpread(t *testing.T) {
	r := newBlobRoom(t)
	first := r.put("a", "first")
	r.down["c"] = true
	if err := r.nodes["a"].spread(t.Context(), first, 5); err != nil {
		t.Fatal(err)
	}
	r.has(first, "a", "b")
	r.down["b"] = true
	second := r.put("a", "second")
	if err := r.nodes["a"].spread(t.Context(), second, 6); !errors.Is(err, fsm.ErrNoLeader) {
		t.Errorf("spread without a majority = %v, want %v", err, fsm.ErrNoLeader)
	}
	if got := r.nodes["a"].failed(t); got != 1 {
		t.Errorf("%v failures are counted, want 1", got)
	}
	r.down["b"] = false
	r.nodes["b"].disk.free.Store(1 << 20)
	if err := r.nodes["a"].spread(t.Context(), second, 6); !errors.Is(err, fsm.ErrDiskFull) {
		t.Errorf("spread to a disk that is nearly full = %v, want %v", err, fsm.ErrDiskFull)
	}
	r.has(second, "a")

	r.voters = []string{"b", "c"} // a does not vote: its disk does not count
	r.nodes["b"].disk.free.Store(1 << 30)
	if err := r.nodes["a"].spread(t.Context(), second, 6); !errors.Is(err, fsm.ErrNoLeader) {
		t.Errorf("spread to one of two voters = %v, want %v", err, fsm.ErrNoLeader)
	}
	r.down["c"] = false
	if err := r.nodes["a"].spread(t.Context(), second, 6); err != nil {
		t.Error(err)
	}
	r.has(second, "a", "b", "c")
	if r.voters = nil; r.nodes["a"].spread(t.Context(), second, 6) == nil {
		t.Error("a blob is on the disks of a majority of nobody")
	}
}

// TestBlobsCollected: what neither tasks nor packs nor this node need goes, after a while; not
// where this node does not know what was committed, nor what is named by what it then learns.
func TestBlobsCollected(t *testing.T) {
	r := newBlobRoom(t)
	task, archive, held, late, none := r.put("a", "task"), r.put("a", "archive"), r.put("a", "held"), r.put("a", "late"), r.put("a", "none")
	a := r.nodes["a"]
	a.holds = func(d blob.Digest) bool { return d == held }
	r.named[task] = 4
	r.packs = []*fsm.Pack{{Name: "p", Releases: []*fsm.PackRelease{{Release: "1", Digest: archive[:]}}}}
	a.caught = func(context.Context) error { return fsm.ErrNoLeader }
	for range idleLooks + 2 {
		a.look(t.Context())
	}
	r.has(none, "a")
	if a.found.Load() != 5 || a.bytes.Load() != int64(len("taskarchiveheldlatenone")) {
		t.Errorf("there are %d blobs of %d bytes", a.found.Load(), a.bytes.Load())
	}
	a.caught = func(context.Context) error {
		r.change(func() { r.named[late] = 4 })
		return nil
	}
	a.look(t.Context())
	r.has(none)
	for _, d := range []blob.Digest{task, archive, held, late} {
		r.has(d, "a")
	}
	r.change(func() { clear(r.named); r.packs = nil })
	a.caught, a.holds = func(context.Context) error { return nil }, func(blob.Digest) bool { return false }
	for range idleLooks - 1 {
		a.look(t.Context())
	}
	r.has(task, "a")
	if err := a.spread(t.Context(), task, 4); err != nil { // it is about to be named anew
		t.Fatal(err)
	}
	a.look(t.Context())
	r.has(late)
	if !a.Store.Has(task) {
		t.Error("a blob that was just spread is gone")
	}
}

// TestBlobsFetched: a voter fetches what the log names as it hears of it, what a new state names, and
// everything when it becomes one; what it did not get, again.
func TestBlobsFetched(t *testing.T) { synctest.Test(t, testBlobsFetched) }

func testBlobsFetched(t *testing.T) {
	r := newBlobRoom(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := r.nodes["c"]
	r.voters = []string{"a", "b"}
	var done sync.WaitGroup
	done.Go(func() { c.Run(ctx) })
	defer done.Wait()
	defer cancel()
	name := func(text string) (blob.Digest, *fsm.Blob) {
		d := r.put("a", text)
		r.change(func() { r.named[d] = int64(len(text)) })
		return d, &fsm.Blob{Digest: d[:], Size: int64(len(text))}
	}
	arrives := func(d blob.Digest) {
		t.Helper()
		eventually(t, 2*fetchAgain, "the blob is here", func() error {
			if !c.Store.Has(d) {
				return errors.New("it is not")
			}
			return nil
		})
	}
	early, _ := name("early")
	r.change(func() { r.voters = []string{"a", "b", "c"} })
	arrives(early)
	args, named := name("args")
	c.observe(fsm.Changes{Tasks: []fsm.Change{{New: &fsm.Task{ArgsBlob: named}}}})
	arrives(args)
	result, named := name("result")
	c.observe(fsm.Changes{Tasks: []fsm.Change{{Old: &fsm.Task{}, New: &fsm.Task{ResultBlob: named}}}})
	arrives(result)
	restored, _ := name("restored")
	c.observe(fsm.Changes{Reset: true})
	arrives(restored)

	r.change(func() { r.down["a"] = true })
	again, named := name("again")
	c.observe(fsm.Changes{Tasks: []fsm.Change{{New: &fsm.Task{ArgsBlob: named}}}})
	eventually(t, time.Second, "it is not got", func() error {
		if c.failed(t) == 0 {
			return errors.New("nothing has failed")
		}
		return nil
	})
	r.change(func() { r.down["a"] = false })
	arrives(again)
	f, err := c.Store.Open(again)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(f); err != nil || got.String() != "again" {
		t.Errorf("it reads %q, %v", got.String(), err)
	}
}
