package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pytasks/fsm"
)

// snapshotFunc is Snapshots of one func.
type snapshotFunc func(w io.Writer) error

func (f snapshotFunc) Save(_ context.Context, w io.Writer) error { return f(w) }

// TestSnapshot: a snapshot goes out as it is written; what breaks it off before its first byte is an answer, and
// later an end that nobody takes for the whole.
func TestSnapshot(t *testing.T) {
	save := func(w io.Writer) error { _, err := io.WriteString(w, "all of it"); return err }
	runs := 0
	s := newSetup(func(o *Options) {
		o.Snapshots = snapshotFunc(func(w io.Writer) error { runs++; return save(w) })
	})
	server := httptest.NewServer(s)
	defer server.Close()
	ask := func(method, token string) (int, string, error) {
		r, err := http.NewRequest(method, server.URL+"/snapshot", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", token)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
	if status, _, _ := ask("GET", ""); status != 401 || runs != 0 {
		t.Errorf("without a token: got %d, %d runs", status, runs)
	}
	if status, _, _ := ask("GET", s.people.add(t, "ops", []string{"tasks:read", "nodes:write"}, nil)); status != 403 || runs != 0 {
		t.Errorf("without the scope admin: got %d, %d runs", status, runs)
	}
	token := s.people.add(t, "root", []string{"admin"}, nil)
	if status, body, err := ask("GET", token); status != 200 || body != "all of it" || err != nil {
		t.Errorf("got %d %q, %v", status, body, err)
	}
	if status, body, err := ask("HEAD", token); status != 200 || body != "" || err != nil || runs != 1 {
		t.Errorf("HEAD: got %d %q, %v, %d runs; want 200, and nothing done", status, body, err, runs)
	}
	for want, err := range map[string]error{"no_leader": fsm.ErrNoLeader, "disk_full": fsm.ErrDiskFull, "internal": errors.New("what is private")} {
		save = func(io.Writer) error { return err }
		status, body, _ := ask("GET", token)
		if status < 500 || !strings.Contains(body, `"code":"`+want+`"`) || strings.Contains(body, "private") {
			t.Errorf("%v before the first byte: got %d %s", err, status, body)
		}
	}
	save = func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("a part ", 10_000))
		return errors.Join(err, fsm.ErrNoBlob)
	}
	if status, body, err := ask("GET", token); err == nil {
		t.Errorf("an end in the middle: got %d and %d bytes, as if that were all", status, len(body))
	}
}
