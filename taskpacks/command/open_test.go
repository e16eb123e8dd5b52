package command

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pytasks/taskpacks"
)

func TestOpenRefuses(t *testing.T) {
	tests := []struct{ task, want string }{
		{`"a b": {"argv": ["bin/x"]}`, `task "a b": use a name of at most 64 letters`},
		{`"f": {}`, "it has no program"},
		{`"f": {"argv": ["bin/x"], "module": "x.wasm"}`, `are for packs of kind "wasm"`},
		{`"f": {"argv": ["bin/x"], "input": "xml"}`, `input "xml": use "json" or "argv"`},
		{`"f": {"argv": ["bin/x"], "output": "xml"}`, `output "xml": use "json", "text" or "fd4"`},
		{`"f": {"argv": ["bin/x"], "timeout": "5"}`, `timeout "5": use a duration such as "30s"`},
		{`"f": {"argv": ["bin/x"], "timeout": "-5s"}`, `timeout "-5s"`},
		{`"f": {"argv": ["bin/x"], "max_attempts": -1}`, "max_attempts -1: use 1 or more"},
		{`"f": {"argv": ["bin/x"], "params": [{"name": "a b", "type": "int"}]}`, `param "a b": use a name`},
		{`"f": {"argv": ["bin/x"], "params": [{"name": "a", "type": "number"}]}`, `param a: type "number"`},
		{`"f": {"argv": ["bin/x"], "params": [{"name": "a", "type": "int", "default": "1"}]}`, `the default "1" does not fit the type int`},
		{`"f": {"argv": ["bin/x"], "params": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}`, "the param a is there twice"},
		{`"f": {"argv": ["bin/x", "a"], "input": "argv", "params": [{"name": "a", "type": "int"}]}`, "no argument has {a} in it"},
		{`"f": {"argv": ["bin/x", "{b}"], "input": "argv"}`, "argv has {b} in it, and there is no param of that name"},
		{`"f": {"argv": ["bin/x"]}`, "task f: the program bin/x is not in the pack"},
		{`"f": {"argv": ["bin/x-{os}-{arch}"]}`, "is not in the pack"},
		{`"f": {"argv": ["../x"]}`, "the program ../x is outside the pack"},
		{`"f": {"argv": ["/bin/sh"]}`, "the program /bin/sh is outside the pack: use a path in it, or a name that is on the PATH"},
		{`"f": {"argv": ["bin/link"]}`, "the program bin/link: "},
		{`"f": {"argv": ["./bin"]}`, "the program ./bin is no file"},
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/bin/sh", filepath.Join(dir, "bin", "link")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		_, err := Open(dir, manifest(t, "{"+tt.task+"}"), nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, taskpacks.ErrNotEligible) {
			t.Errorf("%s\n got %v\nwant %s", tt.task, err, tt.want)
		}
	}
	if _, err := Open(dir, &taskpacks.Manifest{Name: "p", Kind: taskpacks.PackPython}, nil); err == nil {
		t.Error("a Python pack was opened")
	}
}

func TestOpenElsewhere(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"bin/plan9-mips/x", "bin/plan9-arm/x", "bin/other/x", "bin/a-b/y"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for argv, want := range map[string]string{
		"./bin/{os}-{arch}/x":    "which has it for plan9-arm, plan9-mips: the pack cannot run on this machine",
		"no-such-program-at-all": "not on the PATH of this node",
	} {
		_, err := Open(dir, manifest(t, `{"f": {"argv": ["`+argv+`"]}}`), nil)
		if !errors.Is(err, taskpacks.ErrNotEligible) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", argv, err, want)
		}
	}
}

func TestScripts(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{
		"good": "#!/bin/sh\necho 1\n", "plain": "echo 1\n", "lost": "#!/no/such/interpreter\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	m := manifest(t, `{"good": {"argv": ["./good"]}, "plain": {"argv": ["./plain"]}, "lost": {"argv": ["./lost"]}, "path": {"argv": ["echo", "2"]}}`)
	pack, err := Open(dir, m, newHost(t))
	if err != nil {
		t.Fatal(err)
	}
	for short, want := range map[string]string{"good": "1", "path": "2"} {
		if got, err := fn(t, &pack, short).Call(t.Context(), nil); err != nil || string(got) != want {
			t.Errorf("%s = %s, %v, want %s", short, got, err, want)
		}
	}
	for short, want := range map[string]string{
		"plain": "plain was not started: it is no program for", "lost": "the interpreter that its first line names, is not there",
	} {
		if _, err := fn(t, &pack, short).Call(t.Context(), nil); !taskpacks.IsPermanent(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", short, err, want)
		}
	}
}
