package packdir

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"pytasks/taskpacks/process"
	"pytasks/taskpacks/wasm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// emptyModule is a WASI command that does nothing: a memory of one page, and a _start without code.
const emptyModule = "\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00" + "\x0a\x04\x01\x02\x00\x0b"

// options are those of a node, for a pack of the given files.
func options(t *testing.T, files map[string]string) Options {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	processes, err := process.New(process.Config{Dir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { processes.Close() })
	modules, err := wasm.New(wasm.Config{Dir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { modules.Close() })
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Dir: dir, Fallback: "fallback", Process: processes, WASM: modules, Envs: t.TempDir(), Logger: log}
}

func TestOpen(t *testing.T) {
	tests := []struct {
		kind  string
		files map[string]string
		want  string // name, version, first func
		tests bool   // the pack's own can be run
		call  string // the result of that func
	}{
		{"python", map[string]string{"main.py": "from pytasks import task\n\n@task\ndef f() -> int:\n    return 1\n"},
			"fallback 0 fallback.main.f", true, `1`},
		{"command", map[string]string{"package.json": `{"name": "a", "version": "2", "kind": "command", "tasks": {"f": {"argv": ["true"], "output": "text"}}}`},
			"a 2 a.main.f", false, `""`},
		{"wasm", map[string]string{
			"package.json": `{"name": "b", "kind": "wasm", "tasks": {"f": {"module": "f.wasm", "output": "text"}}}`, "f.wasm": emptyModule},
			"b 0 b.main.f", false, `""`},
	}
	for _, tt := range tests {
		t.Run(tt.kind, func(t *testing.T) {
			if _, err := exec.LookPath("python3"); err != nil && tt.kind == "python" {
				t.Skip("no python3 on PATH")
			}
			o := options(t, tt.files)
			p, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Pack.Name + " " + p.Pack.Version + " " + p.Pack.Funcs[0].Name; got != tt.want || p.Manifest.Kind != tt.kind {
				t.Errorf("got %s of kind %s, want %s", got, p.Manifest.Kind, tt.want)
			}
			if got := p.Test != nil; got != tt.tests {
				t.Errorf("has tests: got %v, want %v", got, tt.tests)
			}
			if got, err := p.Pack.Funcs[0].Call(t.Context(), json.RawMessage(`{}`)); string(got) != tt.call || err != nil {
				t.Errorf("got %s, %v, want %s", got, err, tt.call)
			}
			for range 2 {
				if err := p.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}
			o.Name = "other"
			if p, err = Open(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if got := p.Pack.Funcs[0].Name; got != "other.main.f" {
				t.Errorf("under another name: got %s, want other.main.f", got)
			}
		})
	}
}

func TestOpenProblems(t *testing.T) {
	tests := []struct{ manifest, want string }{
		{`{`, "package.json: line 1: unexpected end of JSON input"},
		{`{"kind": "perl"}`, `pack fallback: kind "perl": use "python", "command" or "wasm"`},
		{`{"kind": "command"}`, `names its tasks in package.json`},
		{`{"kind": "command", "tasks": {"f": {}}}`, `pack fallback: task f: it has no program`},
		{`{"kind": "wasm", "tasks": {"f": {"module": "f.wasm"}}}`, `pack fallback: task f: f.wasm is not there: build it`},
	}
	for _, tt := range tests {
		_, err := Open(t.Context(), options(t, map[string]string{"package.json": tt.manifest}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q in it", tt.manifest, err, tt.want)
		}
	}
}
