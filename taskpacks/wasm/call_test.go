package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"pytasks/taskpacks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newHost(t testing.TB, cfg Config) *Host {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close the host: %v", err)
		}
		if left, err := os.ReadDir(cfg.Dir); len(left) > 0 || err != nil {
			t.Errorf("left in the scratch folder: %v, %v", left, err)
		}
	})
	return h
}

// openPack opens a pack of the given modules, each a task of that name, with more members of its manifest.
func openPack(t testing.TB, h *Host, more string, modules map[string][]byte) (*Pack, error) {
	t.Helper()
	dir := t.TempDir()
	m := &taskpacks.Manifest{Name: "tiny", Version: "1", Kind: taskpacks.PackWASM, Tasks: map[string]taskpacks.TaskManifest{}}
	for name, module := range modules {
		if err := os.WriteFile(filepath.Join(dir, name+".wasm"), module, 0o600); err != nil {
			t.Fatal(err)
		}
		task := taskpacks.TaskManifest{Module: name + ".wasm"}
		if more != "" {
			if err := json.Unmarshal([]byte(more), &task); err != nil {
				t.Fatal(err)
			}
		}
		m.Tasks[name] = task
	}
	p, err := Open(t.Context(), dir, m, h)
	if err == nil {
		t.Cleanup(func() { p.Close() })
	}
	return p, err
}

// openTiny opens a pack of one task.
func openTiny(t testing.TB, h *Host, more string, module []byte) *taskpacks.Func {
	t.Helper()
	p, err := openPack(t, h, more, map[string][]byte{"do": module})
	if err != nil {
		t.Fatal(err)
	}
	return &p.Funcs[0]
}

func TestOutcome(t *testing.T) {
	h := newHost(t, Config{MaxMemory: 4 * pageSize, MaxResult: 1000})
	const page = pageSize
	const text = "{\"a\": 1}\nlast <line>\n"
	tests := []struct {
		name      string
		more      string
		code      [][]byte
		want      string // the result, or the message
		reason    string // "" = no error
		permanent bool
	}{
		{"json", ``, [][]byte{write(1, data, 9)}, `{"a": 1}`, "", false},
		{"text", `{"output": "text"}`, [][]byte{write(1, data, 21), exit(0)}, `"{\"a\": 1}\nlast <line>\n"`, "", false},
		{"nothing", ``, nil, `do wrote nothing to standard output: write the result there as JSON, null for none`, "error", true},
		{"no json", ``, [][]byte{write(1, data, 12)},
			`do wrote to standard output what is not one JSON value; if it is to be text, set "output": "text". It begins "{\"a\": 1}\nlas"`, "error", true},
		{"status", ``, [][]byte{write(2, data, 21), exit(3)}, `do exited with status 3: last <line>`, "error", true},
		{"silent", ``, [][]byte{exit(-2)}, `do exited with status 4294967294`, "error", true},
		{"try again", ``, [][]byte{write(1, data, 9), exit(75)}, `do exited with status 75`, "error", false},
		{"unreachable", ``, [][]byte{{opUnreachable}}, `do trapped: unreachable`, "crash", false},
		{"outside", ``, [][]byte{store(page-2, 1)}, `do trapped: out of bounds memory access`, "crash", false},
		{"deep", ``, [][]byte{append([]byte{opCall}, leb(startIndex())...)}, `do trapped: stack overflow`, "crash", false},
		{"memory", ``, [][]byte{i32(3), {opGrow, 0, opDrop}, i32(1), {opGrow, 0, opDrop}, {opUnreachable}},
			`do asked for more than the 262144 bytes of memory that it may have: use less, or raise "memory" of the task`, "memory", false},
		{"less memory", `{"memory": 140000}`, [][]byte{i32(2), {opGrow, 0, opDrop}, exit(2)},
			`do asked for more than the 131072 bytes of memory that it may have: use less, or raise "memory" of the task`, "memory", false},
		{"enough memory", ``, [][]byte{exitWith(i32(3), []byte{opGrow, 0}, store(4*page-4, 1))}, `do exited with status 1`, "error", true},
		{"long", ``, [][]byte{loop(write(1, data, 21))}, `the result is longer than the 1000 bytes that it may have: return less`, "error", true},
		{"long at once", ``, [][]byte{write(1, data, 1001), exit(0)}, `the result is longer than the 1000 bytes that it may have: return less`, "error", true},
		{"long text", `{"output": "text"}`, [][]byte{slices.Concat(slices.Repeat([][]byte{write(1, data+21, 10)}, 50)...)},
			`the result is longer than the 1000 bytes that it may have: return less`, "error", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fn := openTiny(t, h, tt.more, tiny(1, text+strings.Repeat("\x01", 10), tt.code...))
			got, err := fn.Call(t.Context(), nil)
			if tt.reason == "" {
				if string(got) != tt.want || err != nil {
					t.Fatalf("got %s, %v, want %s", got, err, tt.want)
				}
				return
			}
			var failed *taskpacks.Error
			if !errors.As(err, &failed) || failed.Message != tt.want || failed.Reason != tt.reason || taskpacks.IsPermanent(err) != tt.permanent {
				t.Errorf("got %s, %#v, permanent %v\nwant %s, permanent %v: %s", got, failed, taskpacks.IsPermanent(err), tt.reason, tt.permanent, tt.want)
			}
		})
	}
}

