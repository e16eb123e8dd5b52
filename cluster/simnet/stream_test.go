package simnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	ipA = "10.0.0.1"
	ipB = "10.0.0.2"
)

// two is a network of two hosts with one connection between them.
type two struct {
	*Network
	a, b      *Host
	l         net.Listener
	near, far net.Conn
}

// connect makes the network with the settings that set makes, then dials from a to b.
func connect(t testing.TB, set func(*Network)) *two {
	t.Helper()
	n := New(1)
	if set != nil {
		set(n)
	}
	w := &two{Network: n, a: n.Host(ipA), b: n.Host(ipB)}
	w.l = listen(t, w.b, ipB+":80")
	w.near = dial(t, w.a, ipB+":80")
	w.far = accept(t, w.l)
	return w
}

func listen(t testing.TB, h *Host, addr string) net.Listener {
	t.Helper()
	l, err := h.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t testing.TB, h *Host, addr string) net.Conn {
	t.Helper()
	c, err := h.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func accept(t testing.TB, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func write(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if n, err := c.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write: got %d, %v, want %d", n, err, len(text))
	}
}

func wantRead(t testing.TB, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read: got %q, %v, want %q", got[:n], err, want)
	}
}

func wantReadError(t testing.TB, c net.Conn, want error) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, want) {
		t.Fatalf("Read: got %d bytes, %v, want %v", n, err, want)
	}
}

// wantTook checks how much virtual time went by.
func wantTook(t testing.TB, since time.Time, least, most time.Duration) {
	t.Helper()
	if took := time.Since(since); took < least || took > most {
		t.Fatalf("took %v, want %v to %v", took, least, most)
	}
}

func TestStreamKeepsOrder(t *testing.T) {
	for name, set := range map[string]func(*Network){
		"perfect": nil,
		"delay":   func(n *Network) { n.SetDelay(0, 30*time.Millisecond) },
		"loss": func(n *Network) {
			n.SetDelay(time.Millisecond, 5*time.Millisecond)
			n.SetLoss(0.1)
			n.SetDuplicate(0.5)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := connect(t, set)
				var wg sync.WaitGroup
				for i, c := range []net.Conn{w.near, w.far} {
					sent := make([]byte, 2<<20)
					rng := rand.NewChaCha8([32]byte{byte(i)})
					rng.Read(sent)
					other := []net.Conn{w.far, w.near}[i]
					wg.Go(func() {
						sizes := rand.New(rng)
						for rest := sent; len(rest) > 0; {
							n := min(len(rest), 1+sizes.IntN(100_000))
							if _, err := c.Write(rest[:n]); err != nil {
								t.Errorf("Write: %v", err)
								return
							}
							rest = rest[n:]
						}
						if err := c.(*conn).CloseWrite(); err != nil {
							t.Errorf("CloseWrite: %v", err)
						}
					})
					wg.Go(func() {
						got, err := io.ReadAll(other)
						if err != nil || !bytes.Equal(got, sent) {
							t.Errorf("got %d bytes, %v, want the %d that were sent", len(got), err, len(sent))
						}
					})
				}
				wg.Wait()
				if s := w.Stats(); (s.SegmentsLost > 0) != (name == "loss") {
					t.Errorf("got %d lost segments with %s", s.SegmentsLost, name)
				}
			})
		})
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := connect(t, func(n *Network) { n.SetDelay(10*time.Millisecond, 10*time.Millisecond) })
		wantTook(t, start, 30*time.Millisecond, 30*time.Millisecond) // there and back, and there once more until accepted
		start = time.Now()
		write(t, w.near, "ping")
		wantRead(t, w.far, "ping")
		write(t, w.far, "pong")
		wantRead(t, w.near, "pong")
		wantTook(t, start, 20*time.Millisecond, 20*time.Millisecond)

		w.SetLink(ipA, ipB, Link{MinDelay: time.Second, MaxDelay: time.Second})
		start = time.Now()
		write(t, w.near, "slow")
		wantRead(t, w.far, "slow")
		wantTook(t, start, time.Second, time.Second)
		w.ResetLinks()
		w.near.Close()
		wantReadError(t, w.far, io.EOF)
		wantTook(t, start, 1010*time.Millisecond, 1010*time.Millisecond)
	})
}

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		start := time.Now()
		w.near.SetReadDeadline(start.Add(time.Second))
		wantReadError(t, w.near, os.ErrDeadlineExceeded)
		wantTook(t, start, time.Second, time.Second)
		var timeout net.Error
		if _, err := w.near.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatalf("got %v, want a timeout", err)
		}

		w.near.SetReadDeadline(start.Add(time.Hour))
		go func() {
			time.Sleep(time.Second)
			w.near.SetReadDeadline(time.Unix(1, 0)) // the past: ends what waits
		}()
		wantReadError(t, w.near, os.ErrDeadlineExceeded)
		wantTook(t, start, 2*time.Second, 2*time.Second)

		w.near.SetReadDeadline(start.Add(3 * time.Second))
		go func() {
			time.Sleep(500 * time.Millisecond)
			w.near.SetReadDeadline(start.Add(5 * time.Second)) // later than what is waited for
		}()
		wantReadError(t, w.near, os.ErrDeadlineExceeded)
		wantTook(t, start, 5*time.Second, 5*time.Second)

		w.near.SetReadDeadline(time.Time{})
		write(t, w.far, "x")
		wantRead(t, w.near, "x")
	})
}

func TestWriteBlocksWhenWindowIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		start := time.Now()
		w.near.SetWriteDeadline(start.Add(time.Second))
		n, err := w.near.Write(make([]byte, 2*window))
		if n != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %d, %v, want %d and a deadline", n, err, window)
		}
		wantTook(t, start, time.Second, time.Second)

		w.near.SetWriteDeadline(time.Time{})
		go func() {
			time.Sleep(time.Second)
			io.CopyN(io.Discard, w.far, window+1)
		}()
		write(t, w.near, "x")
		wantTook(t, start, 2*time.Second, 2*time.Second)
	})
}

func TestCloseSendsWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, func(n *Network) { n.SetDelay(0, 10*time.Millisecond) })
		write(t, w.near, "last words")
		w.near.Close()
		if _, err := w.near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: got %v, want %v", err, net.ErrClosed)
		}
		wantRead(t, w.far, "last words")
		wantReadError(t, w.far, io.EOF)

		write(t, w.far, "too late")
		wantReadError(t, w.far, io.EOF)
		time.Sleep(20 * time.Millisecond) // the reset comes back
		if _, err := w.far.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Write to a closed end: got %v, want %v", err, syscall.ECONNRESET)
		}
	})
}

func TestCloseWakesBlockedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := w.near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read: got %v, want %v", err, net.ErrClosed)
			}
		})
		wg.Go(func() {
			if _, err := w.near.Write(make([]byte, 2*window)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write: got %v, want %v", err, net.ErrClosed)
			}
		})
		synctest.Wait()
		w.near.Close()
		wg.Wait()
	})
}

func TestCloseWithUnreadBytesResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		write(t, w.near, "nobody reads this")
		w.far.Close()
		wantReadError(t, w.near, syscall.ECONNRESET)
	})
}

func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, func(n *Network) { n.SetDelay(5*time.Millisecond, 5*time.Millisecond) })
		start := time.Now()
		if _, err := w.a.Dial(t.Context(), ipB+":81"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: got %v, want %v", err, syscall.ECONNREFUSED)
		}
		wantTook(t, start, 10*time.Millisecond, 10*time.Millisecond)

		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := w.a.Dial(ctx, "10.9.9.9:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no such host: got %v, want %v", err, context.DeadlineExceeded)
		}
		wantTook(t, start, 3*time.Second, 3*time.Second)

		start = time.Now()
		if _, err := w.a.Dial(t.Context(), "10.9.9.9:80"); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("no such host: got %v, want %v", err, syscall.ETIMEDOUT)
		}
		wantTook(t, start, 2*time.Minute, 3*time.Minute)

		if _, err := w.b.Listen(ipB + ":80"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second Listen: got %v, want %v", err, syscall.EADDRINUSE)
		}
		if _, err := w.b.Listen(ipA + ":80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("Listen at another's address: got %v, want %v", err, syscall.EADDRNOTAVAIL)
		}
		l := listen(t, w.b, ":0")
		_, port, _ := net.SplitHostPort(l.Addr().String())
		local := dial(t, w.b, "127.0.0.1:"+port)
		if got := local.LocalAddr().(*net.TCPAddr).IP.String(); got != ipB {
			t.Errorf("local address: got %s, want %s", got, ipB)
		}
		if got, want := accept(t, l).RemoteAddr().String(), local.LocalAddr().String(); got != want {
			t.Errorf("remote address: got %s, want %s", got, want)
		}
	})
}

func TestListenerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		waiting := dial(t, w.a, ipB+":80") // never accepted
		go func() {
			time.Sleep(time.Second)
			w.l.Close()
			w.l.Close()
		}()
		accept(t, w.l)
		if _, err := w.l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: got %v, want %v", err, net.ErrClosed)
		}
		late := listen(t, w.b, ipB+":80")
		write(t, waiting, "x") // accepted before: stays
		unheard := dial(t, w.a, ipB+":80")
		late.Close()
		wantReadError(t, unheard, syscall.ECONNRESET)
	})
}
