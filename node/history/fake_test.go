package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"pytasks/taskpacks"
)

// fake is a cluster of one lock, which runs what it is given, answers some requests with a
// refusal and loses the answers to others.
type fake struct {
	ctx   context.Context
	funcs *taskpacks.Registry
	fault fakeFault

	mu    sync.Mutex
	seen  int                   // requests; guarded by mu
	tasks map[string]*fakeTask  // guarded by mu
	order []string              // guarded by mu
	keys  map[string]fakeAnswer // guarded by mu
	wg    sync.WaitGroup
}

// fakeFault is a promise that the fake breaks, now and then.
type fakeFault int

const (
	sound   fakeFault = iota
	forgets           // tasks that it acknowledged
	doubles           // tasks that are sent again
	repeats           // attempts
	revives           // tasks that were cancelled
)

type fakeTask struct {
	body     taskBody
	status   string
	attempt  int
	failures int
	result   json.RawMessage
	over     bool // done is closed
	done     chan struct{}
	stop     context.CancelFunc
}

type fakeAnswer struct {
	payload string
	ids     []string
}

func newFake(t *testing.T, j Journal, fault fakeFault) http.Handler {
	funcs, err := taskpacks.NewRegistry(Pack(j))
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{ctx: t.Context(), funcs: funcs, fault: fault, tasks: map[string]*fakeTask{}, keys: map[string]fakeAnswer{}}
	t.Cleanup(f.wg.Wait)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /task", f.flaky(func(w http.ResponseWriter, r *http.Request) { f.submit(w, r, true) }))
	mux.HandleFunc("POST /tasks/batch", f.flaky(func(w http.ResponseWriter, r *http.Request) { f.submit(w, r, false) }))
	mux.HandleFunc("GET /task/{id}", f.get)
	mux.HandleFunc("GET /task", f.list)
	mux.HandleFunc("POST /task/{id}/cancel", f.flaky(f.cancel))
	return mux
}

// flaky refuses some requests and loses the answers to others.
func (f *fake) flaky(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen++
		n := f.seen
		f.mu.Unlock()
		switch {
		case n%20 == 0:
			w.Header().Set("Retry-After", "1")
			reply(w, http.StatusServiceUnavailable, map[string]any{"code": "no_leader"})
		case n%31 == 0:
			h(discard{http.Header{}}, r)
			reply(w, http.StatusServiceUnavailable, map[string]any{"code": "unknown"})
		default:
			h(w, r)
		}
	}
}

// discard is where lost answers go.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func reply(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fake) submit(w http.ResponseWriter, r *http.Request, single bool) {
	raw, _ := io.ReadAll(r.Body)
	var batch struct{ Tasks []taskBody }
	if single {
		batch.Tasks = make([]taskBody, 1)
		_ = json.Unmarshal(raw, &batch.Tasks[0])
	} else {
		_ = json.Unmarshal(raw, &batch)
	}
	f.mu.Lock()
	key := r.Header.Get("Idempotency-Key")
	before, kept := f.keys[key]
	kept = kept && f.fault != doubles
	ids := before.ids
	switch {
	case kept && before.payload != string(raw):
		f.mu.Unlock()
		reply(w, http.StatusUnprocessableEntity, map[string]any{"code": "key_reused"})
		return
	case kept:
	case single && f.tasks[batch.Tasks[0].ID] != nil:
		ids = []string{batch.Tasks[0].ID}
	default:
		ids = nil
		for _, b := range batch.Tasks {
			ids = append(ids, f.queue(b))
		}
		if key != "" {
			f.keys[key] = fakeAnswer{string(raw), ids}
		}
	}
	t := f.tasks[ids[0]]
	status := t.status
	f.mu.Unlock()
	if !single {
		reply(w, http.StatusOK, map[string]any{"ids": ids})
		return
	}
	if wait, err := time.ParseDuration(r.FormValue("wait")); err == nil {
		select {
		case <-t.done:
			f.show(w, http.StatusOK, ids[0])
			return
		case <-time.After(wait):
			f.show(w, http.StatusAccepted, ids[0])
			return
		}
	}
	reply(w, http.StatusOK, map[string]any{"id": ids[0], "status": status})
}

