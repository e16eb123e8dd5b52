package history

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// canned answers every request in the same way.
type canned struct {
	status int
	body   string
	err    error // instead of an answer
	cut    bool  // the body breaks off
	again  string
}

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	if c.err != nil {
		return nil, c.err
	}
	var body io.Reader = strings.NewReader(c.body)
	if c.cut {
		body = io.MultiReader(body, iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	return &http.Response{StatusCode: c.status, Header: http.Header{"Retry-After": {c.again}}, Body: io.NopCloser(body)}, nil
}

func (c canned) client() *client {
	return &client{http: &http.Client{Transport: c}, timeout: time.Second, rec: NewRecorder(time.Now)}
}

// TestSubmitOutcome: what answers to a submit mean. To take an unknown outcome for a
// refusal would let the checks find what is none; the other way round would hide one.
func TestSubmitOutcome(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	for _, c := range []struct {
		name string
		canned
		key     string
		outcome Outcome
		code    string
		id      string
	}{
		{"queued", canned{status: 200, body: `{"id":"a","status":"PENDING"}`}, "", OK, "", "a"},
		{"queued and waited for in vain", canned{status: 202, body: `{"id":"a","status":"STARTED"}`}, "", OK, "", "a"},
		{"no leader", canned{status: 503, body: `{"code":"no_leader"}`}, "", Refused, "no_leader", ""},
		{"queue full", canned{status: 429, body: `{"code":"queue_full"}`}, "", Refused, "queue_full", ""},
		{"unknown", canned{status: 503, body: `{"code":"unknown","id":"a"}`}, "", Unknown, "unknown", "a"},
		{"a fault of the server", canned{status: 500, body: `{"code":"internal"}`}, "", Unknown, "internal", ""},
		{"a proxy's word", canned{status: 502, body: `<html>`}, "", Unknown, "http_502", ""},
		{"cut off", canned{status: 200, body: `{"id":"a"`, cut: true}, "", Unknown, "io", ""},
		{"nonsense", canned{status: 200, body: `hello`}, "", Unknown, "io", ""},
		{"no connection", canned{err: dial}, "", Refused, "io", ""},
		{"no connection, perhaps at the second try", canned{err: dial}, "k", Unknown, "io", ""},
		{"no answer", canned{err: io.ErrUnexpectedEOF}, "", Unknown, "io", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := c.client()
			op, _ := k.submit(t.Context(), Node{"n1", "http://n1"}, &request{tasks: []Task{{N: 1}}, key: c.key}, 0)
			if op.Outcome != c.outcome || op.Code != c.code || op.Tasks[0].ID != c.id {
				t.Errorf("got %s, %q, id %q, want %s, %q, id %q", op.Outcome, op.Code, op.Tasks[0].ID, c.outcome, c.code, c.id)
			}
			if h := k.rec.History(); len(h.Ops) != 1 || h.Ops[0].Code != c.code {
				t.Errorf("got %v recorded, want this operation", h.Ops)
			}
		})
	}
}

// TestReadOutcome: a task that is not there is something read; an error is nothing.
func TestReadOutcome(t *testing.T) {
	for _, c := range []struct {
		name string
		canned
		outcome Outcome
		status  string // "" = nothing was read
	}{
		{"a record", canned{status: 200, body: `{"id":"a","status":"STARTED"}`}, OK, "STARTED"},
		{"no such task", canned{status: 404, body: `{"code":"not_found"}`}, OK, Absent},
		{"no such path", canned{status: 404, body: `{"code":"no_such_path"}`}, Refused, ""},
		{"no leader", canned{status: 503, body: `{"code":"no_leader"}`}, Refused, ""},
		{"no record", canned{status: 200, body: `{}`}, Unknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			op, _ := c.client().read(t.Context(), Node{"n1", "http://n1"}, "a", Default, 0)
			status := ""
			if op.Record != nil {
				status = op.Record.Status
			}
			if op.Outcome != c.outcome || status != c.status {
				t.Errorf("got %s, %q, want %s, %q", op.Outcome, status, c.outcome, c.status)
			}
		})
	}
}

// TestPause: a client waits as long as it is told, within reason.
func TestPause(t *testing.T) {
	for again, want := range map[string]time.Duration{"1": time.Second, "0": 0, "3600": maxPause, "-1": 0, "soon": 0, "": 0} {
		c := canned{status: 503, body: `{"code":"no_leader"}`, again: again}
		if _, a := c.client().cancel(t.Context(), Node{"n1", "http://n1"}, "a"); a.pause != want {
			t.Errorf("Retry-After %q: got %s, want %s", again, a.pause, want)
		}
	}
}
