package node

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestProcessStopDropsNoRequest: clients that keep their connections and send on them while a node is
// stopped get an answer to everything that left them, or are told that nobody listens any more.
func TestProcessStopDropsNoRequest(t *testing.T) {
	ps := startCluster(t, 3)
	p := ps.without(ps.leader())[0]
	const clients, rounds = 32, 3
	for range rounds {
		var stopped atomic.Bool
		var answered atomic.Int64
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				transport := &http.Transport{MaxIdleConnsPerHost: 1}
				defer transport.CloseIdleConnections()
				client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
				for !stopped.Load() {
					resp, err := client.Post(p.http+"/task", "application/json", strings.NewReader(sleepFor(0)))
					if err != nil {
						if !neverSent(err) {
							t.Errorf("a request was lost: %v", err)
						}
						return
					}
					if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable {
						t.Errorf("an answer was lost: %d, %v", resp.StatusCode, err)
					}
					resp.Body.Close()
					answered.Add(1)
					time.Sleep(2 * time.Millisecond) // in which the connection is idle
				}
			})
		}
		eventually(t, 10*time.Second, "the clients are at it", func() error {
			if answered.Load() < 10*clients {
				return io.ErrNoProgress
			}
			return nil
		})
		p.stop()
		stopped.Store(true)
		wg.Wait()
		p.start()
		p.ready()
	}
}

// neverSent reports whether a request surely never left: no connection was made.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
