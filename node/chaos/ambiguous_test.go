//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// ambiguous kills leaders that have committed and not answered, while clients insist by their Idempotency-Keys: each key
// becomes exactly one task.
func (r *run) ambiguous() {
	r.Helper()
	const rounds, keys = 5, 200
	ids := map[string]string{} // by key
	for round := range rounds {
		leader := r.all.leader()
		var mu sync.Mutex
		var clients sync.WaitGroup
		r.crash(leader, "scheduler.commit.after", 3+round, func() {
			for i := range keys {
				clients.Go(func() {
					key := fmt.Sprintf("ambiguous-%d-%d", round, i)
					id := r.insist(key, i)
					mu.Lock()
					defer mu.Unlock()
					ids[key] = id
				})
			}
		})
		r.restart(leader)
		clients.Wait()
	}
	for key, id := range ids {
		if again := r.insist(key, 0); again != id {
			r.Errorf("key %s became task %s, and later %s", key, id, again)
		}
		text, err := r.all[0].get("/task?consistency=linearizable&tag=" + key)
		check(r, err)
		var page struct{ Items []record }
		check(r, json.Unmarshal(text, &page))
		if len(page.Items) != 1 || page.Items[0].ID != id {
			r.Errorf("key %s became tasks %+v, want %s alone", key, page.Items, id)
		}
	}
}

// insist sends a task under a key to one node after another until it is acknowledged, and returns its id.
func (r *run) insist(key string, turn int) string {
	body := fmt.Sprintf(`{"type":"test.main.add","args":{"x":1,"y":2},"tags":[%q]}`, key)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); turn++ {
		n := r.all[turn%len(r.all)]
		a, err := n.send(10*time.Second, http.MethodPost, "/task", body, "Idempotency-Key", key)
		var t record
		if err == nil && a.status == http.StatusOK && json.Unmarshal(a.body, &t) == nil && t.ID != "" {
			return t.ID
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.Errorf("key %s was not acknowledged within a minute", key)
	return ""
}
