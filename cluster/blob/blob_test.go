package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// network is some nodes whose movers call one another. between, if it is set, changes what a
// call answers.
type network struct {
	t       *testing.T
	movers  map[string]*Mover
	between func(from, to, method string, answer []byte) ([]byte, error)
}

func newNetwork(t *testing.T, ids ...string) *network {
	n := &network{t: t, movers: map[string]*Mover{}}
	for _, id := range ids {
		store, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		n.movers[id] = &Mover{
			Store: store,
			Call: func(ctx context.Context, to, method string, body []byte) ([]byte, error) {
				answer, err := n.movers[to].Handlers()[method](ctx, id, body)
				if err == nil && n.between != nil {
					answer, err = n.between(id, to, method, answer)
				}
				return answer, err
			},
			Others: func() []string {
				others := slices.DeleteFunc(slices.Clone(ids), func(other string) bool { return other == id })
				return others
			},
		}
	}
	return n
}

// put stores text at a node.
func (n *network) put(id, text string) Digest {
	n.t.Helper()
	d, size, err := n.movers[id].Store.Put(strings.NewReader(text), 1<<30)
	if err != nil || size != int64(len(text)) || d != sha256.Sum256([]byte(text)) {
		n.t.Fatalf("Put = %s, %d, %v", d, size, err)
	}
	return d
}

// holds checks whether a node holds text, whole.
func (n *network) holds(id, text string, want bool) {
	n.t.Helper()
	err := n.movers[id].Store.verify(sha256.Sum256([]byte(text)))
	if (err == nil) != want {
		n.t.Errorf("node %s: verify: %v, want it to have the blob: %v", id, err, want)
	}
}

// TestOpenMends: what is damaged on the disk, or not there, is fetched.
func TestOpenMends(t *testing.T) {
	n := newNetwork(t, "a", "b")
	d := n.put("b", "hello")
	for _, damage := range []func(path string) error{
		func(string) error { return nil }, // it was never there
		os.Remove,
		func(path string) error { return os.WriteFile(path, []byte("hallo"), 0o600) },
		func(path string) error { return os.WriteFile(path, []byte("hell"), 0o600) },
	} {
		if err := damage(n.movers["a"].Store.path(d)); err != nil {
			t.Fatal(err)
		}
		f, err := n.movers["a"].Open(t.Context(), d, 5)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(f); err != nil || string(text) != "hello" {
			t.Errorf("it reads %q, %v", text, err)
		}
		f.Close()
	}
	if err := n.movers["b"].Store.remove(d); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.movers["a"].Store.path(d), []byte("hallo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.movers["a"].Open(t.Context(), d, 5); err == nil {
		t.Error("Open of what is damaged here and nowhere else succeeds")
	}
}

// TestKeepMends: a node that says it keeps a blob has it whole.
func TestKeepMends(t *testing.T) {
	n := newNetwork(t, "a", "b")
	d := n.put("a", "hello")
	if err := os.WriteFile(n.movers["b"].Store.path(d), []byte("hallo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.movers["a"].Spread(t.Context(), d, 5, []string{"b"}, func(have []string) bool { return len(have) == 1 }); err != nil {
		t.Fatal(err)
	}
	n.holds("b", "hello", true)
}

// TestRoom: a node without room fetches nothing, and says why.
func TestRoom(t *testing.T) {
	n := newNetwork(t, "a", "b")
	d := n.put("a", "hello")
	full := errors.New("the disk is nearly full")
	n.movers["b"].Room = func(size int64) error {
		if size != 5 {
			t.Errorf("asked for room for %d bytes, want 5", size)
		}
		return full
	}
	err := n.movers["a"].Spread(t.Context(), d, 5, []string{"b"}, func(have []string) bool { return len(have) == 1 })
	if !errors.Is(err, full) {
		t.Errorf("Spread = %v, want the reason of the other node", err)
	}
	n.holds("b", "hello", false)
}

// TestVerifyRemovesDamaged: what is damaged on the disk is gone afterwards, to be fetched anew.
func TestVerifyRemovesDamaged(t *testing.T) {
	n := newNetwork(t, "a", "b")
	d := n.put("a", "hello")
	n.put("b", "hello")
	if err := os.WriteFile(n.movers["a"].Store.path(d), []byte("hallo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.movers["a"].Store.Open(d); !errors.Is(err, ErrDigest) {
		t.Errorf("Open = %v, want ErrDigest", err)
	}
	if err := n.movers["a"].Fetch(t.Context(), d, 5); err != nil {
		t.Error(err)
	}
	n.holds("a", "hello", true)
}

func TestFetch(t *testing.T) {
	n := newNetwork(t, "a", "b", "c")
	large := strings.Repeat("0123456789", chunk/4) // two and a half chunks
	d := n.put("c", large)
	if err := n.movers["a"].Fetch(t.Context(), d, int64(len(large))); err != nil {
		t.Fatal(err)
	}
	n.holds("a", large, true)
	if err := n.movers["b"].Fetch(t.Context(), sha256.Sum256(nil), 1); err == nil || !strings.Contains(err.Error(), "no other node has it") {
		t.Errorf("Fetch of what nobody has = %v", err)
	}
	if err := n.movers["b"].Fetch(t.Context(), d, 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Fetch of more than announced = %v, want ErrTooLarge", err)
	}
}

// TestFetchRefusesFlippedByte: a byte that is flipped on the way is found out, and the next
// node is asked.
func TestFetchRefusesFlippedByte(t *testing.T) {
	n := newNetwork(t, "a", "b", "c")
	d := n.put("b", "hello")
	n.between = func(_, to, method string, answer []byte) ([]byte, error) {
		if method == methodRead && to == "b" {
			answer[1] ^= 4
		}
		return answer, nil
	}
	if err := n.movers["a"].Fetch(t.Context(), d, 5); !errors.Is(err, ErrDigest) {
		t.Errorf("Fetch = %v, want ErrDigest", err)
	}
	n.holds("a", "hello", false)
	n.put("c", "hello")
	if err := n.movers["a"].Fetch(t.Context(), d, 5); err != nil {
		t.Errorf("Fetch where another node has it whole = %v", err)
	}
	n.holds("a", "hello", true)
}

// TestFetchTogether: many who want one blob at once cost one transfer.
func TestFetchTogether(t *testing.T) {
	n := newNetwork(t, "a", "b")
	d := n.put("b", "hello")
	var reads atomic.Int32
	first, gate := make(chan struct{}), make(chan struct{})
	n.between = func(_, _, _ string, answer []byte) ([]byte, error) {
		if reads.Add(1) == 1 {
			close(first)
		}
		<-gate
		return answer, nil
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := n.movers["a"].Fetch(t.Context(), d, 5); err != nil {
				t.Error(err)
			}
		})
	}
	<-first
	close(gate)
	wg.Wait()
	if got := reads.Load(); got != 1 {
		t.Errorf("%d calls for one chunk, want 1", got)
	}
	n.holds("a", "hello", true)
}

