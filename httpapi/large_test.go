package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pytasks/fsm"
)

// blobs has the fake hand out texts by the first byte of their digest.
func (s *setup) blobs(texts map[byte]string) (open func() int) {
	n := 0
	s.tasks.blob = func(b *fsm.Blob) (io.ReadCloser, error) {
		text, ok := texts[b.Digest[0]]
		if !ok {
			return nil, fmt.Errorf("%w: here neither", fsm.ErrNoBlob)
		}
		n++
		return &closing{strings.NewReader(text), &n}, nil
	}
	return func() int { return n }
}

type closing struct {
	io.Reader
	open *int
}

func (c *closing) Close() error { *c.open--; return nil }

func named(first byte, text string) *fsm.Blob {
	return &fsm.Blob{Digest: []byte{first, 31: 0}, Size: int64(len(text))}
}

// TestLargeTask: a task is shown the same whether its arguments and result are in its record or not.
func TestLargeTask(t *testing.T) {
	key := fsm.Key{15: 1}
	task := func() *fsm.Task {
		return &fsm.Task{Key: key[:], Type: "test.main.echo", Args: []byte(`{"value":"x"}`), Result: []byte(`"x"`), Status: fsm.Status_SUCCESS, Attempt: 1}
	}
	id := task().ID()
	for name, change := range map[string]func(*fsm.Task){
		"args":   func(t *fsm.Task) { t.ArgsBlob, t.Args = named('a', string(t.Args)), nil },
		"result": func(t *fsm.Task) { t.ResultBlob, t.Result = named('r', string(t.Result)), nil },
		"both": func(t *fsm.Task) {
			t.ArgsBlob, t.Args = named('a', string(t.Args)), nil
			t.ResultBlob, t.Result = named('r', string(t.Result)), nil
		},
		"args of a failure": func(t *fsm.Task) { t.ArgsBlob, t.Args, t.Status = named('a', string(t.Args)), nil, fsm.Status_FAILURE },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetup()
			open := s.blobs(map[byte]string{'a': `{"value":"x"}`, 'r': `"x"`})
			inline, large := task(), task()
			change(large)
			inline.Status = large.Status
			s.tasks.tasks[id] = inline
			want := s.do("GET", "/task/"+id, "")
			wantStatus(t, want, 200)
			s.tasks.tasks[id] = large
			got := s.do("GET", "/task/"+id, "")
			wantStatus(t, got, 200)
			if got.Body.String() != want.Body.String() || got.Header().Get("Content-Type") != "application/json" {
				t.Errorf("got %s, want %s", got.Body, want.Body)
			}
			if length := got.Header().Get("Content-Length"); length != fmt.Sprint(got.Body.Len()) {
				t.Errorf("the length is announced as %s, it is %d", length, got.Body.Len())
			}
			if open() != 0 {
				t.Errorf("%d blobs were not closed", open())
			}
		})
	}
}

// TestLargeTaskMissing: bytes that nobody has are a 503, and who has just queued a task gets its id.
func TestLargeTaskMissing(t *testing.T) {
	s := newSetup()
	open := s.blobs(map[byte]string{'r': `"x"`})
	key := fsm.Key{15: 1}
	task := &fsm.Task{Key: key[:], Status: fsm.Status_SUCCESS, ArgsBlob: named('a', "{}"), ResultBlob: named('r', `"x"`)}
	s.tasks.tasks[task.ID()] = task
	w := s.do("GET", "/task/"+task.ID(), "")
	wantStatus(t, w, 503)
	if a := decode(t, w); a.Code != "no_blob" || w.Header().Get("Retry-After") == "" || strings.Contains(a.Message, "here neither") {
		t.Errorf("got %+v", a)
	}
	s.tasks.wait = func(context.Context, string) (*fsm.Task, error) { return task, nil }
	wantStatus(t, s.do("GET", "/task/"+task.ID()+"?wait=1s", ""), 503)
	w = s.do("POST", "/task?wait=1s", `{"type":"test.main.none","args":{}}`)
	wantStatus(t, w, 202)
	if a := decode(t, w); a.ID == "" {
		t.Errorf("got %+v, want an id", a)
	}
	if open() != 0 {
		t.Errorf("%d blobs were not closed", open())
	}
}

// TestLargeTaskCutShort: a client sees that an answer broke off, and a HEAD has no body.
func TestLargeTaskCutShort(t *testing.T) {
	s := newSetup()
	s.blobs(map[byte]string{'a': "{}"})
	key := fsm.Key{15: 1}
	task := &fsm.Task{Key: key[:], Status: fsm.Status_PENDING, ArgsBlob: named('a', "{} and more")}
	s.tasks.tasks[task.ID()] = task
	server := httptest.NewServer(s)
	defer server.Close()
	resp, err := http.Get(server.URL + "/task/" + task.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF {
		t.Errorf("reading what broke off: %v, want %v", err, io.ErrUnexpectedEOF)
	}
	head, err := http.Head(server.URL + "/task/" + task.ID())
	if err != nil {
		t.Fatal(err)
	}
	head.Body.Close()
	if head.ContentLength < 20 {
		t.Errorf("HEAD announces %d bytes", head.ContentLength)
	}
}

// TestSubmitTooMuch: what the queue finds too large is a 413 with its words.
func TestSubmitTooMuch(t *testing.T) {
	s := newSetup()
	s.tasks.submit = func(context.Context, *fsm.Submit) (*fsm.Outcome, error) { return nil, tooMuch{} }
	w := s.do("POST", "/tasks/batch", `{"tasks":[{"type":"test.main.none","args":{}}]}`)
	wantStatus(t, w, 413)
	if a := decode(t, w); a.Code != "too_large" || a.Message != "send it in parts" {
		t.Errorf("got %+v", a)
	}
	s.tasks.submit = func(context.Context, *fsm.Submit) (*fsm.Outcome, error) { return nil, fsm.ErrDiskFull }
	w = s.do("POST", "/task", `{"type":"test.main.none","args":{}}`)
	wantStatus(t, w, 503)
	if a := decode(t, w); a.Code != "disk_full" || strings.Contains(a.Message, "node  ") {
		t.Errorf("got %+v", a)
	}
}

type tooMuch struct{}

func (tooMuch) Code() string  { return "too_large" }
func (tooMuch) Error() string { return "send it in parts" }
