//go:build linux

package process

import (
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pytasks/taskpacks"
)

func TestRequest(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	req := Request{ID: "i\"d", Attempt: 2, Node: "knoten-ü", Task: "request", Args: json.RawMessage(`{"n": 12345678901234567890.50}`)}
	text, err := p.Call(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		ID, Node, Task, Dir string
		Attempt             int
		Args                json.RawMessage
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if got.ID != req.ID || got.Attempt != 2 || got.Node != req.Node || string(got.Args) != string(req.Args) {
		t.Errorf("the worker got %s", text)
	}
	if again := call(t, p, "request", nil); !strings.Contains(again, `"args":null`) {
		t.Errorf("the next request is %s", again)
	}
}

func TestFolder(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	for _, mess := range []string{"nothing", "file", "tree", "closed", "removed"} {
		var dir string
		if err := json.Unmarshal([]byte(call(t, p, "mess", arg{"text": mess})), &dir); err != nil {
			t.Errorf("%s: %v", mess, err)
		}
		if entries, err := os.ReadDir(dir); len(entries) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: after the call its folder holds %v, %v, want nothing", mess, entries, err)
		}
	}
}

func TestWarm(t *testing.T) {
	h := newHost(t, Config{MaxCalls: 3})
	p := h.NewPool(program(t, "worker"))
	var pids []string
	for range 4 {
		pids = append(pids, call(t, p, "pid", nil))
	}
	if pids[0] != pids[1] || pids[1] != pids[2] || pids[2] == pids[3] {
		t.Errorf("workers %v, want one for three calls and then another", pids)
	}
}

func TestIdleWorkerEnds(t *testing.T) {
	h := newHost(t, Config{Idle: 10 * time.Millisecond})
	p := h.NewPool(program(t, "worker"))
	first := call(t, p, "pid", nil)
	h.mu.Lock()
	var done chan struct{}
	for g := range h.groups {
		done = g.done
	}
	h.mu.Unlock()
	if done != nil { // not ended yet
		<-done
	}
	if again := call(t, p, "pid", nil); again == first {
		t.Errorf("worker %s ran again, want that it ended when it was idle", first)
	}
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("SECRET", "of the node")
	t.Setenv("PATH", "/the/node's/path")
	h := newHost(t, Config{Env: []string{"A=1", "B=1"}})
	prog := program(t, "worker")
	prog.Env = append(prog.Env, "B=2")
	p := h.NewPool(prog)
	var env []string
	if err := json.Unmarshal([]byte(call(t, p, "env", nil)), &env); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, kv := range env {
		key, _, _ := strings.Cut(kv, "=")
		keys = append(keys, key)
	}
	slices.Sort(keys)
	want := []string{"A", "B", "HOME", "LANG", "PATH", "GORACE", roleKey, "TMPDIR"}
	slices.Sort(want)
	if !slices.Equal(keys, want) {
		t.Errorf("keys %v, want %v", keys, want)
	}
	for _, kv := range []string{"PATH=/the/node's/path", "LANG=C.UTF-8", "B=2"} {
		if !slices.Contains(env, kv) {
			t.Errorf("environment %v, want %s", env, kv)
		}
	}
}

