package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

var errCoded = &Sentinel{"test_refused", "refused by the test"}

// pair starts two nodes; the second has the given handlers.
func pair(t testing.TB, handlers map[string]Handler) (a, b *testNode) {
	t.Helper()
	a = open(t, config(t, "a"))
	cfg := config(t, "b")
	cfg.Join, cfg.Handlers = gossipAddrs([]*testNode{a}), handlers
	b = open(t, cfg)
	eventually(t, "a knows b", func() bool { _, ok := a.book.addr(b.cfg.ID); return ok })
	return a, b
}

func echo(_ context.Context, _ string, body []byte) ([]byte, error) { return body, nil }

func TestCallAnswersAndErrors(t *testing.T) {
	var from atomic.Value
	a, b := pair(t, map[string]Handler{
		"echo":  func(_ context.Context, id string, body []byte) ([]byte, error) { from.Store(id); return body, nil },
		"coded": func(context.Context, string, []byte) ([]byte, error) { return nil, fmt.Errorf("no: %w", errCoded) },
		"plain": func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("plain") },
		"panic": func(context.Context, string, []byte) ([]byte, error) { panic("test") },
		"far": func(context.Context, string, []byte) ([]byte, error) {
			return nil, &RemoteError{"test_refused", "far"}
		},
		"huge": func(context.Context, string, []byte) ([]byte, error) { return make([]byte, maxFrame+1), nil },
	})
	big := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
	for _, body := range [][]byte{nil, []byte("x"), big} {
		got, err := a.Call(t.Context(), b.cfg.ID, "echo", body)
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("echo of %d bytes: got %d bytes, %v", len(body), len(got), err)
		}
	}
	if from.Load() != a.cfg.ID {
		t.Errorf("handler saw caller %v, want %s", from.Load(), a.cfg.ID)
	}
	for _, test := range []struct {
		method string
		want   error
	}{{"coded", errCoded}, {"far", errCoded}, {"plain", ErrInternal}, {"panic", ErrInternal}, {"huge", ErrTooLarge},
		{"missing", ErrNoMethod}} {
		_, err := a.Call(t.Context(), b.cfg.ID, test.method, nil)
		var remote *RemoteError
		if !errors.Is(err, test.want) || !errors.As(err, &remote) {
			t.Errorf("%s: got %v, want a remote %v", test.method, err, test.want)
		}
		if errors.Is(err, ErrUnknown) {
			t.Errorf("%s: a handler's error must not look ambiguous: %v", test.method, err)
		}
	}
	if _, err := a.Call(t.Context(), b.cfg.ID, "echo", make([]byte, maxFrame)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("call above the limit: got %v, want %v", err, ErrTooLarge)
	}
	if _, err := a.Call(t.Context(), "nobody", "echo", nil); !errors.Is(err, ErrUnreachable) ||
		!errors.Is(err, ErrUnknownMember) {
		t.Errorf("call to nobody: got %v", err)
	}
}

func TestCallOnItselfIsDirect(t *testing.T) {
	cfg := config(t, "a")
	cfg.Handlers = map[string]Handler{"coded": func(context.Context, string, []byte) ([]byte, error) { return nil, errCoded }}
	a := open(t, cfg)
	if _, err := a.Call(t.Context(), cfg.ID, "coded", nil); err != error(errCoded) {
		t.Errorf("got %v, want the handler's own error", err)
	}
}

func TestCancelCrosses(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan error, 1)
	a, b := pair(t, map[string]Handler{"hang": func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}, "echo": echo})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := a.Call(ctx, b.cfg.ID, "hang", nil)
		result <- err
	}()
	<-entered
	cancel()
	if err := <-result; !errors.Is(err, ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: got %v, want %v by %v", err, ErrUnknown, context.Canceled)
	}
	<-ended // the handler's context ended too
	if _, err := a.Call(t.Context(), b.cfg.ID, "echo", nil); err != nil {
		t.Errorf("the link after a cancelled call: %v", err)
	}
}

func TestConcurrentCalls(t *testing.T) {
	a, b := pair(t, map[string]Handler{"echo": echo})
	var callers sync.WaitGroup
	for i := range 32 {
		callers.Go(func() {
			for j := range 200 {
				want := strings.Repeat(fmt.Sprintf("%d/%d ", i, j), 1+j*3)
				got, err := a.Call(t.Context(), b.cfg.ID, "echo", []byte(want))
				if err != nil || string(got) != want {
					t.Errorf("caller %d: got %d bytes, %v, want %d", i, len(got), err, len(want))
					return
				}
			}
		})
	}
	callers.Wait()
}

