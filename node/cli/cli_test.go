package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pytasks/node/client"
	"pytasks/node/client/clienttest"
)

// runCLI executes one command line and returns its exit code and what it printed.
func runCLI(t *testing.T, env map[string]string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr strings.Builder
	c := &cli{in: strings.NewReader("41\n"), out: &stdout, err: &stderr, getenv: func(name string) string { return env[name] }}
	code = c.execute(t.Context(), args)
	return code, stdout.String(), stderr.String()
}

func TestExitCodes(t *testing.T) {
	_, url := clienttest.New(t)
	dead := clienttest.DeadAddr(t)
	for _, tt := range []struct {
		line string
		code int
		out  string // part of stdout
		err  string // part of stderr
	}{
		{"", 0, "Usage:", ""},
		{"version", 0, "pytasks ", ""},
		{"version --json", 0, `"version":`, ""},
		{"task", 0, "Available Commands:", ""},
		{"sart", 2, "", `did you mean "start"`},
		{"task gte 1", 2, "", `did you mean "get"`},
		{"task get", 2, "", "needs ID"},
		{"task get a b", 2, "", `got "b" as well`},
		{"start extra", 2, "", `takes no arguments, got "extra"`},
		{"start --slots many", 2, "", "not a whole number"},
		{"start --no-such-flag", 2, "", "unknown flag"},
		{"start --name a --http 0.0.0.0:8080", 1, "", "pytasks: --http 0.0.0.0:8080 is not a loopback address"},
		{"start --config /no/such/file", 1, "", "pytasks: read the configuration"},
		{"run", 2, "", "needs a task type"},
		{"run test.main.add x=1 --addr " + dead, 3, "", dead},
		{"run test.main.add x=1 y=two --addr " + url, 2, "", "y of test.main.add is an int"},
		{"run test.main.sub x=1 --addr " + url, 2, "", `did you mean "test.main.add"`},
		{"run test.main.add x=1 y=2 --addr " + url, 0, "0192f0c1-", ""},
		{"run test.main.add x=1 y=2 --wait --addr " + url, 0, "3\n", ""},
		{"run test.main.add x=1 y=2 --wait --json --addr " + dead + "," + url, 0, `"status":"SUCCESS"`, ""},
		{"run test.main.add x=- y=1 --wait --addr " + url, 0, "42\n", ""},
		{"run test.main.fail message=boom --wait --addr " + url, 1, "", "FAILURE (error): Error: boom\nline 1"},
		{"run test.main.fail message=boom --addr " + url, 0, "0192f0c1-", ""},
		{"task get 0192f0c1-0000-7000-8000-000000000001 --addr " + url, 0, "result    3", ""},
		{"task get 0192f0c1-0000-7000-8000-000000000001 --json --addr " + url, 0, `"result":3`, ""},
		{"task get nope --addr " + url, 1, "", "there is no task nope"},
		{"task cancel nope --addr " + url, 1, "", "finished already"},
		{"task ls --limit 0 --addr " + url, 2, "", "--limit 0"},
		{"task ls --addr " + url, 0, "ID ", ""},
		{"task ls --addr " + dead, 3, "", "cannot reach " + dead},
		{"node ls --addr " + url, 0, "a     leader  alive", ""},
		{"node ls --addr " + url, 0, "b     voter   alive, drained  0", ""},
		{"node drain b --addr " + url, 0, "b is drained", ""},
		{"node drain a --addr " + url, 1, "", "nothing would run: a is the last node that takes tasks"},
		{"node drain a --force --no-wait --timeout 1s --addr " + url, 0, "a is draining", ""},
		{"node drain c --addr " + url, 1, "", "c is no node of the cluster"},
		{"node drain b --timeout -1s --addr " + url, 2, "", "must not be negative"},
		{"node resume b --json --addr " + url, 0, `"status":"resumed"`, ""},
		{"node label a zone=eu gpu- --addr " + url, 0, "a is labelled", ""},
		{"node label a zone --addr " + url, 2, "", `"zone" is no label`},
		{"node label a zone= --addr " + url, 2, "", `"zone=" is no label`},
		{"node label a --addr " + url, 2, "", "labels such as zone=eu"},
		{"node ls --addr " + url, 0, "gpu=yes,zone=eu", ""},
		{"run test.main.add x=1 y=2 --where zone --addr " + url, 2, "", "--where zone is no label"},
		{"cluster stepdown --addr " + url, 0, "b leads now", ""},
		{"node ls --json --addr " + url, 0, `{"leader": "a"`, ""},
		{"node rm b --addr " + url, 0, "b is removed", ""},
		{"node ls --addr ftp://x", 2, "", "not the address of a node"},
		{"bench --tasks 0", 2, "", "--tasks 0"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			code, out, errs := runCLI(t, nil, strings.Fields(tt.line)...)
			if code != tt.code {
				t.Errorf("got exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(out, tt.out) || tt.out == "" && out != "" {
				t.Errorf("got %q on stdout, want %q", out, tt.out)
			}
			if !strings.Contains(errs, tt.err) || tt.err == "" && errs != "" {
				t.Errorf("got %q on stderr, want %q", errs, tt.err)
			}
			if code != 0 && !strings.HasPrefix(errs, "pytasks: ") {
				t.Errorf("got %q on stderr, want it to begin with the program's name", errs)
			}
		})
	}
}

