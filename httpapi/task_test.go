package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pytasks/fsm"
)

const created = 1_893_549_845_678 // 2030-01-02T02:04:05.678Z

func TestGet(t *testing.T) {
	key := fsm.NewKey(time.Now())
	for _, tt := range []struct {
		task *fsm.Task
		want string
	}{
		{
			&fsm.Task{Key: key[:], Type: "test.main.add", Args: []byte(`{"x":1 }`), Status: fsm.Status_PENDING, CreatedMs: created, DueMs: created + 1},
			`{"id":"` + key.String() + `","status":"PENDING","result":{},"type":"test.main.add","args":{"x":1 },"attempt":0,` +
				`"created_at":"2030-01-02T02:04:05.678Z","due_at":"2030-01-02T02:04:05.679Z","priority":0,"tags":[]}`,
		},
		{
			&fsm.Task{Name: "runs", Type: "t", Args: []byte("{}"), Status: fsm.Status_STARTED, CreatedMs: created, AssignedMs: created + 1, Attempt: 1, Place: &fsm.Place{Node: 1}},
			`{"id":"runs","status":"STARTED","result":{},"type":"t","args":{},"attempt":1,"node":"ada",` +
				`"created_at":"2030-01-02T02:04:05.678Z","assigned_at":"2030-01-02T02:04:05.679Z","priority":0,"tags":[]}`,
		},
		{
			&fsm.Task{
				Name: "mine", Type: "test.main.hypot", Args: []byte(`{"x":3.0,"y":4}`), Status: fsm.Status_SUCCESS, Result: []byte(`5.0`),
				Attempt: 2, Place: &fsm.Place{Node: 2}, CreatedMs: created, AssignedMs: created + 1, StartedMs: created + 1000, FinishedMs: created + 2322,
				Priority: 9, Tags: []string{"a", "é\"\n\x01"}, TimeoutMs: 1050,
				Retry: &fsm.Retry{MaxAttempts: 3, InitialMs: 1005, Factor: 1.5, MaxMs: 300_000, Jitter: 0.2},
				Past:  []*fsm.Past{{Attempt: 1, Node: 1, StartMs: created, EndMs: created + 322, Reason: "error", Message: "no"}},
			},
			`{"id":"mine","status":"SUCCESS","result":5.0,"type":"test.main.hypot","args":{"x":3.0,"y":4},"attempt":2,"node":"bob",` +
				`"created_at":"2030-01-02T02:04:05.678Z","started_at":"2030-01-02T02:04:06.678Z","finished_at":"2030-01-02T02:04:08.000Z",` +
				`"priority":9,"tags":["a","é\"\n\u0001"],"timeout":1.05,` +
				`"retry":{"max_attempts":3,"initial":1.005,"factor":1.5,"max":300,"jitter":0.2},` +
				`"attempts":[{"attempt":1,"node":"ada","started_at":"2030-01-02T02:04:05.678Z","ended_at":"2030-01-02T02:04:06.000Z",` +
				`"reason":"error","message":"no"}]}`,
		},
		{
			&fsm.Task{
				Name: "f", Type: "test.main.none", Args: []byte(`{}`), Status: fsm.Status_FAILURE, Result: []byte("1"), Attempt: 1, Place: &fsm.Place{Node: 1},
				CreatedMs: created, FinishedMs: created, Reason: "error",
				Error: &fsm.Failure{Type: "PanicError", Message: "bad \xff byte", Traceback: "main.go:1\n"},
			},
			`{"id":"f","status":"FAILURE","result":{},"type":"test.main.none","args":{},"attempt":1,"node":"ada",` +
				`"created_at":"2030-01-02T02:04:05.678Z","finished_at":"2030-01-02T02:04:05.678Z","priority":0,"tags":[],"reason":"error",` +
				`"error":{"type":"PanicError","message":"bad \ufffd byte","traceback":"main.go:1\n"}}`,
		},
	} {
		s := newSetup()
		id := tt.task.ID()
		s.tasks.tasks[id] = tt.task
		w := s.do("GET", "/task/"+id, "")
		wantStatus(t, w, 200)
		if got := w.Body.String(); got != tt.want+"\n" {
			t.Errorf("task %s:\n got %s\nwant %s", id, got, tt.want)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("task %s is no JSON", id)
		}
	}
}

