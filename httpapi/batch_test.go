package httpapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pytasks/fsm"
)

func batchOf(n int, task string) string {
	return `{"tasks":[` + strings.TrimSuffix(strings.Repeat(task+",", n), ",") + `]}`
}

func TestBatch(t *testing.T) {
	s := newSetup()
	w := s.do("POST", "/tasks/batch", `{"tasks":[1,2],"note":[[]],"tasks":[
		{"type":"test.main.add","args":{"x":1,"y":2},"priority":4},
		{"type":"test.main.none","args":{ },"id":"mine","tags":["t"]} ]}`, "Idempotency-Key", "k")
	wantStatus(t, w, 200)
	a := decode(t, w)
	sub := s.tasks.submits[0]
	if len(s.tasks.submits) != 1 || len(sub.Tasks) != 2 || sub.IdempotencyKey != "k" {
		t.Fatalf("submits: %v", s.tasks.submits)
	}
	if want := idsOf(sub.Tasks); !slices.Equal(a.IDs, want) || a.IDs[1] != "mine" {
		t.Errorf("ids: got %q, want %q", a.IDs, want)
	}
	if n := sub.Tasks[0]; n.Priority != 4 || string(n.Args) != `{"x":1,"y":2}` || n.Type != "test.main.add" {
		t.Errorf("first task: %v", n)
	}
	if n := sub.Tasks[1]; string(n.Args) != `{ }` || n.Tags[0] != "t" {
		t.Errorf("second task: %v", n)
	}
}

func TestBatchSize(t *testing.T) {
	s := newSetup()
	wantStatus(t, s.do("POST", "/tasks/batch", batchOf(10_000, `{"type":"test.main.none","args":{}}`)), 200)
	ids := map[string]bool{}
	for _, id := range idsOf(s.tasks.submits[0].Tasks) {
		ids[id] = true
	}
	if len(ids) != 10_000 {
		t.Errorf("%d different ids, want 10000", len(ids))
	}
	wantStatus(t, s.do("POST", "/tasks/batch", batchOf(10_001, `{"type":"test.main.none","args":{}}`)), 413)
}

func TestBatchBadBody(t *testing.T) {
	s := newSetup()
	for _, body := range []string{`{}`, `{"tasks":5}`, `{"tasks":null}`, `{"tasks":{}}`, `{"tasks":[]}`, `[]`, `{"tasks":[{}`, `{"tasks":[{"type":}]}`} {
		w := s.do("POST", "/tasks/batch", body)
		wantStatus(t, w, 400)
		a := decode(t, w)
		if text := a.fields(t)["tasks"]; a.Message != "Input payload validation failed" || !strings.HasPrefix(text, "You need to inform tasks") {
			t.Errorf("%s: %s", body, w.Body)
		}
	}
}

// The first bad task decides the status; every bad one is listed.
func TestBatchRefused(t *testing.T) {
	s := newSetup()
	const good = `{"type":"test.main.add","args":{"x":1,"y":2}}`
	for _, tt := range []struct {
		bad    string
		status int
		param  string
	}{
		{`7`, 400, "type"},
		{`{"type":"test.main.add"}`, 400, "args"},
		{`{"type":"nope","args":{}}`, 404, ""},
		{`{"type":"test.main.secret","args":{}}`, 401, ""},
		{`{"type":"test.main.add","args":{"x":1}}`, 422, "y"},
		{`{"type":"test.main.add","args":{"x":1,"y":2},"priority":12}`, 422, "priority"},
	} {
		w := s.do("POST", "/tasks/batch", `{"tasks":[`+good+`,`+tt.bad+`,`+good+`,{"type":"other","args":{}}]}`)
		wantStatus(t, w, tt.status)
		a := decode(t, w)
		list := a.faults(t)
		if len(list) != 2 || list[0].Task == nil || *list[0].Task != 1 || *list[1].Task != 3 {
			t.Errorf("%s: %s", tt.bad, w.Body)
			continue
		}
		if list[0].Param != tt.param || list[0].Message == "" || a.Message == "" {
			t.Errorf("%s: %s", tt.bad, w.Body)
		}
	}
	if len(s.tasks.submits) > 0 {
		t.Error("a refused batch was submitted")
	}
	w := s.do("POST", "/tasks/batch", batchOf(500, `{"type":"test.main.add","args":{"z":1}}`))
	wantStatus(t, w, 422)
	a := decode(t, w)
	if n := len(a.faults(t)); n != 100 {
		t.Errorf("%d faults listed, want 100", n)
	}
}

func TestBatchUnknownOutcome(t *testing.T) {
	s := newSetup()
	var ids []string
	s.tasks.submit = func(_ context.Context, s *fsm.Submit) (*fsm.Outcome, error) {
		ids = idsOf(s.Tasks)
		return nil, fmt.Errorf("call: %w", fsm.ErrUnknown)
	}
	w := s.do("POST", "/tasks/batch", batchOf(3, `{"type":"test.main.none","args":{}}`))
	wantStatus(t, w, 503)
	if a := decode(t, w); !slices.Equal(a.IDs, ids) || len(ids) != 3 {
		t.Errorf("ids: got %q, want %q", a.IDs, ids)
	}
}