// queue adds a task and has it run. mu is held.
func (f *fake) queue(b taskBody) string {
	if b.ID == "" {
		b.ID = fmt.Sprintf("fake-%d", len(f.order))
	}
	ctx, stop := context.WithCancel(f.ctx)
	t := &fakeTask{body: b, status: "PENDING", done: make(chan struct{}), stop: stop}
	if b.Delay > 0 {
		t.status = "SCHEDULED"
	}
	f.tasks[b.ID] = t
	f.order = append(f.order, b.ID)
	f.wg.Go(func() { f.run(ctx, t) })
	return b.ID
}

// end makes a task final. The fake's mu is held.
func (t *fakeTask) end(status string) {
	if t.status = status; !t.over {
		t.over = true
		close(t.done)
	}
}

// run runs a task to its end.
func (f *fake) run(ctx context.Context, t *fakeTask) {
	pause(ctx, time.Duration(t.body.Delay*float64(time.Second)))
	fn, _ := f.funcs.Func(t.body.Type)
	args, _ := json.Marshal(t.body.Args)
	for {
		f.mu.Lock()
		if t.status == "REVOKED" {
			f.mu.Unlock()
			return
		}
		t.attempt++
		t.status = "STARTED"
		call := taskpacks.Call{ID: t.body.ID, Attempt: t.attempt, Node: "n1"}
		f.mu.Unlock()
		result, err := fn.Call(taskpacks.WithCall(ctx, call), args)
		if f.fault == repeats && t.attempt > 1 {
			result, err = fn.Call(taskpacks.WithCall(ctx, call), args)
		}
		f.mu.Lock()
		switch {
		case t.status == "REVOKED" && f.fault != revives:
		case err != nil && ctx.Err() != nil:
			t.end("FAILURE")
		case err == nil:
			t.result = result
			t.end("SUCCESS")
		case !errors.Is(err, errAsked):
			panic(err)
		default:
			t.failures++
			t.status = "RETRY"
			if t.body.Retry == nil || t.failures >= t.body.Retry.MaxAttempts {
				t.end("FAILURE")
			}
		}
		again := t.status == "RETRY"
		f.mu.Unlock()
		if !again {
			return
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func (f *fake) show(w http.ResponseWriter, status int, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tasks[id]
	if t == nil || f.fault == forgets && t.status == "SUCCESS" && t.body.Args["n"]%50 == 0 {
		reply(w, http.StatusNotFound, map[string]any{"code": "not_found"})
		return
	}
	v := map[string]any{"id": id, "status": t.status, "attempt": t.attempt, "result": struct{}{}, "node": "n1"}
	if t.status == "SUCCESS" {
		v["result"] = t.result
	}
	if t.status == "FAILURE" {
		v["reason"] = "error"
	}
	var past []Past
	for n := 1; n <= t.failures && (n < t.attempt || t.status == "RETRY"); n++ {
		past = append(past, Past{n, "n1", "error"})
	}
	v["attempts"] = past
	reply(w, status, v)
}

func (f *fake) get(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	f.mu.Lock()
	t := f.tasks[id]
	f.mu.Unlock()
	if wait, err := time.ParseDuration(r.FormValue("wait")); err == nil && t != nil {
		select {
		case <-t.done:
		case <-time.After(wait):
		}
	}
	f.show(w, http.StatusOK, id)
}

func (f *fake) cancel(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.PathValue("id")
	t := f.tasks[id]
	switch {
	case t == nil:
		reply(w, http.StatusNotFound, map[string]any{"code": "not_found"})
	case t.status == "SUCCESS" || t.status == "FAILURE":
		reply(w, http.StatusConflict, map[string]any{"code": "finished", "id": id, "status": t.status})
	default:
		t.end("REVOKED")
		t.stop()
		reply(w, http.StatusOK, map[string]any{"id": id, "status": t.status})
	}
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := 0
	fmt.Sscan(r.FormValue("cursor"), &from)
	to := min(from+100, len(f.order))
	var items []map[string]any
	for _, id := range f.order[from:to] {
		items = append(items, map[string]any{"id": id, "tags": f.tasks[id].body.Tags})
	}
	page := map[string]any{"items": items}
	if to < len(f.order) {
		page["next_cursor"] = fmt.Sprint(to)
	}
	reply(w, http.StatusOK, page)
}
