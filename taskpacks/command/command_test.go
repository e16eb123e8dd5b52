package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pytasks/taskpacks"
	"pytasks/taskpacks/process"
)

// roleKey is the environment variable that makes the test's program play that of a pack.
const roleKey = "COMMAND_TEST_TOOL"

func TestMain(m *testing.M) {
	if os.Getenv(roleKey) != "" {
		tool(os.Args[1], os.Args[2:])
		return
	}
	goleak.VerifyTestMain(m)
}

// tool is the program of the pack.
func tool(what string, args []string) {
	switch what {
	case "copy":
		io.Copy(os.Stdout, os.Stdin)
	case "args":
		json.NewEncoder(os.Stdout).Encode(args)
	case "print":
		fmt.Print(args[0])
	case "four":
		fmt.Print("a log")
		os.NewFile(4, "result").WriteString(args[0])
	case "exit":
		code := 0
		fmt.Sscan(args[0], &code)
		fmt.Fprint(os.Stderr, args[1])
		os.Exit(code)
	case "env":
		env := map[string]string{}
		for _, kv := range os.Environ() {
			key, value, _ := strings.Cut(kv, "=")
			env[key] = value
		}
		json.NewEncoder(os.Stdout).Encode(env)
	case "wait":
		fmt.Fprintln(os.Stderr, "waits")
		time.Sleep(time.Hour)
	}
}

