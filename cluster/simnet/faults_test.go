package simnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestCutIsOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, func(n *Network) { n.SetDelay(time.Millisecond, 2*time.Millisecond) })
		write(t, w.near, "on its way")
		w.Cut(ipA, ipB)
		write(t, w.near, ", after the cut")
		w.far.SetReadDeadline(time.Now().Add(10 * time.Second))
		wantReadError(t, w.far, os.ErrDeadlineExceeded)
		write(t, w.far, "the other way")
		wantRead(t, w.near, "the other way")
		if s := w.Stats(); s.SegmentsCut != 2 {
			t.Errorf("got %d segments that were held up, want 2", s.SegmentsCut)
		}

		w.Heal(ipA, ipB)
		healed := time.Now()
		w.far.SetReadDeadline(time.Time{})
		wantRead(t, w.far, "on its way, after the cut")
		wantTook(t, healed, minRetry, minRetry+maxRetry+2*time.Millisecond)
	})
}

func TestCutBackHoldsWriterUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		w.Cut(ipB, ipA) // bytes get there, acknowledgements do not get back
		got := make(chan int64)
		go func() {
			n, _ := io.Copy(io.Discard, w.far)
			got <- n
		}()
		w.near.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := w.near.Write(make([]byte, 2*window)); n != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Write: got %d, %v, want %d and a deadline", n, err, window)
		}
		w.Heal(ipB, ipA)
		w.near.SetWriteDeadline(time.Time{})
		write(t, w.near, strings.Repeat("x", window))
		w.near.Close()
		if n := <-got; n != 2*window {
			t.Errorf("got %d bytes, want %d", n, 2*window)
		}
	})
}

func TestLongCutEndsConnections(t *testing.T) {
	for name, cut := range map[string]func(w *two){
		"one way":   func(w *two) { w.Cut(ipB, ipA) },
		"isolated":  func(w *two) { w.Isolate(ipA) },
		"unplugged": func(w *two) { w.b.Unplug() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := connect(t, nil)
				cut(w)
				time.Sleep(UserTimeout - time.Second)
				w.HealAll()
				w.b.Plug()
				cut(w)
				start := time.Now()
				wantReadError(t, w.near, syscall.ETIMEDOUT)
				wantReadError(t, w.far, syscall.ETIMEDOUT)
				wantTook(t, start, UserTimeout, UserTimeout)
				if s := w.Stats(); s.Resets != 2 {
					t.Errorf("got %d resets, want 2", s.Resets)
				}
			})
		})
	}
}

func TestTotalLossEndsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		w.SetLoss(1)
		write(t, w.near, "x")
		start := time.Now()
		wantReadError(t, w.far, syscall.ETIMEDOUT)
		wantReadError(t, w.near, syscall.ETIMEDOUT)
		wantTook(t, start, UserTimeout, UserTimeout+2*maxRetry)
	})
}

func TestDialWaitsForHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		w.Cut(ipB, ipA) // the answer is lost
		start := time.Now()
		go func() {
			time.Sleep(5 * time.Second)
			w.Heal(ipB, ipA)
		}()
		dial(t, w.a, ipB+":80")
		wantTook(t, start, 7*time.Second, 7*time.Second) // tries at 0, 1, 3 and 7 s
		if s := w.Stats(); s.DialsLost != 3 {
			t.Errorf("got %d lost dials, want 3", s.DialsLost)
		}
	})
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		ips := []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}
		for _, ip := range ips {
			listen(t, n.Host(ip), ip+":80")
		}
		reach := func() string {
			var pairs []string
			for _, from := range ips {
				for _, to := range ips {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
					if c, err := n.Host(from).Dial(ctx, to+":80"); err == nil {
						c.Close()
						pairs = append(pairs, from[7:]+to[7:])
					}
					cancel()
				}
			}
			return strings.Join(pairs, " ")
		}
		n.Partition(ips[:2], ips[2:4])
		if got, want := reach(), "11 12 15 21 22 25 33 34 35 43 44 45 51 52 53 54 55"; got != want {
			t.Errorf("partition:\ngot  %s\nwant %s", got, want)
		}
		n.HealAll()
		n.Isolate(ips[4])
		if got, want := reach(), "11 12 13 14 21 22 23 24 31 32 33 34 41 42 43 44 55"; got != want {
			t.Errorf("isolate:\ngot  %s\nwant %s", got, want)
		}
		n.HealAll()
		if got := len(strings.Fields(reach())); got != 25 {
			t.Errorf("healed: %d pairs reach one another, want 25", got)
		}
	})
}

func TestCrashResetsAndRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, func(n *Network) { n.SetDelay(time.Millisecond, time.Millisecond) })
		write(t, w.far, "last words")
		var wg sync.WaitGroup
		wg.Go(func() { // a dial of the process that crashes
			if _, err := w.b.Dial(t.Context(), "10.9.9.9:80"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Dial during the crash: got %v, want %v", err, net.ErrClosed)
			}
		})
		synctest.Wait()
		w.b.Crash()
		w.b.Crash()
		wg.Wait()

		wantRead(t, w.near, "last words")
		wantReadError(t, w.near, syscall.ECONNRESET)
		wantReadError(t, w.far, net.ErrClosed)
		if _, err := w.l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: got %v, want %v", err, net.ErrClosed)
		}
		if _, err := w.a.Dial(t.Context(), ipB+":80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("Dial: got %v, want %v", err, syscall.ECONNREFUSED)
		}
		if _, err := w.b.Listen(ipB + ":80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen of the crashed process: got %v, want %v", err, net.ErrClosed)
		}
		if _, err := w.b.Dial(t.Context(), ipA+":80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Dial of the crashed process: got %v, want %v", err, net.ErrClosed)
		}

		again := w.Host(ipB)
		l := listen(t, again, ipB+":80")
		near := dial(t, w.a, ipB+":80")
		write(t, near, "back")
		wantRead(t, accept(t, l), "back")
	})
}

func TestCrashBeyondCutIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		w.Partition([]string{ipA}, []string{ipB})
		write(t, w.far, "never sent again")
		w.b.Crash()
		w.near.SetReadDeadline(time.Now().Add(30 * time.Second))
		wantReadError(t, w.near, os.ErrDeadlineExceeded)
		w.near.SetReadDeadline(time.Time{})
		w.HealAll()
		healed := time.Now()
		wantReadError(t, w.near, syscall.ECONNRESET)
		wantTook(t, healed, minRetry, minRetry+maxRetry)
	})
}

func TestUnplugIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		w.b.Unplug()
		write(t, w.near, "ping")
		write(t, w.far, "pong")
		w.near.SetReadDeadline(time.Now().Add(10 * time.Second))
		w.far.SetReadDeadline(time.Now().Add(10 * time.Second))
		wantReadError(t, w.near, os.ErrDeadlineExceeded)
		wantReadError(t, w.far, os.ErrDeadlineExceeded)
		for _, h := range []*Host{w.a, w.b} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			to := map[*Host]string{w.a: ipB + ":81", w.b: ipA + ":81"}[h] // where nobody listens
			if _, err := h.Dial(ctx, to); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Dial %s: got %v, want %v", to, err, context.DeadlineExceeded)
			}
			cancel()
		}
		own := dial(t, w.b, ipB+":80") // the host itself does not notice
		write(t, own, "x")
		wantRead(t, accept(t, w.l), "x")

		w.b.Plug()
		w.near.SetReadDeadline(time.Time{})
		w.far.SetReadDeadline(time.Time{})
		wantRead(t, w.near, "pong")
		wantRead(t, w.far, "ping")
	})
}

// TestUnplugOutlivesCrash is a machine that is lost for good: its process is gone, and nobody is told.
func TestUnplugOutlivesCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, nil)
		w.b.Unplug()
		w.b.Crash()
		l := listen(t, w.Host(ipB), ipB+":80")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.a.Dial(ctx, ipB+":80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: got %v, want %v", err, context.DeadlineExceeded)
		}
		w.Host(ipB).Plug()
		dial(t, w.a, ipB+":80")
		accept(t, l)
	})
}