func TestSpread(t *testing.T) {
	n := newNetwork(t, "a", "b", "c", "d")
	d := n.put("a", "hello")
	broken := errors.New("its disk is full")
	n.between = func(_, to, method string, answer []byte) ([]byte, error) {
		if method == methodKeep && to == "c" {
			return nil, broken
		}
		return answer, nil
	}
	two := func(have []string) bool { return len(have) >= 2 }
	ids := []string{"b", "c", "d"}
	if err := n.movers["a"].Spread(t.Context(), d, 5, ids, two); err != nil {
		t.Fatal(err)
	}
	n.holds("b", "hello", true)
	n.holds("d", "hello", true)
	three := func(have []string) bool { return len(have) >= 3 }
	if err := n.movers["a"].Spread(t.Context(), d, 5, ids, three); !errors.Is(err, broken) {
		t.Errorf("Spread to three = %v, want the error of the third", err)
	}
	lone := newNetwork(t, "a")
	if err := lone.movers["a"].Spread(t.Context(), lone.put("a", "x"), 1, nil, func([]string) bool { return true }); err != nil {
		t.Errorf("Spread where nobody else is needed = %v", err)
	}
	if err := lone.movers["a"].Spread(t.Context(), d, 5, nil, func([]string) bool { return true }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Spread of what is not here = %v, want fs.ErrNotExist", err)
	}
}

// TestSpreadGoesOn: the slower nodes get a blob too when enough have it and the caller has gone on;
// a caller that gives up ends it.
func TestSpreadGoesOn(t *testing.T) {
	n := newNetwork(t, "a", "b", "c")
	d := n.put("a", "hello")
	gate, kept := make(chan struct{}), make(chan error, 1)
	call := n.movers["a"].Call
	n.movers["a"].Call = func(ctx context.Context, to, method string, body []byte) ([]byte, error) {
		if to != "c" {
			return call(ctx, to, method, body)
		}
		select {
		case <-gate:
		case <-ctx.Done():
			kept <- ctx.Err()
			return nil, ctx.Err()
		}
		answer, err := call(ctx, to, method, body)
		kept <- err
		return answer, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := n.movers["a"].Spread(ctx, d, 5, []string{"b", "c"}, func(have []string) bool { return len(have) > 0 }); err != nil {
		t.Fatal(err)
	}
	cancel()
	close(gate)
	if err := <-kept; err != nil {
		t.Errorf("the second node answered %v", err)
	}
	n.holds("c", "hello", true)

	gate = make(chan struct{})
	if err := n.movers["a"].Spread(ctx, d, 5, []string{"b", "c"}, func(have []string) bool { return len(have) > 1 }); !errors.Is(err, context.Canceled) {
		t.Errorf("Spread of a caller that has gone = %v, want its context's error", err)
	}
	if err := <-kept; !errors.Is(err, context.Canceled) {
		t.Errorf("the call that was left ended with %v, want it cancelled", err)
	}
}

// TestHandlersTakeAnything: the other side may send what it likes.
func TestHandlersTakeAnything(t *testing.T) {
	n := newNetwork(t, "a")
	d := n.put("a", "hello")
	m := n.movers["a"]
	for method, h := range m.Handlers() {
		for _, body := range [][]byte{nil, {1}, bytes.Repeat([]byte{0xff}, 40), d[:]} {
			if _, err := h(t.Context(), "b", body); err == nil {
				t.Errorf("%s takes %x", method, body)
			}
		}
	}
	past := append(d[:len(d):len(d)], 0, 0, 0, 0, 0, 0, 0, 99)
	if got, err := m.handleRead(t.Context(), "b", past); err != nil || len(got) != 0 {
		t.Errorf("read past the end = %x, %v; want nothing", got, err)
	}
	m.Call = func(context.Context, string, string, []byte) ([]byte, error) { return nil, fmt.Errorf("no such node") }
	if _, err := m.handleKeep(t.Context(), "b", bytes.Repeat([]byte{1}, 40)); err == nil {
		t.Error("keep of what the caller does not give succeeds")
	}
}