// TestStop ends modules that would run for ever, when each has said that it runs.
func TestStop(t *testing.T) {
	asleep := slices.Concat(make([]byte, 24), []byte("\xff\xff\xff\xff\xff\xff\xff\x00"), make([]byte, 16)) // a subscription of a clock
	modules := map[string][]byte{
		"busy":  tiny(1, "", write(2, data, 1), loop()),
		"sleep": tiny(1, string(asleep), write(2, data, 1), exitWith(callOf("poll_oneoff", data, data+100, 1, result))),
	}
	h := newHost(t, Config{})
	p, err := openPack(t, h, "", modules)
	if err != nil {
		t.Fatal(err)
	}
	for _, fn := range p.Funcs {
		ctx, cancel := context.WithCancel(t.Context())
		ctx = taskpacks.WithCall(ctx, taskpacks.Call{Log: writerFunc(func([]byte) { cancel() })})
		if _, err := fn.Call(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", fn.Name, err, context.Canceled)
		}
		if _, err := fn.Call(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, begun too late: got %v, want %v", fn.Name, err, context.Canceled)
		}
	}
	var closing sync.WaitGroup
	for _, fn := range p.Funcs {
		ctx := taskpacks.WithCall(t.Context(), taskpacks.Call{Log: writerFunc(func([]byte) { closing.Go(func() { h.Close() }) })})
		if _, err := fn.Call(ctx, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("%s, when the host is closed: got %v, want %v", fn.Name, err, ErrClosed)
		}
	}
	closing.Wait()
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// TestInside tries the ways out of a call's folder. The status is WASI's number of the error.
func TestInside(t *testing.T) {
	const creat, rights = 1, 1 << 6 // O_CREAT, the right to write
	const noent, io, perm, badf = "44", "29", "63", "8"
	open := func(path string, oflags int) []byte {
		return callOf("path_open", 3, 1, data, len(path), oflags, rights, rights, 0, result)
	}
	const up = "../../../../../../../../etc/passwd"
	tests := []struct {
		name string
		text string
		code []byte
		want string
	}{
		{"up", up, exitWith(open(up, 0)), perm},
		{"up and down", "a/../../../etc/passwd", exitWith(open("a/../../../etc/passwd", 0)), perm},
		{"root", "/etc/passwd", exitWith(open("/etc/passwd", 0)), perm},
		{"absent", "etc/passwd", exitWith(open("etc/passwd", 0)), noent},
		{"link", up + "to", exitWith(callOf("path_symlink", data, len(up), 3, data+len(up), 2)), perm},
		{"socket", "", exitWith(callOf("sock_accept", 3, 0, result)), badf},
		{"file", "f", slices.Concat(open("f", creat), []byte{opDrop}, exit(9)), "9"},
		{"file of another call", "f", exitWith(open("f", 0)), noent},
		{"folder", "f", slices.Concat(callOf("path_create_directory", 3, data, 1), []byte{opDrop}, exit(9)), "9"},
		{"folder of another call", "f", exitWith(open("f", 0)), noent},
		{"too many files", "f", slices.Concat([]byte{opLoop, 0x40}, open("f", creat), []byte{opEqualZero, opBranchIf, 0, opEnd},
			exitWith(open("f", creat))), io},
	}
	h := newHost(t, Config{})
	for _, tt := range tests {
		_, err := openTiny(t, h, "", tiny(1, tt.text, tt.code)).Call(t.Context(), nil)
		if want := "do exited with status " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", tt.name, err, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	h := newHost(t, Config{})
	ctx := taskpacks.WithCall(t.Context(), taskpacks.Call{ID: "id", Attempt: 2, Node: "n1"})
	for name, want := range map[string]string{
		"args_get":    "do.wasm\x00do\x00",
		"environ_get": "PYTASKS_TASK_ID=id\x00PYTASKS_ATTEMPT=2\x00PYTASKS_NODE=n1\x00TMPDIR=/\x00",
	} {
		module := tiny(1, "", callOf(name, result, data), []byte{opDrop}, write(1, data, len(want)+1))
		got, err := openTiny(t, h, `{"output": "text"}`, module).Call(ctx, nil)
		var text string
		if err == nil {
			err = json.Unmarshal(got, &text)
		}
		if text != want+"\x00" || err != nil {
			t.Errorf("%s: got %q, %v, want %q", name, text, err, want+"\x00")
		}
	}
}

// TestArgs shows what a module reads, and that calls beside each other have nothing in common.
func TestArgs(t *testing.T) {
	module := tiny(2, "", store(iovec, data), store(iovec+4, pageSize), callOf("fd_read", 0, iovec, 1, iovec+4), []byte{opDrop},
		callOf("fd_write", 1, iovec, 1, result), []byte{opDrop})
	fn := openTiny(t, newHost(t, Config{}), `{"params": [{"name": "x", "type": "int"}, {"name": "y", "type": "float", "default": 1.50}]}`, module)
	var wg sync.WaitGroup
	for _, x := range []string{"1", "123456789012345678901234567890", "-0"} {
		wg.Go(func() {
			for range 20 {
				got, err := fn.Call(t.Context(), json.RawMessage(`{"x": `+x+`}`))
				if want := `{"x": ` + x + `,"y":1.50}`; string(got) != want || err != nil {
					t.Errorf("got %s, %v, want %s", got, err, want)
				}
			}
		})
	}
	wg.Wait()
	if _, err := fn.Call(t.Context(), json.RawMessage(`{"x": "1"}`)); !taskpacks.IsPermanent(err) {
		t.Errorf("args that do not fit: got %v, want a permanent error", err)
	}
}

// TestTail keeps the end of what was printed, from a whole character on.
func TestTail(t *testing.T) {
	var log bytes.Buffer
	tl := &tail{log: &log}
	for range 3000 {
		tl.Write([]byte("ü "))
	}
	tl.Write([]byte("the end\n\n"))
	text := tl.text()
	if len(text) > keepStderr || !strings.HasPrefix(text, " ü") && !strings.HasPrefix(text, "ü") || tl.lastLine() == "" {
		t.Errorf("got %d bytes that begin with %.10q", len(text), text)
	}
	if log.Len() != 9009 {
		t.Errorf("the log has %d bytes, want 9009", log.Len())
	}
}
