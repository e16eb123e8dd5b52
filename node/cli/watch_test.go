package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pytasks/node/client"
	"pytasks/node/client/clienttest"
)

// script answers GET requests to one path with one body after the other, the last one again and again, and does something
// when that is asked for again.
type script struct {
	path   string
	bodies []string
	then   func()

	mu sync.Mutex
	at int // guarded by mu
}

func (s *script) answer(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || r.URL.Path != s.path {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at >= len(s.bodies) && s.then != nil {
		s.then()
	}
	body := s.bodies[min(s.at, len(s.bodies)-1)]
	s.at++
	if strings.HasPrefix(body, "5") {
		w.WriteHeader(http.StatusInternalServerError)
	}
	fmt.Fprint(w, body)
	return true
}

// watched runs a command line until a script is at its end, and returns what it printed.
func watched(t *testing.T, s *script, args ...string) (code int, out, errs string) {
	t.Helper()
	api, url := clienttest.New(t)
	ctx, stop := context.WithCancelCause(t.Context())
	s.then = func() { stop(errors.New("stopped by a signal")) }
	api.Spoil = s.answer
	var stdout, stderr strings.Builder
	c := &cli{in: strings.NewReader(""), out: &stdout, err: &stderr, every: time.Millisecond, getenv: func(string) string { return "" }}
	code = c.execute(ctx, append(args, "--addr", url))
	return code, stdout.String(), stderr.String()
}

func taskPage(status ...string) string {
	var items []string
	for i, s := range status {
		items = append(items, fmt.Sprintf(`{"id": "t%d", "status": %q, "type": "p.m.f"}`, i, s))
	}
	return `{"items": [` + strings.Join(items, ",\n") + `]}`
}

// TestWatch: what is watched is printed when it has changed, and one look that fails does not end it.
func TestWatch(t *testing.T) {
	pages := &script{path: "/task", bodies: []string{taskPage("PENDING"), taskPage("PENDING"), "5 {}", taskPage("STARTED"), taskPage("STARTED", "SUCCESS")}}
	code, out, errs := watched(t, pages, "task", "ls", "-w")
	if code != 0 || errs != "" {
		t.Errorf("got exit code %d, %q", code, errs)
	}
	want := []string{"ID", "t0 PENDING", "", "! http", "", "ID", "t0 STARTED", "", "ID", "t0 STARTED", "t1 SUCCESS"}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, line := range lines {
		words := strings.Fields(line)
		switch {
		case len(words) > 2 && words[0] != "!":
			line = words[0] + " " + words[2]
		}
		if i >= len(want) || !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d: got %q", i, line)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("got %d lines, want %d:\n%s", len(lines), len(want), out)
	}

	pages = &script{path: "/task", bodies: pages.bodies}
	code, out, errs = watched(t, pages, "task", "ls", "--json", "--watch")
	lines = strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 3 || strings.Count(errs, "answered 500") != 1 {
		t.Fatalf("got exit code %d, %q, %q; want three lines and one fault", code, out, errs)
	}
	for i, line := range lines {
		var tasks []client.Task
		if err := json.Unmarshal([]byte(line), &tasks); err != nil || tasks[0].Status != []string{"PENDING", "STARTED", "STARTED"}[i] {
			t.Errorf("line %d is %s, %v", i, line, err)
		}
	}
}

// TestWatchFaults: what never worked is an error, with its exit code; what a command finds out is not.
func TestWatchFaults(t *testing.T) {
	for _, args := range []string{"task ls", "node ls", "pack ls", "cluster status"} {
		words := append(strings.Fields(args), "--watch", "--addr", clienttest.DeadAddr(t))
		if code, out, errs := runCLI(t, nil, words...); code != ExitUnreachable || out != "" || !strings.Contains(errs, "cannot reach") {
			t.Errorf("%s: got %d, %q, %q", args, code, out, errs)
		}
	}
	if code, _, errs := watched(t, &script{path: "/task", bodies: []string{`5 {}`}}, "task", "ls", "--watch"); code != ExitFailed || !strings.Contains(errs, "500") {
		t.Errorf("refused: got %d, %q", code, errs)
	}
	if code, _, errs := runCLI(t, nil, "task", "ls", "--watch", "--limit", "0"); code != ExitUsage || !strings.Contains(errs, "--limit 0") {
		t.Errorf("usage: got %d, %q", code, errs)
	}
	sick := &script{path: "/cluster", bodies: []string{
		`{"leader": "a", "node": "a", "nodes": [{"name": "a", "role": "voter", "status": "alive"}, {"name": "b", "role": "voter", "status": "failed"}, {"name": "c", "role": "voter", "status": "alive"}]}`,
		`{"leader": "a", "node": "a", "nodes": [{"name": "a", "role": "voter", "status": "alive"}, {"name": "b", "role": "voter", "status": "alive"}, {"name": "c", "role": "voter", "status": "alive"}]}`,
	}}
	code, out, errs := watched(t, sick, "cluster", "status", "--watch")
	bad, good, changed := strings.Cut(out, "\n\n")
	if code != 0 || errs != "" || !changed || !strings.Contains(bad, "wrong with the cluster") || strings.Contains(good, "wrong") || !strings.Contains(good, "one more node fails") {
		t.Errorf("got %d, %q, %q", code, out, errs)
	}
}

// taskBodies are the states of a task, one after the other.
func taskBodies(end string) []string {
	return []string{
		`{"id": "i", "status": "PENDING"}`, `{"id": "i", "status": "PENDING"}`,
		`{"id": "i", "status": "STARTED", "attempt": 1, "node": "n1"}`,
		`{"id": "i", "status": "STARTED", "attempt": 1, "node": "n1", "progress": {"fraction": 0.4, "text": "halfway"}}`,
		`{"id": "i", "status": "STARTED", "attempt": 1, "node": "n1", "progress": {"fraction": 0.401, "text": "halfway"}}`,
		end,
	}
}

const (
	succeeded = `{"id": "i", "status": "SUCCESS", "result": 3, "started_at": "2030-01-01T00:00:00Z", "finished_at": "2030-01-01T00:00:02Z"}`
	failed    = `{"id": "i", "status": "FAILURE", "reason": "error", "error": {"type": "E", "message": "no"}}`
)

func TestTaskWatch(t *testing.T) {
	states := func(out string) string { // without the times
		var lines []string
		for line := range strings.Lines(out) {
			if _, rest, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "result") {
				line = rest
			}
			lines = append(lines, strings.TrimSpace(line))
		}
		return strings.Join(lines, "; ")
	}
	const upTo = "PENDING; STARTED, attempt 1 on n1; STARTED, attempt 1 on n1, 40% halfway; "
	code, out, errs := watched(t, &script{path: "/task/i", bodies: taskBodies(succeeded)}, "task", "watch", "i")
	if want := upTo + "SUCCESS after 2s; result 3"; code != 0 || states(out) != want || errs != "" {
		t.Errorf("got %d, %q, %q, want %q", code, states(out), errs, want)
	}
	code, out, errs = watched(t, &script{path: "/task/i", bodies: taskBodies(failed)}, "task", "watch", "i")
	if code != ExitFailed || states(out) != upTo+"FAILURE" || !strings.Contains(errs, "FAILURE (error): E: no") {
		t.Errorf("got %d, %q, %q", code, states(out), errs)
	}
	code, out, _ = watched(t, &script{path: "/task/i", bodies: taskBodies(failed)}, "task", "watch", "i", "--json")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != ExitFailed || len(lines) != 4 || lines[3] != string(compact(json.RawMessage(failed))) {
		t.Errorf("got %d, %q", code, out)
	}
	if code, out, errs := watched(t, &script{path: "/none", bodies: []string{"{}"}}, "task", "watch", "none"); code != ExitFailed || out != "" || errs != "pytasks: there is no task none\n" {
		t.Errorf("got %d, %q, %q", code, out, errs)
	}
	if code, _, _ := runCLI(t, nil, "task", "watch", "i", "--addr", clienttest.DeadAddr(t)); code != ExitUnreachable {
		t.Errorf("got exit code %d, want %d", code, ExitUnreachable)
	}
	if code, _, _ := runCLI(t, nil, "task", "watch"); code != ExitUsage {
		t.Errorf("got exit code %d, want %d", code, ExitUsage)
	}
}

