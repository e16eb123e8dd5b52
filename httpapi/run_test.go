package httpapi

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"pytasks/fsm"
)

// TestRun: a task is queued as POST /task would, of a body that is its args alone.
func TestRun(t *testing.T) {
	for _, tt := range []struct {
		target, body string
		same         string // body of POST /task
	}{
		{"/run/test.main.add", `{"x":1,"y":2}`, `{"type":"test.main.add","args":{"x":1,"y":2}}`},
		{"/run/test.main.echo", ` {"value":[1.0,1e400]} `, `{"type":"test.main.echo","args":{"value":[1.0,1e400]}}`},
		{"/run/test.main.none?priority=9&delay=1.5&timeout=2m&id=a:1&tag=b&tag=c&max_attempts=7&where=zone%3Deu&where=gpu%3Dyes", `{}`,
			`{"type":"test.main.none","args":{},"priority":9,"delay":1.5,"timeout":"2m","id":"a:1","tags":["b","c"],"retry":{"max_attempts":7},"where":{"zone":"eu","gpu":"yes"}}`},
		{"/run/test.main.none?eta=2030-01-02T15:04:05Z&id=7", `{}`, `{"type":"test.main.none","args":{},"eta":"2030-01-02T15:04:05Z","id":"7"}`},
		{"/run/test.main.none?eta=1893549845.5&delay=", `{}`, `{"type":"test.main.none","args":{},"eta":1893549845.5}`},
		{"/run/test.main.hypot", `{"x":1,"y":2}`, `{"type":"test.main.hypot","args":{"x":1,"y":2}}`},
	} {
		s := newSetup()
		w := s.do("POST", tt.target, tt.body)
		wantStatus(t, w, 200)
		got := s.tasks.last(t)
		if a := decode(t, w); a.ID != idsOf([]*fsm.New{got})[0] || a.Status != "PENDING" || a.Type != got.Type || w.Header().Get("Location") != "/task/"+a.ID {
			t.Errorf("%s: %s %v", tt.target, w.Body, w.Header())
		}
		wantStatus(t, s.do("POST", "/task", tt.same), 200)
		want := s.tasks.last(t)
		got.Key, want.Key = nil, nil
		if !proto.Equal(got, want) {
			t.Errorf("%s: queued %v, want %v", tt.target, got, want)
		}
	}
}

func TestRunRefused(t *testing.T) {
	for _, tt := range []struct {
		target, body string
		status       int
		code, text   string
	}{
		{"/run/test.main.nope", `{}`, 404, "unknown_type", "task type test.main.nope doesnt exist"},
		{"/run/test.main.add", `{"x":1}`, 422, "invalid_task", "the required param y was not passed"},
		{"/run/test.main.add", `{"x":1,"y":2,"z":3}`, 422, "invalid_task", "z is not required"},
		{"/run/test.main.add", ``, 400, "bad_request", "Content-Type"},
		{"/run/test.main.add", `[]`, 400, "bad_request", "'list' object is not a dict"},
		{"/run/test.main.add", `{"x":1,"y":2} {}`, 400, "bad_request", "expected nothing more"},
		{"/run/test.main.add", `{"x":`, 400, "bad_request", "expected a JSON value"},
		{"/run/test.main.echo", `{"value":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, 400, "bad_request", "nested at most 100"},
		{"/run/test.main.none?prioritty=9", `{}`, 400, "bad_request", "there is no parameter prioritty"},
		{"/run/test.main.none?id=a&id=b", `{}`, 400, "bad_request", "the parameter id is given twice"},
		{"/run/test.main.none?wait=x", `{}`, 400, "bad_request", "wait must be"},
		{"/run/test.main.none?priority=high", `{}`, 422, "invalid_task", "the option priority must be"},
		{"/run/test.main.none?where=eu", `{}`, 422, "invalid_task", "where"},
		{"/run/test.main.none?max_attempts=0", `{}`, 422, "invalid_task", "retry.max_attempts"},
		{"/run/test.main.none?max_attempts=%7D", `{}`, 422, "invalid_task", "retry.max_attempts"},
		{"/run/test.main.none?delay=1&eta=2", `{}`, 422, "invalid_task", "the option eta"},
		{"/run/test.main.secret", `{"x":1}`, 401, "token_missing", ""},
		{"/run/test.main.none", `"` + strings.Repeat("x", 2000) + `"`, 413, "too_large", ""},
	} {
		s := newSetup(func(o *Options) { o.MaxBody = 1000 })
		w := s.do("POST", tt.target, tt.body)
		if a := decode(t, w); w.Code != tt.status || a.Code != tt.code || !strings.Contains(w.Body.String(), tt.text) || len(s.tasks.submits) > 0 {
			t.Errorf("%s %.40s: got %d %s, want %d %s %q", tt.target, tt.body, w.Code, w.Body, tt.status, tt.code, tt.text)
		}
	}
}

// TestRunWaits: the result comes with the answer.
func TestRunWaits(t *testing.T) {
	s := newSetup()
	status := fsm.Status_SUCCESS
	s.tasks.wait = func(ctx context.Context, id string) (*fsm.Task, error) {
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > 10*time.Second {
			t.Errorf("it waits until %v", end)
		}
		return &fsm.Task{Name: id, Type: "test.main.add", Status: status, Args: []byte(`{"x":1,"y":2}`), Result: []byte("3")}, nil
	}
	w := s.do("POST", "/run/test.main.add?wait=10s&id=a", `{"x":1,"y":2}`)
	if a := decode(t, w); w.Code != 200 || string(a.Result) != "3" || a.ID != "a" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	status = fsm.Status_STARTED
	wantStatus(t, s.do("POST", "/run/test.main.add?wait=1", `{"x":1,"y":2}`), 202)
}

// TestRunIdempotency: what the key stands for is what is to be done, not how long the answer is waited for.
func TestRunIdempotency(t *testing.T) {
	s := newSetup()
	s.tasks.wait = func(_ context.Context, id string) (*fsm.Task, error) {
		return &fsm.Task{Name: id, Type: "test.main.none", Status: fsm.Status_SUCCESS, Args: []byte("{}")}, nil
	}
	hash := func(target, body string) []byte {
		wantStatus(t, s.do("POST", target, body, "Idempotency-Key", "k"), 200)
		last := s.tasks.submits[len(s.tasks.submits)-1]
		if last.IdempotencyKey != "k" {
			t.Errorf("%s: the key is %q", target, last.IdempotencyKey)
		}
		return last.BodyHash
	}
	first := hash("/run/test.main.none?tag=a&priority=1", "{}")
	for target, same := range map[string]bool{
		"/run/test.main.none?priority=1&tag=a": true, "/run/test.main.none?wait=5&priority=1&tag=a": true,
		"/run/test.main.none?priority=2&tag=a": false, "/run/test.main.none": false,
	} {
		if bytes.Equal(first, hash(target, "{}")) != same {
			t.Errorf("%s counts as the same: %t", target, !same)
		}
	}
	if bytes.Equal(first, hash("/run/test.main.none?tag=a&priority=1", "{ }")) {
		t.Error("another body counts as the same")
	}
}
