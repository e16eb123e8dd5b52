package client

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pytasks/node/client/clienttest"
)

func newTestClient(t *testing.T, addrs ...string) *Client {
	t.Helper()
	c, err := New(Options{Addrs: addrs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func TestClientGoesToTheNextAddress(t *testing.T) {
	api, url := clienttest.New(t)
	c := newTestClient(t, clienttest.DeadAddr(t), url)
	task, err := c.Submit(t.Context(), &Submission{Type: "test.main.add", Args: map[string]json.RawMessage{"x": json.RawMessage("1"), "y": json.RawMessage("2")}}, "")
	if err != nil {
		t.Fatalf("got %v, want the second address to answer", err)
	}
	if task, err = c.Await(t.Context(), task.ID); err != nil || string(task.Result) != "3" {
		t.Fatalf("got %+v, %v, want the result 3", task, err)
	}
	if got := int(c.first.Load()); got != 1 {
		t.Errorf("begins with address %d, want 1, which answered", got)
	}
	if got := api.Seen(); len(got) != 2 {
		t.Errorf("got requests %q, want two", got)
	}
}

func TestClientNobodyThere(t *testing.T) {
	a, b := clienttest.DeadAddr(t), clienttest.DeadAddr(t)
	_, err := newTestClient(t, a, b).Types(t.Context())
	var unreachable *UnreachableError
	if !errors.As(err, &unreachable) {
		t.Fatalf("got %v, want an UnreachableError", err)
	}
	for _, part := range []string{a, b, "connection refused", "pytasks start"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want %q in it", err, part)
		}
	}
}

// TestClientDoesNotSendTwice: a connection that breaks after a write was sent leaves its
// outcome open; only a write with a key is sent again.
func TestClientDoesNotSendTwice(t *testing.T) {
	breaks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }))
	defer breaks.Close()
	api, url := clienttest.New(t)
	s := &Submission{Type: "test.main.add", Args: map[string]json.RawMessage{}}

	_, err := newTestClient(t, breaks.URL, url).Submit(t.Context(), s, "")
	if err == nil || !strings.Contains(err.Error(), "may have been done") {
		t.Errorf("without a key: got %v, want an error that leaves the outcome open", err)
	}
	if got := api.Seen(); len(got) != 0 {
		t.Errorf("without a key: got %q sent again, want nothing", got)
	}
	task, err := newTestClient(t, breaks.URL, url).Submit(t.Context(), s, "k")
	if err != nil || task.ID == "" {
		t.Errorf("with a key: got %v, want the second address to answer", err)
	}
}

// TestClientAsksAgainWithoutALeader: 503 is asked again for a while, 429 and the like are not.
func TestClientAsksAgainWithoutALeader(t *testing.T) {
	api, url := clienttest.New(t)
	refusals := 2
	api.Spoil = func(w http.ResponseWriter, _ *http.Request) bool {
		if refusals--; refusals >= 0 {
			clienttest.AnswerError(w, http.StatusServiceUnavailable, "no_leader", "no leader")
			return true
		}
		return false
	}
	if _, err := newTestClient(t, url).Types(t.Context()); err != nil {
		t.Errorf("got %v, want the third answer", err)
	}

	refusals = 1000
	c := newTestClient(t, url)
	c.Patience = 0
	_, err := c.Types(t.Context())
	var refused *APIError
	if !errors.As(err, &refused) || refused.Code != "no_leader" || refused.Status != 503 {
		t.Errorf("without patience: got %v, want the refusal", err)
	}

	api.Spoil = func(w http.ResponseWriter, _ *http.Request) bool {
		clienttest.AnswerError(w, http.StatusTooManyRequests, "queue_full", "the queue is full")
		return true
	}
	before := len(api.Seen())
	_, err = newTestClient(t, url).Types(t.Context())
	if !errors.As(err, &refused) || refused.Code != "queue_full" || len(api.Seen()) != before+1 {
		t.Errorf("queue full: got %v after %d requests, want the refusal after one", err, len(api.Seen())-before)
	}
}

func TestClientErrors(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   string
	}{
		{422, `{"message": "first. ", "code": "invalid_task", "errors": [{"message": "first. "}, {"message": "second"}]}`, "first; second"},
		{422, `{"message": "p.", "errors": [{"message": "p doesnt match.", "got": "<class 'str'> at [0]"}]}`, "p doesnt match (got <class 'str'> at [0])"},
		{422, `{"message": "only", "errors": [{"message": "only"}]}`, "only"},
		{400, `{"message": "Input payload validation failed", "errors": {"type": "x"}, "detail": "no type"}`, "Input payload validation failed: no type"},
		{502, `<html>`, "answered 502 Bad Gateway"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			w.Write([]byte(tt.body))
		}))
		_, err := newTestClient(t, server.URL).Types(t.Context())
		server.Close()
		if err == nil || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.body, err, tt.want)
		}
	}
}

func TestBaseURL(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080", "http://a:1/": "http://a:1", "https://a/pytasks/": "https://a/pytasks",
		"": "", "ftp://a": "", "http://": "", "http://a?x=1": "", "http://a b": "",
	} {
		if got, err := BaseURL(addr); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", addr, got, err, want)
		}
	}
}