// TestLogsBeside: what the task prints stands apart from states and results, and all of it is there.
func TestLogsBeside(t *testing.T) {
	for _, c := range []struct{ line, out, err string }{
		{"task watch i --logs", "printed\nby the task\n", "SUCCESS after 2s\nresult 3\n"},
		{"task watch i --logs --json", `"result":3`, "printed\nby the task\n"},
		{"run test.main.add x=1 --wait --logs", "3\n", "printed\nby the task\n"},
	} {
		states := &script{path: "/task/i", bodies: taskBodies(succeeded)}
		api, url := clienttest.New(t)
		api.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.URL.Path == "/task" && r.Method == http.MethodPost:
				fmt.Fprint(w, `{"id": "i", "status": "PENDING"}`)
			case r.URL.String() == "/task/i/logs?follow=1":
				fmt.Fprint(w, "printed\nby the task\n")
			default:
				return states.answer(w, r)
			}
			return true
		}
		code, out, errs := runCLI(t, nil, append(strings.Fields(c.line), "--addr", url)...)
		if code != 0 || !strings.Contains(out, c.out) || !strings.HasSuffix(errs, c.err) {
			t.Errorf("%s: got %d, %q, %q", c.line, code, out, errs)
		}
	}
	if code, _, errs := runCLI(t, nil, "run", "test.main.add", "--logs"); code != ExitUsage || !strings.Contains(errs, "goes with --wait") {
		t.Errorf("--logs alone: got %d, %q", code, errs)
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		line  string
		width int
		want  string
	}{
		{"abc", 3, "abc"}, {"abc", 2, "ab\x1b[0m"}, {"äöü", 2, "äö\x1b[0m"}, {"", 0, ""},
		{"\x1b[31mred\x1b[0m", 3, "\x1b[31mred\x1b[0m"}, {"\x1b[31mred\x1b[0m", 2, "\x1b[31mre\x1b[0m"},
	} {
		if got := clip(c.line, c.width); got != c.want {
			t.Errorf("%q to %d: got %q, want %q", c.line, c.width, got, c.want)
		}
	}
}
