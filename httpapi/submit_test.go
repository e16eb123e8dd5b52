package httpapi

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pytasks/fsm"
)

func TestSubmit(t *testing.T) {
	s := newSetup()
	w := s.do("POST", "/task", `{"type":"test.main.add","args": {"x":1, "y":2} , "other": 1}`)
	wantStatus(t, w, 200)
	a := decode(t, w)
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$`).MatchString(a.ID) {
		t.Errorf("id %q is no UUIDv7 in lower case", a.ID)
	}
	if want := fmt.Sprintf(`{"id":"%s","type":"test.main.add","status":"PENDING"}`+"\n", a.ID); w.Body.String() != want {
		t.Errorf("body: got %s, want %s", w.Body, want)
	}
	if got, want := w.Header().Get("Location"), "/task/"+a.ID; got != want {
		t.Errorf("Location: got %q, want %q", got, want)
	}
	n := s.tasks.last(t)
	if string(n.Args) != `{"x":1, "y":2}` || n.Type != "test.main.add" || fsm.Key(n.Key).String() != a.ID {
		t.Errorf("submitted: %v", n)
	}
}

// Checks 4 to 8 of the contract.
func TestSubmitRefused(t *testing.T) {
	s := newSetup()
	const (
		needs = "This endpoint requires the 'Authentication: Bearer JWT_token' header."
		bad   = "This token is invalid"
	)
	for _, tt := range []struct {
		name, body, token string
		status            int
		message           string
		params            string // of the faults, joined
	}{
		{"unknown type", `{"type":"nope","args":{"x":1}}`, "", 404, "task type nope doesnt exist", ""},
		{"full path", `{"type":"tasks.packs.test.main.add","args":{}}`, "", 404, "task type tasks.packs.test.main.add doesnt exist", ""},
		{"no token", `{"type":"test.main.secret","args":{}}`, "", 401, needs, ""},
		{"a token", `{"type":"test.main.secret","args":{"x":1}}`, "Bearer abc", 401, bad, ""},
		{"no scheme", `{"type":"test.main.secret","args":{"x":1}}`, "abc", 401, bad, ""},
		{"missing", `{"type":"test.main.add","args":{"x":1}}`, "", 422, "the required param y was not passed. ", "y"},
		{"type", `{"type":"test.main.add","args":{"x":1.0,"y":true}}`, "", 422, "the passed param x doesnt match the required type: <class 'int'>.", "x y"},
		{"not required", `{"type":"test.main.add","args":{"z":1,"x":1,"y":2}}`, "", 422, "the passed param z is not required.", "z"},
		{"declared first", `{"type":"test.main.add","args":{"z":1,"y":"2"}}`, "", 422, "the required param x was not passed. ", "x y z"},
		{"args before options", `{"type":"test.main.add","args":{"x":1},"priority":99}`, "", 422, "the required param y was not passed. ", "y"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := s.do("POST", "/task", tt.body, "Authorization", tt.token)
			wantStatus(t, w, tt.status)
			a := decode(t, w)
			if a.Message != tt.message {
				t.Errorf("message: got %q, want %q", a.Message, tt.message)
			}
			if tt.params == "" {
				return
			}
			var params []string
			for _, f := range a.faults(t) {
				params = append(params, f.Param)
				if f.Code == "" || f.Message == "" {
					t.Errorf("incomplete fault %+v", f)
				}
			}
			if got := strings.Join(params, " "); got != tt.params {
				t.Errorf("faults of %q, want %q", got, tt.params)
			}
		})
	}
	if len(s.tasks.submits) > 0 {
		t.Errorf("%d refused tasks were submitted", len(s.tasks.submits))
	}
}

// Values pass through as they were written.
func TestSubmitExact(t *testing.T) {
	big := "1" + strings.Repeat("0", 300) + "1"
	for _, args := range []string{
		`{"value":` + big + `}`,
		`{"value":[1,1.0,1e2,-0,{"a":9007199254740993,"b":0.10000000000000000555}]}`,
		`{"value":"\ud800\u00e9 \u0000<>&"}`,
		"{ \"value\" :\n\tnull }",
	} {
		s := newSetup()
		wantStatus(t, s.do("POST", "/task", `{"args":`+args+`,"type":"test.main.echo"}`), 200)
		if got := string(s.tasks.last(t).Args); got != args {
			t.Errorf("args: got %s, want %s", got, args)
		}
	}
}

func TestSubmitLastKeyCounts(t *testing.T) {
	s := newSetup()
	wantStatus(t, s.do("POST", "/task", `{"type":5,"args":7,"priority":77,"ar\u0067s":{},"\u0074ype":"test.main.\u006eone","priority":3}`), 200)
	if n := s.tasks.last(t); n.Type != "test.main.none" || string(n.Args) != "{}" || n.Priority != 3 {
		t.Errorf("submitted: %v", n)
	}
}

// TestSubmitDiskFull: the answer names the node whose disk is nearly full.
func TestSubmitDiskFull(t *testing.T) {
	s := newSetup()
	s.tasks.submit = func(context.Context, *fsm.Submit) (*fsm.Outcome, error) {
		return &fsm.Outcome{Code: fsm.Code_DISK_FULL, Node: 2}, fsm.ErrDiskFull
	}
	w := s.do("POST", "/task", `{"type":"test.main.none","args":{}}`)
	wantStatus(t, w, 503)
	a := decode(t, w)
	if a.Code != "disk_full" || !strings.Contains(a.Message, "node bob") || w.Header().Get("Retry-After") != "1" {
		t.Errorf("got %+v, Retry-After %q, want disk_full of node bob and 1", a, w.Header().Get("Retry-After"))
	}
}

func TestSubmitErrors(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		code   string
		again  bool
		id     bool
	}{
		{fsm.ErrIDTaken, 409, "id_taken", false, false},
		{fsm.ErrKeyReused, 422, "key_reused", false, false},
		{fsm.ErrQueueFull, 429, "queue_full", true, false},
		{fsm.ErrNoLeader, 503, "no_leader", true, false},
		{fmt.Errorf("forward to 10.0.0.1: %w", fsm.ErrUnknown), 503, "unknown", true, true},
		{context.DeadlineExceeded, 503, "unknown", true, true},
		{errors.New("disk /var/x is broken"), 500, "internal", false, false},
		{fsm.ErrStale, 500, "internal", false, false},
	} {
		t.Run(tt.code, func(t *testing.T) {
			s := newSetup()
			var id string
			s.tasks.submit = func(ctx context.Context, s *fsm.Submit) (*fsm.Outcome, error) {
				if _, ok := ctx.Deadline(); !ok {
					t.Error("the write may wait for ever")
				}
				id = idsOf(s.Tasks)[0]
				return nil, tt.err
			}
			w := s.do("POST", "/task?wait=5s", `{"type":"test.main.none","args":{}}`)
			wantStatus(t, w, tt.status)
			a := decode(t, w)
			if a.Code != tt.code || a.Message == "" || strings.Contains(a.Message, "10.0.0.1") || strings.Contains(a.Message, "disk") {
				t.Errorf("answer: %+v", a)
			}
			if got := w.Header().Get("Retry-After") != ""; got != tt.again {
				t.Errorf("Retry-After: got %v, want %v", got, tt.again)
			}
			if tt.id && a.ID != id || !tt.id && a.ID != "" {
				t.Errorf("id: got %q, the task has %q", a.ID, id)
			}
		})
	}
}

func TestSubmitIdempotencyKey(t *testing.T) {
	s := newSetup()
	hash := func(target, body string) string {
		wantStatus(t, s.do("POST", target, body, "Idempotency-Key", "order 17"), 200)
		sub := s.tasks.submits[len(s.tasks.submits)-1]
		if sub.IdempotencyKey != "order 17" || sub.KeepKeyMs != 24*3600*1000 || len(sub.BodyHash) != 32 {
			t.Errorf("submit: %v", sub)
		}
		return string(sub.BodyHash)
	}
	one, other := `{"type":"test.main.none","args":{}}`, `{"type":"test.main.none","args": {}}`
	first := hash("/task", one)
	if hash("/task", one) != first {
		t.Error("the same request hashes differently")
	}
	if hash("/task", other) == first {
		t.Error("another body hashes the same")
	}
	wantStatus(t, s.do("POST", "/task", one), 200)
	if sub := s.tasks.submits[len(s.tasks.submits)-1]; sub.IdempotencyKey != "" || sub.BodyHash != nil || sub.KeepKeyMs != 0 {
		t.Errorf("without a key: %v", sub)
	}
	for _, key := range []string{"", "a\x01", "schlüssel", strings.Repeat("k", 256)} {
		if w := s.do("POST", "/task", one, "Idempotency-Key", key); w.Code != 400 {
			t.Errorf("key %q: got %d, want 400", key, w.Code)
		}
	}
	wantStatus(t, s.do("POST", "/task", one, "Idempotency-Key", strings.Repeat("k", 255)), 200)
}

// The answer to a repeated request is the first task's.
func TestSubmitReplayed(t *testing.T) {
	s := newSetup()
	s.tasks.submit = func(context.Context, *fsm.Submit) (*fsm.Outcome, error) {
		return &fsm.Outcome{Ids: []string{"first"}, Status: fsm.Status_SUCCESS}, nil
	}
	w := s.do("POST", "/task", `{"type":"test.main.none","args":{}}`, "Idempotency-Key", "k")
	if a := decode(t, w); a.ID != "first" || a.Status != "SUCCESS" {
		t.Errorf("answer: %+v", a)
	}
}

func TestSubmitWait(t *testing.T) {
	done := &fsm.Task{Name: "a", Type: "test.main.none", Args: []byte("{}"), Status: fsm.Status_SUCCESS, Result: []byte("5.0")}
	running := &fsm.Task{Name: "a", Type: "test.main.none", Args: []byte("{}"), Status: fsm.Status_STARTED}
	for _, tt := range []struct {
		name   string
		task   *fsm.Task
		err    error
		status int
		state  string
	}{
		{"finished", done, nil, 200, "SUCCESS"},
		{"time is up", running, nil, 202, "STARTED"},
		{"cannot wait", nil, fsm.ErrNoLeader, 202, "PENDING"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSetup()
			s.tasks.wait = func(ctx context.Context, id string) (*fsm.Task, error) {
				if _, ok := ctx.Deadline(); !ok || id != "a" {
					t.Errorf("waits for %q, deadline %v", id, ok)
				}
				return tt.task, tt.err
			}
			w := s.do("POST", "/task?wait=10s", `{"type":"test.main.none","args":{},"id":"a"}`)
			wantStatus(t, w, tt.status)
			if a := decode(t, w); a.Status != tt.state || a.ID != "a" || tt.state == "SUCCESS" && string(a.Result) != "5.0" {
				t.Errorf("answer: %s", w.Body)
			}
		})
	}
}

func TestSubmitBadWait(t *testing.T) {
	s := newSetup()
	for _, wait := range []string{"x", "-1", "11m", "601", "NaN", "1e400"} {
		wantStatus(t, s.do("POST", "/task?wait="+wait, `{"type":"test.main.none","args":{}}`), 400)
	}
	if len(s.tasks.submits) > 0 {
		t.Error("a refused task was submitted")
	}
	wantStatus(t, s.do("POST", "/task?wait=0", `{"type":"test.main.none","args":{}}`), 200)
}
