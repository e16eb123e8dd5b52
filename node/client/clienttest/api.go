package clienttest

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// API is a node's REST API over tasks in memory. A task runs when it is first read
// or waited for.
type API struct {
	Mu       sync.Mutex
	Tasks    map[string]*Task  // guarded by mu
	Order    []string          // guarded by mu; ids, oldest first
	keys     map[string]string // guarded by mu; Idempotency-Key to id
	requests []string          // guarded by mu; method and path of each
	Hosts    map[string]int    // guarded by mu; requests by the address they came to

	Spoil func(w http.ResponseWriter, r *http.Request) bool // answers instead, if not nil and true
	Sum   func(x, y *big.Int) *big.Int                      // the result of test.main.add, nil = right
}

type Task struct {
	ID     string          `json:"id"`
	Status string          `json:"status"`
	Result json.RawMessage `json:"result"`
	Type   string          `json:"type"`
	Args   json.RawMessage `json:"args"`
	Tags   []string        `json:"tags,omitempty"`
	Done   string          `json:"finished_at,omitempty"`
	Error  *Error          `json:"error,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

type Error struct {
	Type      string `json:"type"`
	Message   string `json:"message"`
	Traceback string `json:"traceback"`
}

func New(t *testing.T) (*API, string) {
	t.Helper()
	f := &API{Tasks: map[string]*Task{}, keys: map[string]string{}, Hosts: map[string]int{}}
	return f, f.Serve(t)
}

// serve gives the API an address, or one more.
func (f *API) Serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL
}

func (f *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	f.requests = append(f.requests, r.Method+" "+r.URL.String())
	f.Hosts["http://"+r.Host]++
	w.Header().Set("Content-Type", "application/json")
	if f.Spoil != nil && f.Spoil(w, r) {
		return
	}
	wait := r.URL.Query().Get("wait") != ""
	switch path := r.URL.Path; {
	case path == "/ping":
		fmt.Fprintln(w, `{"status": "online"}`)
	case path == "/readyz":
		fmt.Fprintln(w, "[+]leader ok")
	case path == "/packs/test":
		fmt.Fprintln(w, `{"name": "test", "tasks": [
			{"type": "test.main.add", "schema": {"properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}}},
			{"type": "test.main.fail", "schema": {"properties": {"message": {"type": "string"}}}}]}`)
	case path == "/tasks":
		fmt.Fprintln(w, `{"test.main.add": {"require_authorization": false, "args": {"x": "<class 'int'>", "y": "<class 'int'>"}},
			"test.main.fail": {"require_authorization": false, "args": {"message": "<class 'str'>"}}}`)
	case path == "/task" && r.Method == http.MethodPost:
		var in Task
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("Content-Type") != "application/json" {
			AnswerError(w, http.StatusBadRequest, "bad_request", "not a task")
			return
		}
		id := f.Add(&in, r.Header.Get("Idempotency-Key"))
		f.answer(w, id, wait)
	case path == "/tasks/batch":
		var in struct{ Tasks []*Task }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			AnswerError(w, http.StatusBadRequest, "bad_request", "no tasks")
			return
		}
		var ids []string
		for _, t := range in.Tasks {
			ids = append(ids, f.Add(t, ""))
		}
		json.NewEncoder(w).Encode(map[string]any{"ids": ids})
	case path == "/task":
		f.list(w, r)
	case path == "/cluster":
		fmt.Fprintf(w, `{"leader": "a", "nodes": [
			{"name": "a", "role": "voter", "status": "alive", "slots": 4, "running": 1, "http": "http://a:1", "packs": ["test", "p"], "labels": {"zone": "eu", "gpu": "yes"}},
			{"name": "b", "role": "voter", "status": "alive", "slots": 2, "running": 0, "http": "http://%s", "draining": true, "until_resumed": true, "drained": true}]}`, r.Host)
	case path == "/cluster/stepdown":
		fmt.Fprintln(w, `{"leader": "b"}`)
	case path == "/nodes/a/drain" && r.Method == http.MethodPost && r.URL.Query().Get("force") == "":
		AnswerError(w, http.StatusConflict, "last_node", "none would be left")
	case path == "/nodes/a/labels":
		body, _ := io.ReadAll(r.Body)
		if string(body) != `{"gpu":null,"zone":"eu"}` {
			AnswerError(w, http.StatusUnprocessableEntity, "args", string(body))
			return
		}
		fmt.Fprintln(w, `{}`)
	case strings.HasSuffix(path, "/drain"):
		fmt.Fprintln(w, `{}`)
	case strings.HasPrefix(path, "/nodes/") && r.Method == http.MethodDelete:
		fmt.Fprintln(w, `{}`)
	case strings.HasSuffix(path, "/cancel"):
		AnswerError(w, http.StatusConflict, "finished", "the task is finished already: SUCCESS")
	case strings.HasSuffix(path, "/retry"):
		id := strings.TrimSuffix(strings.TrimPrefix(path, "/task/"), "/retry")
		switch old := f.Tasks[id]; {
		case old == nil:
			AnswerError(w, http.StatusNotFound, "not_found", "there is no task "+id)
		case old.Done == "":
			AnswerError(w, http.StatusConflict, "unfinished", "the task is not finished")
		default:
			f.answer(w, f.Add(&Task{Type: old.Type, Args: old.Args}, r.Header.Get("Idempotency-Key")), false)
		}
	default:
		id := strings.TrimPrefix(path, "/task/")
		if f.Tasks[id] == nil {
			AnswerError(w, http.StatusNotFound, "not_found", "there is no task "+id)
			return
		}
		f.answer(w, id, true)
	}
}

// add queues a task; under a known key it is the one that was queued before.
func (f *API) Add(t *Task, key string) string {
	if id, known := f.keys[key]; known && key != "" {
		return id
	}
	t.ID = fmt.Sprintf("0192f0c1-0000-7000-8000-%012d", len(f.Order))
	t.Status, t.Result = "PENDING", json.RawMessage("{}")
	f.Tasks[t.ID] = t
	f.Order = append(f.Order, t.ID)
	f.keys[key] = t.ID
	return t.ID
}

func (f *API) answer(w http.ResponseWriter, id string, run bool) {
	t := f.Tasks[id]
	if run && t.Status == "PENDING" {
		f.run(t)
	}
	json.NewEncoder(w).Encode(t)
}

func (f *API) run(t *Task) {
	var args struct {
		X, Y    big.Int
		Message string
	}
	t.Done = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	if err := json.Unmarshal(t.Args, &args); err != nil || t.Type == "test.main.fail" {
		t.Status, t.Reason = "FAILURE", "error"
		t.Error = &Error{Type: "Error", Message: args.Message, Traceback: "line 1\nline 2"}
		return
	}
	sum := (&big.Int{}).Add
	if f.Sum != nil {
		sum = f.Sum
	}
	t.Status, t.Result = "SUCCESS", json.RawMessage(sum(&args.X, &args.Y).String())
}

// list answers newest first; the cursor is the number of tasks to skip.
func (f *API) list(w http.ResponseWriter, r *http.Request) {
	skip, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > 1000 {
		AnswerError(w, http.StatusBadRequest, "bad_request", "limit: 1 to 1000")
		return
	}
	page := map[string]any{}
	items := []*Task{}
	at := len(f.Order) - 1 - skip
	for ; at >= 0 && len(items) < limit; at-- {
		t := f.Tasks[f.Order[at]]
		if status := r.URL.Query().Get("status"); status == "" || status == t.Status {
			items = append(items, t)
		}
	}
	page["items"] = items
	if at >= 0 {
		page["next_cursor"] = strconv.Itoa(len(f.Order) - 1 - at)
	}
	json.NewEncoder(w).Encode(page)
}

func (f *API) Seen() []string {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	return append([]string(nil), f.requests...)
}

func AnswerError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Retry-After", "0")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"code": code, "message": message})
}

// DeadAddr is an address where nobody listens.
func DeadAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// FailedTasks adds tasks that have failed, each with its number as the message, and returns their ids.
func (f *API) FailedTasks(n int) (ids []string) {
	for i := range n {
		args, _ := json.Marshal(map[string]string{"message": string(rune('a' + i))})
		id := f.Add(&Task{Type: "test.main.fail", Args: args}, "")
		f.run(f.Tasks[id])
		ids = append(ids, id)
	}
	return ids
}

// Messages returns what the tasks after the first few say, in the order in which they were queued.
func (f *API) Messages(after int) string {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	var text strings.Builder
	for _, id := range f.Order[after:] {
		var args struct{ Message string }
		if err := json.Unmarshal(f.Tasks[id].Args, &args); err != nil {
			return err.Error()
		}
		text.WriteString(args.Message)
	}
	return text.String()
}
