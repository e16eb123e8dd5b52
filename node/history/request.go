package history

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// request is a submit as it is sent, and sent again.
type request struct {
	tasks []Task
	body  []byte
	key   string // Idempotency-Key, "" = none
	lasts bool   // it takes so long that a cancel may come in time
}

// payload stands for the body in a history.
func (r *request) payload() string { return sum(r.body) }

// again says whether the request may be sent a second time without becoming two tasks.
func (r *request) again() bool { return r.key != "" || len(r.tasks) == 1 && r.tasks[0].ID != "" }

// taskBody is a task as the API takes it.
type taskBody struct {
	Type     string         `json:"type"`
	Args     map[string]int `json:"args"`
	ID       string         `json:"id,omitempty"`
	Tags     []string       `json:"tags"`
	Priority *int           `json:"priority,omitempty"`
	Delay    float64        `json:"delay,omitempty"` // seconds
	Retry    *retryBody     `json:"retry,omitempty"`
}

type retryBody struct {
	MaxAttempts int     `json:"max_attempts"`
	Initial     float64 `json:"initial"` // seconds
	Max         float64 `json:"max"`     // seconds
}

// tagOf is the tag that every task of a workload carries, by which a list tells which it is.
func tagOf(name string, n int) string { return fmt.Sprintf("%s:%d", name, n) }

// draw makes up task n.
func draw(rng *rand.Rand, name string, n int) (Task, taskBody) {
	t := Task{N: n, Func: workFunc, Ms: rng.IntN(20)}
	b := taskBody{Type: t.Func, Tags: []string{tagOf(name, n)}}
	switch p := rng.IntN(100); {
	case p < 4:
		t.Func, t.Ms = deafFunc, 200+rng.IntN(1800)
	case p < 9:
		t.Ms = 1000 + rng.IntN(2000)
	case p < 19:
		t.Fail, t.MaxAttempts = 1+rng.IntN(2), 3
	case p < 24:
		t.Fail, t.MaxAttempts = -1, 1+rng.IntN(3)
	}
	b.Type, b.Args = t.Func, map[string]int{"n": n, "ms": t.Ms}
	if t.Func == workFunc {
		b.Args["fail"] = t.Fail
	}
	if t.MaxAttempts > 0 {
		b.Retry = &retryBody{MaxAttempts: t.MaxAttempts, Initial: 0.1, Max: 1}
	}
	if rng.IntN(10) == 0 {
		b.Delay = 0.05 + 2*rng.Float64()
	}
	if rng.IntN(3) == 0 {
		priority := rng.IntN(10)
		b.Priority = &priority
	}
	return t, b
}

// newRequest makes a request for so many new tasks, a batch if there are several; the id
// is that of a single one, the key that of the request.
func newRequest(rng *rand.Rand, name string, numbers []int, id, key string) *request {
	r := &request{key: key}
	bodies := make([]taskBody, len(numbers))
	for i, n := range numbers {
		var t Task
		t, bodies[i] = draw(rng, name, n)
		if len(numbers) == 1 {
			t.ID, bodies[i].ID = id, id
		}
		r.tasks = append(r.tasks, t)
		r.lasts = r.lasts || t.Ms >= 1000 || bodies[i].Delay > 0
	}
	var body any = map[string]any{"tasks": bodies}
	if len(numbers) == 1 {
		body = bodies[0]
	}
	r.body, _ = json.Marshal(body) // of ints, floats and texts: it cannot fail
	return r
}