// packDir returns a folder with the test's program in it, as bin/tool-<os>-<arch>, which may not be executed yet.
func packDir(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "tool-"+runtime.GOOS+"-"+runtime.GOARCH), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func newHost(t *testing.T) *process.Host {
	t.Helper()
	h, err := process.New(process.Config{
		Dir: t.TempDir(), Env: []string{roleKey + "=1", "GORACE=atexit_sleep_ms=0"}, Soft: 50 * time.Millisecond, Term: 50 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// manifest reads a manifest of the given tasks, in JSON.
func manifest(t *testing.T, tasks string) *taskpacks.Manifest {
	t.Helper()
	dir := t.TempDir()
	text := `{"name": "tools", "version": "1.2", "kind": "command", "tasks": ` + tasks + `}`
	if err := os.WriteFile(filepath.Join(dir, taskpacks.ManifestFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := taskpacks.ReadManifest(dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// task returns a manifest's text of one task: its program with arguments, and more members.
func task(name, args, more string) string {
	return fmt.Sprintf(`%q: {"argv": ["bin/tool-{os}-{arch}", %s]%s}`, name, args, more)
}

func TestCall(t *testing.T) {
	m := manifest(t, "{"+strings.Join([]string{
		task("object", `"copy"`, `, "params": [{"name": "a", "type": "int"}, {"name": "b", "type": "list[float] | str", "default": [1.50]},
			{"name": "c", "type": "int | None"}]`),
		task("words", `"args", "--a={a}", "{b}{c}", "{d}"`, `, "input": "argv", "params": [{"name": "a", "type": "int"},
			{"name": "b", "type": "str"}, {"name": "c", "type": "dict", "default": {"k": null}}, {"name": "d", "type": "int | None"}]`),
		task("literal", `"args", "{a}"`, ""),
		task("text", `"print", "{t}"`, `, "input": "argv", "output": "text", "params": [{"name": "t", "type": "str"}]`),
		task("json", `"print", "{t}"`, `, "input": "argv", "params": [{"name": "t", "type": "str"}]`),
		task("four", `"four", "{t}"`, `, "input": "argv", "output": "fd4", "params": [{"name": "t", "type": "str"}]`),
	}, ",")+"}")
	pack, err := Open(packDir(t), m, newHost(t))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, args, want, err string }{
		{"object", `{"a": 123456789012345678901234567890}`, `{"a": 123456789012345678901234567890,"b":[1.50]}`, ""},
		{"object", ` { "a" : 1, "b": "x", "c": null } `, `{ "a" : 1, "b": "x", "c": null }`, ""},
		{"object", `{"a": "1"}`, "", "doesnt match the required type"},
		{"words", `{"a": 12345678901234567890, "b": "ü \" {a}", "c": {"x": 1.0}}`,
			`["--a=12345678901234567890","ü \" {a}{\"x\": 1.0}","null"]`, ""},
		{"words", `{"a": 1, "b": "", "d": 2}`, `["--a=1","{\"k\": null}","2"]`, ""},
		{"words", `{"a": 1, "b": "\u0000"}`, "", "param b: an argument of a program cannot hold the character NUL"},
		{"words", `{"a": 1, "b": "` + strings.Repeat("x", 1<<18) + `"}`, "", `too long for the system: use "input": "json"`},
		{"literal", `{}`, `["{a}"]`, ""},
		{"literal", ``, `["{a}"]`, ""},
		{"text", `{"t": "<a> & \"b\"\n"}`, `"<a> & \"b\"\n"`, ""},
		{"json", `{"t": "\n [1, 2] \n"}`, `[1, 2]`, ""},
		{"json", `{"t": "1 2"}`, "", `json wrote to standard output what is not one JSON value`},
		{"json", `{"t": "NaN"}`, "", `It begins "NaN"`},
		{"json", `{"t": " "}`, "", `json wrote nothing to standard output`},
		{"four", `{"t": "{}"}`, `{}`, ""},
		{"four", `{"t": ""}`, "", `four wrote nothing to file descriptor 4`},
	}
	for _, tt := range tests {
		got, err := fn(t, &pack, tt.name).Call(t.Context(), json.RawMessage(tt.args))
		if tt.err == "" && (err != nil || string(got) != tt.want) {
			t.Errorf("%s(%s) = %s, %v\nwant %s", tt.name, tt.args, got, err, tt.want)
		}
		if tt.err != "" && (!taskpacks.IsPermanent(err) || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s(%.99s) = %s, %v, want a permanent error with %q in it", tt.name, tt.args, got, err, tt.err)
		}
	}
}

func fn(t *testing.T, p *taskpacks.Pack, short string) *taskpacks.Func {
	t.Helper()
	for i := range p.Funcs {
		if p.Funcs[i].Name == p.Name+".main."+short {
			return &p.Funcs[i]
		}
	}
	t.Fatalf("no func %s in %s", short, p.Name)
	return nil
}

func TestSpec(t *testing.T) {
	m := manifest(t, "{"+task("long", `"copy"`, `, "timeout": "1h30m", "max_attempts": 7, "protected": true, "doc": "Waits."`)+","+
		task("plain", `"copy"`, `, "params": [{"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 2}]`)+"}")
	pack, err := Open(packDir(t), m, newHost(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal([]any{pack.Name, pack.Version, pack.Funcs[0].Spec, pack.Funcs[1].Spec})
	want := `["tools","1.2",{"name":"tools.main.long","params":[],"protected":true,"timeout":5400000000000,"max_attempts":7,"doc":"Waits."},` +
		`{"name":"tools.main.plain","params":[{"name":"a","type":{"kind":"int"},"required":true},` +
		`{"name":"b","type":{"kind":"int"},"default":2}],"max_attempts":3}]`
	if string(got) != want || err != nil {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestExit(t *testing.T) {
	m := manifest(t, "{"+task("sum", `"exit", "{code}", "{text}"`,
		`, "input": "argv", "params": [{"name": "code", "type": "int"}, {"name": "text", "type": "str", "default": "first\nlast\n"}]`)+"}")
	pack, err := Open(packDir(t), m, newHost(t))
	if err != nil {
		t.Fatal(err)
	}
	for code, permanent := range map[int]bool{1: true, 3: true, 75: false} {
		_, err := pack.Funcs[0].Call(t.Context(), json.RawMessage(fmt.Sprintf(`{"code": %d}`, code)))
		var got *taskpacks.Error
		if !errors.As(err, &got) || taskpacks.IsPermanent(err) != permanent {
			t.Fatalf("status %d: got %v, permanent %v", code, err, taskpacks.IsPermanent(err))
		}
		want := taskpacks.Error{
			Reason: "error", Type: "ExitStatus", Message: fmt.Sprintf("sum exited with status %d: last", code), Traceback: "first\nlast\n",
		}
		if *got != want {
			t.Errorf("got %+v\nwant %+v", *got, want)
		}
	}
	if _, err := pack.Funcs[0].Call(t.Context(), json.RawMessage(`{"code": 2, "text": ""}`)); err == nil || err.Error() != "sum exited with status 2" {
		t.Errorf("got %v, want the status alone", err)
	}
}

func TestEnvironment(t *testing.T) {
	dir := packDir(t)
	pack, err := Open(dir, manifest(t, "{"+task("env", `"env"`, "")+"}"), newHost(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx := taskpacks.WithCall(t.Context(), taskpacks.Call{ID: "id", Attempt: 2, Node: "n1"})
	text, err := pack.Funcs[0].Call(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var env map[string]string
	if err := json.Unmarshal(text, &env); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"PATH", "LANG", "HOME", "TMPDIR", "GORACE", roleKey} {
		delete(env, key)
	}
	want := map[string]string{"PYTASKS_PACK_DIR": dir, "PYTASKS_TASK_ID": "id", "PYTASKS_ATTEMPT": "2", "PYTASKS_NODE": "n1"}
	if !maps.Equal(env, want) {
		t.Errorf("got %v besides, want %v", env, want)
	}
}

func TestStop(t *testing.T) {
	pack, err := Open(packDir(t), manifest(t, "{"+task("wait", `"wait"`, "")+"}"), newHost(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ctx = taskpacks.WithCall(ctx, taskpacks.Call{Log: writerFunc(func(p []byte) { cancel() })})
	if _, err := pack.Funcs[0].Call(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}
