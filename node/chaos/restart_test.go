//go:build linux

package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// rollingRestart stops and starts one node after another, in good order, while clients that send a refused request once
// more see no failure, and tasks that may be tried once only lose nothing by it.
func (r *run) rollingRestart() {
	r.Helper()
	careful := newCarefulClients(r.all)
	var once []string
	for _, n := range r.all {
		for range 2 * len(r.all) {
			once = append(once, r.all.without(n)[0].submit(`{"type":"test.main.sleep","args":{"seconds":6},"retry":{"max_attempts":1}}`))
		}
		r.faults++
		n.signal(syscall.SIGTERM)
		if code := n.ends(45 * time.Second); code != 0 {
			r.Errorf("%s stopped with exit status %d, want 0", n.name, code)
		}
		r.restart(n)
	}
	careful.stop()
	r.Logf("%d requests of careful clients, %d of them sent again", careful.requests, careful.again)
	for _, failure := range careful.failures {
		r.Errorf("a request failed: %s", failure)
	}
	if careful.requests < 200 {
		r.Errorf("careful clients sent %d requests only: that proves little", careful.requests)
	}
	for _, id := range once {
		var t record
		eventually(r, 30*time.Second, "task "+id+" ends", func() error {
			var err error
			if t, err = r.all[0].task(id); err == nil && (t.Status == "PENDING" || t.Status == "STARTED") {
				err = fmt.Errorf("it is %s", t.Status)
			}
			return err
		})
		if t.Status != "SUCCESS" {
			r.Errorf("task %s, that may be tried once, ended as %+v: a drain burnt its attempt", id, t)
		}
	}
}

// carefulClients do what a load balancer does and a little more: a node that nobody answers at is passed over, and a
// request that is refused with 503 is sent once more.
type carefulClients struct {
	nodes    nodes
	over     chan struct{}
	wg       sync.WaitGroup
	mu       sync.Mutex
	requests int      // guarded by mu
	again    int      // of them; guarded by mu
	failures []string // guarded by mu
}

func newCarefulClients(ns nodes) *carefulClients {
	c := &carefulClients{nodes: ns, over: make(chan struct{})}
	for i := range 4 {
		c.wg.Go(func() { c.run(i) })
	}
	return c
}

func (c *carefulClients) run(turn int) {
	pace := time.NewTicker(25 * time.Millisecond)
	defer pace.Stop()
	for ; ; turn++ {
		select {
		case <-c.over:
			return
		case <-pace.C:
		}
		again, failure := c.request(turn)
		c.mu.Lock()
		c.requests++
		if again {
			c.again++
		}
		if failure != "" {
			c.failures = append(c.failures, failure)
		}
		c.mu.Unlock()
	}
}

// request sends one task and returns what was wrong, if it was.
func (c *carefulClients) request(turn int) (again bool, failure string) {
	passed := 0
	for i := turn; ; i++ {
		n := c.nodes[i%len(c.nodes)]
		a, err := n.send(10*time.Second, http.MethodPost, "/task", `{"type":"test.main.add","args":{"x":1,"y":2}}`)
		var t record
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			failure += n.name + " refuses the connection; "
			if passed++; passed == len(c.nodes) {
				return again, failure
			}
		case err == nil && a.status == http.StatusServiceUnavailable && !again:
			failure += fmt.Sprintf("%s: %v; ", n.name, a)
			again = true
			time.Sleep(time.Second) // as Retry-After says
		case err == nil && a.status == http.StatusOK && json.Unmarshal(a.body, &t) == nil && t.ID != "":
			return again, ""
		default:
			return again, fmt.Sprintf("%s%s: %v %v", failure, n.name, a, err)
		}
	}
}

func (c *carefulClients) stop() {
	close(c.over)
	c.wg.Wait()
}
