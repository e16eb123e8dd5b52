package simnet

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// BenchmarkPingPong is one byte there and back.
func BenchmarkPingPong(b *testing.B) {
	for name, delay := range map[string]time.Duration{"delay=0": 0, "delay=1ms": time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			inBubble(b, func(t *testing.T, rounds int) {
				w := connect(t, func(n *Network) { n.SetDelay(delay/2, delay) })
				go func() {
					buf := make([]byte, 1)
					for {
						if _, err := w.far.Read(buf); err != nil {
							return
						}
						w.far.Write(buf)
					}
				}()
				buf := make([]byte, 1)
				for range rounds {
					w.near.SetReadDeadline(time.Now().Add(time.Minute))
					w.near.Write(buf)
					if _, err := w.near.Read(buf); err != nil {
						t.Fatal(err)
					}
				}
				w.near.Close()
			})
		})
	}
}

// BenchmarkStream is 64 KiB from one host to another.
func BenchmarkStream(b *testing.B) {
	inBubble(b, func(t *testing.T, rounds int) {
		w := connect(t, nil)
		buf := make([]byte, 64<<10)
		b.SetBytes(int64(len(buf)))
		go func(c net.Conn) {
			buf := make([]byte, 64<<10)
			for {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
		}(w.far)
		for range rounds {
			if _, err := w.near.Write(buf); err != nil {
				t.Fatal(err)
			}
		}
		w.near.Close()
	})
}

// BenchmarkPacket is one packet of gossip.
func BenchmarkPacket(b *testing.B) {
	for name, delay := range map[string]time.Duration{"delay=0": 0, "delay=1ms": time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			inBubble(b, func(t *testing.T, rounds int) {
				n := New(1)
				n.SetDelay(delay/2, delay)
				from, err := n.Host(ipA).Gossip(ipA+":1", nil)
				if err != nil {
					t.Fatal(err)
				}
				to, err := n.Host(ipB).Gossip(ipB+":1", nil)
				if err != nil {
					t.Fatal(err)
				}
				buf := make([]byte, 200)
				for range rounds {
					from.WriteTo(buf, ipB+":1")
					<-to.PacketCh()
				}
			})
		})
	}
}

// inBubble runs rounds of a benchmark in virtual time and measures the real time that they take.
func inBubble(b *testing.B, run func(t *testing.T, rounds int)) {
	b.Helper()
	ran := false
	test := testing.InternalTest{Name: b.Name(), F: func(t *testing.T) {
		if !ran { // with -count there would be more than one
			synctest.Test(t, func(t *testing.T) { run(t, b.N) })
		}
		ran = true
	}}
	everything := func(_, _ string) (bool, error) { return true, nil }
	b.ReportAllocs()
	b.ResetTimer()
	if !testing.RunTests(everything, []testing.InternalTest{test}) {
		b.Error("failed")
	}
}
