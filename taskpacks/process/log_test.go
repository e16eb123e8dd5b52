//go:build linux

package process

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"pytasks/taskpacks"
)

func TestLogBelongsToItsCall(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	for i := range 200 {
		o := observe(t.Context())
		text := fmt.Sprintf("call %d", i)
		if _, err := p.Call(o, Request{Task: "print", Args: args(t, arg{"text": text})}); err != nil {
			t.Fatal(err)
		}
		if got := o.printed(); got != text {
			t.Fatalf("log %q, want %q", got, text)
		}
	}
}

func TestPrintedBetweenCalls(t *testing.T) {
	printed := &recorder{first: make(chan struct{})}
	h := newHost(t, Config{Logger: slog.New(printed)})
	p := h.NewPool(program(t, "worker"))
	call(t, p, "print later", arg{"n": 1 << 20})
	<-printed.first
	call(t, p, "pid", nil)
	h.Close()
	if n := printed.size(); n == 0 || n > maxQuiet {
		t.Errorf("%d bytes in the node's log, want some and %d at most", n, maxQuiet)
	}
}

func TestMuchOutput(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	n := 0
	ctx := taskpacks.WithCall(t.Context(), taskpacks.Call{Log: writerFunc(func(b []byte) { n += len(b) })})
	const size = 100 << 20
	if _, err := p.Call(ctx, Request{Task: "print", Args: args(t, arg{"n": size})}); err != nil || n != size {
		t.Errorf("log of %d bytes, %v, want %d", n, err, size)
	}
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// recorder is a log handler that counts what workers printed between calls.
type recorder struct {
	mu    sync.Mutex
	n     int           // bytes; guarded by mu
	first chan struct{} // closed by the first; guarded by mu
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }

func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec.Attrs(func(a slog.Attr) bool {
		r.n += len(a.Value.String())
		return true
	})
	select {
	case <-r.first:
	default:
		close(r.first)
	}
	return nil
}

func (r *recorder) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}