func TestProgress(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	o := observe(t.Context())
	result, err := p.Call(o, Request{Task: "progress"})
	if err != nil || string(result) != "null" {
		t.Errorf("got %s, %v, want null", result, err)
	}
	if got := []string{<-o.progress, <-o.progress}; !slices.Equal(got, []string{"0.25 a quarter", "0.5 half"}) {
		t.Errorf("progress %v", got)
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name, task string
		arg        arg
		permanent  bool
		want       taskpacks.Error // message: a part of it
	}{
		{"error", "error", nil, true, taskpacks.Error{Reason: "error", Type: "ValueError", Message: "bad", Traceback: "line 9"}},
		{"Python's MemoryError without a limit", "memory error", nil, false, taskpacks.Error{Reason: "error", Type: "MemoryError", Traceback: "line 9"}},
		{"garbage", "raw", arg{"text": "Hello, world"}, true, taskpacks.Error{Reason: "error", Type: "ResultTooLarge", Message: "return less"}},
		{"no JSON", "frame", arg{"text": "{result: 1}"}, true, taskpacks.Error{Reason: "error", Type: "ProtocolError", Message: "no frame"}},
		{"result no JSON", "frame", arg{"text": `{"result": NaN}`}, true, taskpacks.Error{Reason: "error", Type: "ProtocolError", Message: "no frame"}},
		{"neither", "frame", arg{"text": `{"ready": true}`}, true, taskpacks.Error{Reason: "error", Type: "ProtocolError", Message: "no member result"}},
		{"long", "long", arg{"n": 10_001}, true, taskpacks.Error{Reason: "error", Type: "ResultTooLarge", Message: "has 10001 bytes and may have 10000"}},
		{"far too long", "long", arg{"n": 1 << 20}, true, taskpacks.Error{Reason: "error", Type: "ResultTooLarge", Message: "may have 10000"}},
		{"exit", "exec", arg{"argv": []string{"/bin/sh", "-c", "echo last words; exit 3"}}, false,
			taskpacks.Error{Reason: "crash", Type: "WorkerDied", Message: "the process exited with status 3 without an answer", Traceback: "last words\n"}},
		{"signal", "exec", arg{"argv": []string{"/bin/sh", "-c", "kill -SEGV $$"}}, false,
			taskpacks.Error{Reason: "crash", Type: "WorkerDied", Message: "the process ended by signal 11 (segmentation fault)"}},
	}
	h := newHost(t, Config{MaxResult: 10_000})
	p := h.NewPool(program(t, "worker"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result, err := p.Call(t.Context(), Request{Task: tt.task, Args: args(t, tt.arg)})
			var got *taskpacks.Error
			if !errors.As(err, &got) {
				t.Fatalf("got %.100s, %v, want a *taskpacks.Error", result, err)
			}
			if got.Reason != tt.want.Reason || got.Type != tt.want.Type || !strings.Contains(got.Message, tt.want.Message) ||
				got.Traceback != tt.want.Traceback || taskpacks.IsPermanent(err) != tt.permanent {
				t.Errorf("got %+v, permanent %v\nwant %+v, %v", got, taskpacks.IsPermanent(err), tt.want, tt.permanent)
			}
			if got := call(t, p, "long", arg{"n": 10_000}); len(got) != 10_000 {
				t.Errorf("afterwards a result of %d bytes, want 10000", len(got))
			}
		})
	}
}

func TestStartFails(t *testing.T) {
	h := newHost(t, Config{Start: 100 * time.Millisecond})
	for role, want := range map[string]taskpacks.Error{
		"fatal": {Type: "ImportError", Message: "no module named x", Traceback: "line 1"},
		"hangs": {Type: "StartTimeout", Message: "not ready after 100ms", Traceback: "line 7, in import"},
		"once":  {Type: "WorkerDied", Message: "exited with status 3 without an answer", Traceback: "no pack"},
	} {
		t.Run(role, func(t *testing.T) {
			o := observe(t.Context())
			_, err := h.NewPool(program(t, role, "exit", "no pack")).Call(o, Request{Task: "pid"})
			var got *taskpacks.Error
			if !errors.As(err, &got) || got.Type != want.Type || !strings.Contains(got.Message, want.Message) || got.Traceback != want.Traceback {
				t.Errorf("got %#v, want %+v", err, want)
			}
			if role == "hangs" && o.printed() != "importing\n" {
				t.Errorf("log %q, want what the import printed", o.printed())
			}
		})
	}
	if _, err := h.NewPool(Program{Argv: []string{"/no/such/program"}}).Call(t.Context(), Request{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
}

func TestDeadIdleWorker(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	for range 20 {
		call(t, p, "answer and exit", nil)
		call(t, p, "pid", nil)
	}
}

func TestUnreadRequestIsGivenToAnother(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	first, err := strconv.Atoi(call(t, p, "pid", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, first, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	w := p.idle[0]
	go func() {
		for w.unread() == 0 { // until the request is on its way
			runtime.Gosched()
		}
		syscall.Kill(first, syscall.SIGKILL)
	}()
	if second := call(t, p, "pid", nil); second == strconv.Itoa(first) {
		t.Errorf("the stopped worker %d answered", first)
	}
}

func TestPoolClose(t *testing.T) {
	h := newHost(t, Config{})
	p := h.NewPool(program(t, "worker"))
	call(t, p, "pid", nil)
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if _, err := p.Call(t.Context(), Request{Task: "pid"}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestHostClose(t *testing.T) {
	h := newHost(t, Config{Soft: time.Hour})
	p := h.NewPool(program(t, "worker"))
	o := observe(t.Context())
	failed := make(chan error)
	go func() {
		_, err := p.Call(o, Request{Task: "stubborn"})
		failed <- err
	}()
	<-o.progress
	go h.Close()
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Call(t.Context(), Request{Task: "pid"}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}