func TestAddrFromEnvironment(t *testing.T) {
	_, url := clienttest.New(t)
	env := map[string]string{"PYTASKS_ADDR": clienttest.DeadAddr(t) + ", " + url}
	if code, _, errs := runCLI(t, env, "node", "ls"); code != 0 {
		t.Errorf("got exit code %d, %s, want PYTASKS_ADDR to be used", code, errs)
	}
	if code, _, _ := runCLI(t, env, "node", "ls", "--addr", clienttest.DeadAddr(t)); code != 3 {
		t.Errorf("got exit code %d, want 3: the flag wins over the environment", code)
	}
}

// TestRunNamesItsTaskWhenStopped: who stops waiting is told which task goes on.
func TestRunNamesItsTaskWhenStopped(t *testing.T) {
	api, url := clienttest.New(t)
	ctx, stop := context.WithCancelCause(t.Context())
	api.Spoil = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/task/") {
			stop(errors.New("stopped by a signal"))
			<-r.Context().Done()
			return true
		}
		return false
	}
	var stderr strings.Builder
	c := &cli{out: io.Discard, err: &stderr, getenv: func(string) string { return "" }}
	code := c.execute(ctx, []string{"run", "test.main.add", "x=1", "y=2", "--wait", "--addr", url})
	if want := "wait for task 0192f0c1-0000-7000-8000-000000000000, which goes on: stopped by a signal"; code != 1 || !strings.Contains(stderr.String(), want) {
		t.Errorf("got exit code %d, %q, want 1 and %q", code, stderr.String(), want)
	}
}