func TestLinkDownAndProbe(t *testing.T) {
	hanging := make(chan struct{})
	a, b := pair(t, map[string]Handler{"hang": func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		close(hanging)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if boot, err := a.Probe(t.Context(), b.cfg.ID); err != nil || boot != 1 {
		t.Fatalf("Probe of a live node: got %d, %v", boot, err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := a.Call(t.Context(), b.cfg.ID, "hang", nil)
		result <- err
	}()
	<-hanging
	b.Close()
	if err := <-result; !errors.Is(err, ErrUnknown) {
		t.Errorf("call over a link that broke: got %v, want %v", err, ErrUnknown)
	}
	if id := <-a.down; id != b.cfg.ID {
		t.Errorf("link down: got %s, want %s", id, b.cfg.ID)
	}
	if _, err := a.Probe(t.Context(), b.cfg.ID); !errors.Is(err, ErrRefused) {
		t.Errorf("Probe of a stopped node: got %v, want %v", err, ErrRefused)
	}
	if _, err := a.Call(t.Context(), b.cfg.ID, "echo", nil); !errors.Is(err, ErrRefused) || errors.Is(err, ErrUnknown) {
		t.Errorf("Call to a stopped node: got %v, want %v", err, ErrRefused)
	}

	// The same node with the next boot number, at the old address.
	cfg := b.cfg
	_, cfg.Addr = b.Addrs()
	cfg.GossipAddr, _ = b.Addrs()
	cfg.Boot, cfg.Join = 2, gossipAddrs([]*testNode{a})
	again := open(t, cfg)
	if boot, err := a.Probe(t.Context(), b.cfg.ID); err != nil || boot != 2 {
		t.Errorf("Probe after a restart: got %d, %v, want boot 2", boot, err)
	}
	again.Close()

	// Another node at the old address.
	cfg.ID, cfg.Dir, cfg.Name = uuid.NewString(), t.TempDir(), "other"
	cfg.GossipAddr = "127.0.0.1:0"
	other := open(t, cfg)
	if _, err := a.Probe(t.Context(), b.cfg.ID); !errors.Is(err, ErrReplaced) || errors.Is(err, ErrRefused) {
		t.Errorf("Probe of a replaced node: got %v, want %v", err, ErrReplaced)
	}
	other.Close()
}

// muteConn is a connection that goes dead without an error.
type muteConn struct {
	net.Conn
	mute *atomic.Bool
}

func (c muteConn) Write(p []byte) (int, error) {
	if c.mute.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func TestSilentLinkIsNoticed(t *testing.T) {
	var mute atomic.Bool
	a := open(t, config(t, "a"))
	cfg := config(t, "b")
	cfg.Join = gossipAddrs([]*testNode{a})
	cfg.Network.Listen = func(addr string) (net.Listener, error) {
		l, err := net.Listen("tcp", addr)
		return muteListener{l, &mute}, err
	}
	entered := make(chan struct{})
	cfg.Handlers = map[string]Handler{"hang": func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		return nil, nil
	}}
	b := open(t, cfg)
	eventually(t, "a knows b", func() bool { _, ok := a.book.addr(b.cfg.ID); return ok })
	result := make(chan error, 1)
	go func() {
		_, err := a.Call(t.Context(), b.cfg.ID, "hang", nil)
		result <- err
	}()
	<-entered
	mute.Store(true)
	start := time.Now()
	if err := <-result; !errors.Is(err, ErrUnknown) {
		t.Errorf("call over a silent link: got %v, want %v", err, ErrUnknown)
	}
	if took, limit := time.Since(start), 20*cfg.Timing.Keepalive; took > limit {
		t.Errorf("noticed after %s, want less than %s", took, limit)
	}
}

type muteListener struct {
	net.Listener
	mute *atomic.Bool
}

func (l muteListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return muteConn{conn, l.mute}, nil
}

func TestGarbageOnTheClusterPort(t *testing.T) {
	a, b := pair(t, map[string]Handler{"echo": echo})
	_, addr := b.Addrs()
	hello := func(proto byte) []byte {
		var sent bytes.Buffer
		if err := writeHello(recorder{&sent}, proto, hello{cluster: b.clusterID(), id: "x", expect: b.cfg.ID}); err != nil {
			t.Fatal(err)
		}
		return sent.Bytes()
	}
	for name, garbage := range map[string][]byte{
		"http":          []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"zeros":         make([]byte, 100),
		"huge hello":    {protoCall, 0xff, 0xff, 1, 2, 3},
		"empty hello":   {protoCall, 0, 0},
		"old version":   append([]byte{protoCall, 0, 29, 0}, make([]byte, 28)...),
		"raft nonsense": append(hello(protoRaft), 0xff, 0xff, 0xff),
		"huge frame":    append(hello(protoCall), 0xff, 0xff, 0xff, 0xff, kindRequest, 0, 0, 0, 1),
		"bad kind":      append(hello(protoCall), 0, 0, 0, 0, 99, 0, 0, 0, 1),
		"bad request":   append(hello(protoCall), 0, 0, 0, 1, kindRequest, 0, 0, 0, 1, 200),
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write(garbage)
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: the node did not hang up: %v", name, err)
		}
		conn.Close()
		if _, err := a.Call(t.Context(), b.cfg.ID, "echo", nil); err != nil {
			t.Errorf("call after %s: %v", name, err)
		}
	}
}

// recorder is a connection of which only Write works.
type recorder struct{ io.Writer }

func (recorder) Read([]byte) (int, error)         { return 0, io.EOF }
func (recorder) Close() error                     { return nil }
func (recorder) LocalAddr() net.Addr              { return nil }
func (recorder) RemoteAddr() net.Addr             { return nil }
func (recorder) SetDeadline(time.Time) error      { return nil }
func (recorder) SetReadDeadline(time.Time) error  { return nil }
func (recorder) SetWriteDeadline(time.Time) error { return nil }

func BenchmarkCall(b *testing.B) {
	a, n := pair(b, map[string]Handler{"echo": echo})
	body := make([]byte, 200)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := a.Call(b.Context(), n.cfg.ID, "echo", body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := a.Call(b.Context(), n.cfg.ID, "echo", body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
