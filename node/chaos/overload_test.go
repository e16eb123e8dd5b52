//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	overloadFor = 60 * time.Second
	maxMemory   = 512 << 20 // bytes a node may hold while it is flooded
	recoverIn   = 5 * time.Second
)

// overload has clients that never pause send as much as they can, hundreds of times what the load does, so that the queue
// is full all the time.
func (r *run) overload() {
	r.Helper()
	const flooders, batch = 24, 200
	tasks := strings.Repeat(`{"type":"test.main.add","args":{"x":1,"y":2}},`, batch)
	body := `{"tasks":[` + strings.TrimSuffix(tasks, ",") + `]}`
	var taken, full, unavailable atomic.Int64
	over := make(chan struct{})
	var flood sync.WaitGroup
	r.faults++
	r.recorder.Note("overload", "")
	for i := range flooders {
		n := r.all[i%len(r.all)]
		flood.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				a, err := n.send(30*time.Second, http.MethodPost, "/tasks/batch", body)
				switch {
				case err != nil:
					r.Errorf("%s, flooded: %v", n.name, err)
					return
				case a.status == http.StatusOK:
					taken.Add(batch)
				case a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") != "":
					full.Add(batch)
				case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
					unavailable.Add(batch)
				default:
					r.Errorf("%s, flooded: got %v %v, want 200, or 429 or 503 with Retry-After", n.name, a, a.header)
					return
				}
			}
		})
	}
	most := r.watchMemory(over)
	time.Sleep(overloadFor)
	close(over)
	start := time.Now()
	flood.Wait()
	r.Logf("flooded for %s: %d tasks taken, %d refused with 429, %d with 503; most memory %d MiB",
		overloadFor, taken.Load(), full.Load(), unavailable.Load(), most()>>20)
	if offered := taken.Load() + full.Load(); full.Load() < offered/10 {
		r.Errorf("%d tasks of %d offered were refused with 429: that is no overload", full.Load(), offered)
	}
	if got := most(); got > maxMemory {
		r.Errorf("a node held %d MiB of memory, want %d at most", got>>20, maxMemory>>20)
	}
	eventually(r, 30*time.Second, "a task is taken and run", func() error {
		a, err := r.all[0].send(recoverIn, http.MethodPost, "/task?wait=4s", `{"type":"test.main.add","args":{"x":1,"y":2}}`)
		var t record
		if err := statusError(a, err, http.StatusOK); err != nil {
			return err
		}
		if err := json.Unmarshal(a.body, &t); err != nil || t.Status != "SUCCESS" {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	r.measured("recovered from overload", time.Since(start), recoverIn)
}

// watchMemory samples the nodes' memory until a channel is closed; what it returns tells the most that one of them held.
func (r *run) watchMemory(over chan struct{}) func() int64 {
	var most atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, n := range r.all.up() {
				if rss, err := n.memory(); err == nil && rss > most.Load() {
					most.Store(rss)
				}
			}
			select {
			case <-tick.C:
			case <-over:
				return
			}
		}
	}()
	return func() int64 {
		<-done
		return most.Load()
	}
}