// TestRunSendsOptions checks the body of POST /task, and that a missing option is not sent.
func TestRunSendsOptions(t *testing.T) {
	api, url := clienttest.New(t)
	var body map[string]any
	var key string
	api.Spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			key = r.Header.Get("Idempotency-Key")
			body = nil
			json.NewDecoder(r.Body).Decode(&body)
			w.Write([]byte(`{"id": "i", "status": "PENDING"}`))
			return true
		}
		return false
	}
	line := "run test.main.add x=1 y=2 --priority 0 --delay 1m30s --timeout 5s --id my-id --tag a --tag b,c --max-attempts 4 --where zone=eu,gpu=yes --addr " + url
	if code, out, errs := runCLI(t, nil, strings.Fields(line)...); code != 0 || out != "i\n" {
		t.Fatalf("got exit code %d, %q, %q, want the id", code, out, errs)
	}
	got, _ := json.Marshal(body)
	want := `{"args":{"x":1,"y":2},"delay":"1m30s","id":"my-id","priority":0,"retry":{"max_attempts":4},"tags":["a","b,c"],"timeout":"5s","type":"test.main.add","where":{"gpu":"yes","zone":"eu"}}`
	if string(got) != want {
		t.Errorf("got body %s, want %s", got, want)
	}
	if len(key) < 20 {
		t.Errorf("got Idempotency-Key %q, want a random one", key)
	}
	if code, _, errs := runCLI(t, nil, "run", "test.main.add", "x=1", "--addr", url, "--eta", "2030-01-01T00:00:00Z"); code != 0 {
		t.Fatalf("got exit code %d, %s, want 0", code, errs)
	}
	got, _ = json.Marshal(body)
	if want = `{"args":{"x":1},"eta":"2030-01-01T00:00:00Z","type":"test.main.add"}`; string(got) != want {
		t.Errorf("got body %s, want %s", got, want)
	}
}

// TestTaskListPages follows cursors as far as it was asked to.
func TestTaskListPages(t *testing.T) {
	api, url := clienttest.New(t)
	const total = 2500
	for range total {
		api.Add(&clienttest.Task{Type: "test.main.add"}, "")
	}
	for _, tt := range []struct {
		flag  string
		want  int
		calls int
	}{{"--all", total, 3}, {"--limit=1200", 1200, 2}, {"--limit=1", 1, 1}} {
		before := len(api.Seen())
		code, out, errs := runCLI(t, nil, "task", "ls", "--json", tt.flag, "--addr", url)
		var tasks []client.Task
		if err := json.Unmarshal([]byte(out), &tasks); err != nil || code != 0 {
			t.Fatalf("%s: got exit code %d, %s, %v, want a JSON list", tt.flag, code, errs, err)
		}
		if calls := len(api.Seen()) - before; len(tasks) != tt.want || calls != tt.calls {
			t.Errorf("%s: got %d tasks in %d requests, want %d in %d", tt.flag, len(tasks), calls, tt.want, tt.calls)
		}
		if first := api.Order[total-1]; tasks[0].ID != first {
			t.Errorf("%s: got %s first, want the newest, %s", tt.flag, tasks[0].ID, first)
		}
	}
	empty, url := clienttest.New(t)
	if _, out, _ := runCLI(t, nil, "task", "ls", "--json", "--addr", url, "--status", "pending", "--tag", "t"); out != "[]\n" {
		t.Errorf("got %q of no tasks, want an empty list", out)
	}
	if got := empty.Seen()[0]; !strings.Contains(got, "status=PENDING") || !strings.Contains(got, "tag=t") {
		t.Errorf("got request %q, want the filters in it", got)
	}
}

// TestStartReadsItsFile shows that --config and PYTASKS_CONFIG reach the node: the fault
// named is the file's.
func TestStartReadsItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(file, []byte("name: a\nslost: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"start", "--config", file}, {"start"}} {
		code, _, errs := runCLI(t, map[string]string{"PYTASKS_CONFIG": file}, args...)
		if code != 1 || !strings.Contains(errs, "bad.yaml:2") {
			t.Errorf("%q: got exit code %d, %q, want 1 and the place of the fault", args, code, errs)
		}
	}
}

// TestStartPrintsItsConfiguration: --print-config prints what would hold, and refuses what would be refused.
func TestStartPrintsItsConfiguration(t *testing.T) {
	if code, out, errs := runCLI(t, nil, "start", "--print-config", "--name", "a"); code != ExitOK || !strings.Contains(out, "name: a\n") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if code, _, errs := runCLI(t, nil, "start", "--print-config", "--name", "a", "--slots", "0"); code == ExitOK || !strings.Contains(errs, "--slots 0") {
		t.Errorf("a wrong configuration: exit code %d, %s", code, errs)
	}
}