func TestGetUnknown(t *testing.T) {
	s := newSetup()
	w := s.do("GET", "/task/no-such%20task", "")
	wantStatus(t, w, 404)
	if a := decode(t, w); a.Code != "not_found" || !strings.Contains(a.Message, "no-such task") {
		t.Errorf("answer: %+v", a)
	}
	s.tasks.wait = func(context.Context, string) (*fsm.Task, error) { return nil, fsm.ErrNotFound }
	wantStatus(t, s.do("GET", "/task/nope?wait=1s", ""), 404)
}

func TestGetConsistency(t *testing.T) {
	s := newSetup()
	s.tasks.tasks["a"] = &fsm.Task{Name: "a", Args: []byte("{}"), Status: fsm.Status_PENDING}
	for query, want := range map[string]Consistency{"": Default, "?consistency=default": Default, "?consistency=stale": Stale, "?consistency=linearizable": Linearizable} {
		wantStatus(t, s.do("GET", "/task/a"+query, ""), 200)
		if s.tasks.how != want {
			t.Errorf("%q: got %q, want %q", query, s.tasks.how, want)
		}
	}
	w := s.do("GET", "/task/a?consistency=strong", "")
	wantStatus(t, w, 400)
	if a := decode(t, w); !strings.Contains(a.Message, "linearizable") {
		t.Errorf("message %q does not say what is allowed", a.Message)
	}
}

func TestGetWait(t *testing.T) {
	s := newSetup()
	state := fsm.Status_STARTED
	s.tasks.wait = func(ctx context.Context, id string) (*fsm.Task, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the wait has no end")
		}
		return &fsm.Task{Name: id, Args: []byte("{}"), Status: state, Result: []byte("1")}, nil
	}
	for want, status := range map[int]fsm.Status{202: fsm.Status_RETRY, 200: fsm.Status_REVOKED} {
		state = status
		w := s.do("GET", "/task/a?wait=2.5", "")
		wantStatus(t, w, want)
		if a := decode(t, w); a.Status != status.String() || string(a.Result) != "{}" {
			t.Errorf("answer: %s", w.Body)
		}
	}
	wantStatus(t, s.do("GET", "/task/a?wait=1h", ""), 400)
}

func TestGetErrors(t *testing.T) {
	s := newSetup()
	for _, tt := range []struct {
		err    error
		status int
		code   string
	}{
		{fsm.ErrNoLeader, 503, "no_leader"},
		{fmt.Errorf("ask: %w", context.DeadlineExceeded), 503, "timeout"},
		{fsm.ErrUnknown, 503, "timeout"},
		{errors.New("bolt: /data/state.db is broken"), 500, "internal"},
	} {
		s.tasks.task = func(context.Context, string) (*fsm.Task, error) { return nil, tt.err }
		w := s.do("GET", "/task/a", "")
		wantStatus(t, w, tt.status)
		if a := decode(t, w); a.Code != tt.code || strings.Contains(a.Message, "bolt") {
			t.Errorf("%v: %+v", tt.err, a)
		}
		if got := w.Header().Get("Retry-After") != ""; got != (tt.status == 503) {
			t.Errorf("%v: Retry-After is %v", tt.err, got)
		}
	}
}

func TestCancel(t *testing.T) {
	for _, tt := range []struct {
		name   string
		out    *fsm.Outcome
		err    error
		status int
		state  string
		code   string
	}{
		{"pending", &fsm.Outcome{Status: fsm.Status_REVOKED}, nil, 200, "REVOKED", ""},
		{"revoked before", &fsm.Outcome{Status: fsm.Status_REVOKED}, fsm.ErrFinished, 200, "REVOKED", ""},
		{"finished", &fsm.Outcome{Status: fsm.Status_SUCCESS}, fsm.ErrFinished, 409, "SUCCESS", "finished"},
		{"finished, status unknown", nil, fsm.ErrFinished, 409, "FAILURE", "finished"},
		{"unknown", nil, fsm.ErrNotFound, 404, "", "not_found"},
		{"no leader", nil, fsm.ErrNoLeader, 503, "", "no_leader"},
		{"in doubt", nil, fsm.ErrUnknown, 503, "", "unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSetup()
			s.tasks.tasks["a"] = &fsm.Task{Name: "a", Status: fsm.Status_FAILURE}
			s.tasks.cancel = func(_ context.Context, id string) (*fsm.Outcome, error) {
				if id != "a" {
					t.Errorf("cancels %q", id)
				}
				return tt.out, tt.err
			}
			w := s.do("POST", "/task/a/cancel", "")
			wantStatus(t, w, tt.status)
			if a := decode(t, w); a.Status != tt.state || a.Code != tt.code || tt.state != "" && a.ID != "a" {
				t.Errorf("answer: %s", w.Body)
			}
		})
	}
}

func TestList(t *testing.T) {
	s := newSetup()
	s.tasks.list = func(fsm.Filter) (fsm.Page, error) {
		return fsm.Page{Next: "c2", Tasks: []*fsm.Task{
			{Name: "b", Type: "t", Args: []byte(`{"secret":1}`), Status: fsm.Status_SUCCESS, Result: []byte("2"), CreatedMs: created},
			{Name: "a", Type: "t", Status: fsm.Status_FAILURE, CreatedMs: created, Error: &fsm.Failure{Type: "E", Message: "m", Traceback: "long"}},
		}}, nil
	}
	w := s.do("GET", "/task?status=failure&type=t&tag=x%26y&limit=2&cursor=c1&consistency=stale", "")
	wantStatus(t, w, 200)
	if want := (fsm.Filter{Status: fsm.Status_FAILURE, Type: "t", Tag: "x&y", Limit: 2, Cursor: "c1"}); s.tasks.filter != want || s.tasks.how != Stale {
		t.Errorf("filter: got %+v %s, want %+v", s.tasks.filter, s.tasks.how, want)
	}
	want := `{"items":[{"id":"b","status":"SUCCESS","type":"t","attempt":0,"created_at":"2030-01-02T02:04:05.678Z","priority":0,"tags":[]},` +
		`{"id":"a","status":"FAILURE","type":"t","attempt":0,"created_at":"2030-01-02T02:04:05.678Z","priority":0,"tags":[],` +
		`"error":{"type":"E","message":"m"}}],"next_cursor":"c2"}` + "\n"
	if got := w.Body.String(); got != want {
		t.Errorf("body:\n got %s\nwant %s", got, want)
	}

	s.tasks.list = func(fsm.Filter) (fsm.Page, error) { return fsm.Page{}, nil }
	w = s.do("GET", "/task", "")
	if got := w.Body.String(); got != `{"items":[]}`+"\n" || s.tasks.filter != (fsm.Filter{Limit: 50}) || s.tasks.how != Default {
		t.Errorf("empty list: %s with filter %+v", got, s.tasks.filter)
	}
}

func TestListRefused(t *testing.T) {
	s := newSetup()
	s.tasks.list = func(f fsm.Filter) (fsm.Page, error) {
		if f.Cursor != "" {
			return fsm.Page{}, fsm.ErrBadCursor
		}
		return fsm.Page{}, nil
	}
	for query, says := range map[string]string{
		"limit=0": "1 to 1000", "limit=1001": "1 to 1000", "limit=x": "1 to 1000",
		"status=DONE": "SCHEDULED, PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED", "status=UNKNOWN": "PENDING",
		"consistency=x": "stale", "cursor=x": "cursor",
	} {
		w := s.do("GET", "/task?"+query, "")
		if a := decode(t, w); w.Code != 400 || !strings.Contains(a.Message, says) {
			t.Errorf("%s: got %d %q, want 400 that says %q", query, w.Code, a.Message, says)
		}
	}
	wantStatus(t, s.do("GET", "/task?limit=1000", ""), 200)
}
