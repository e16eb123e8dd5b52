package taskpacks

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manifestOf reads a manifest with that text.
func manifestOf(t *testing.T, text string) *Manifest {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ManifestFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := ReadManifest(dir, "", "fallback")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestManifestSpecs(t *testing.T) {
	m := manifestOf(t, `{"name": "calc", "kind": "command", "tasks": {
		"sum": {"argv": ["sum"], "timeout": "1m30s", "max_attempts": 3, "protected": true, "doc": "Adds.", "params": [
			{"name": "x", "type": "int"},
			{"name": "y", "type": "int", "default": 12345678901234567890},
			{"name": "note", "type": "str | None", "default": null},
			{"name": "by", "type": "Optional[str]"}]},
		"now": {"argv": ["date"]}}}`)
	specs, err := m.Specs()
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(specs)
	want := `[{"name":"calc.main.now","params":[]},{"name":"calc.main.sum","params":[` +
		`{"name":"x","type":{"kind":"int"},"required":true},` +
		`{"name":"y","type":{"kind":"int"},"default":12345678901234567890},` +
		`{"name":"note","type":{"kind":"optional","of":{"kind":"str"}},"default":null},` +
		`{"name":"by","type":{"kind":"optional","of":{"kind":"str"}}}],` +
		`"protected":true,"timeout":90000000000,"max_attempts":3,"doc":"Adds."}]`
	if string(got) != want {
		t.Errorf("Specs() = %s\nwant %s", got, want)
	}
	if specs[1].Timeout != 90*time.Second {
		t.Errorf("timeout = %s, want 1m30s", specs[1].Timeout)
	}
}

func TestManifestSpecsProblems(t *testing.T) {
	tests := []struct{ tasks, want string }{
		{`"a-b": {}`, `pack p: task "a-b": use a name`},
		{`"f": {"timeout": "soon"}`, `pack p: task f: timeout "soon": use a duration`},
		{`"f": {"timeout": "-1s"}`, `timeout "-1s": use a duration`},
		{`"f": {"max_attempts": -1}`, `max_attempts -1: use 1 or more`},
		{`"f": {"memory": -1}`, `memory -1: use a number of bytes`},
		{`"f": {"params": [{"name": "x y", "type": "int"}]}`, `param "x y": use a name`},
		{`"f": {"params": [{"name": "x"}]}`, `param x has no type`},
		{`"f": {"params": [{"name": "x", "type": "integer"}]}`, `param x: type "integer"`},
		{`"f": {"params": [{"name": "x", "type": "int", "default": "1"}]}`, `param x: the default "1" does not fit the type int`},
		{`"f": {"params": [{"name": "x", "type": "int"}, {"name": "x", "type": "str"}]}`, `the param x is there twice`},
	}
	for _, tt := range tests {
		m := manifestOf(t, `{"name": "p", "kind": "command", "tasks": {`+tt.tasks+`}}`)
		if _, err := m.Specs(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Specs of %s: got error %v, want one with %q", tt.tasks, err, tt.want)
		}
	}
}

// TestReadManifestProblems: a manifest that is not understood says where, and what to write.
func TestReadManifestProblems(t *testing.T) {
	tests := []struct{ text, want string }{
		{"{\"name\": \"p\",\n}", "package.json: line 2: invalid character '}'"},
		{"{\n\"version\": 1}", `package.json: line 2: "version" must be a text in quotes, not number`},
		{`{"kind": "command", "tasks": []}`, `"tasks" must be a JSON object, not array`},
		{`{"kind": "command", "tasks": {"f": {"argv": "ls"}}}`, `argv" must be a list, not string`},
		{`{"kind": "command", "tasks": {"f": {"parms": []}}}`, `tasks: unknown field "parms", which is not known here`},
		{`{"kind": "command", "tasks": {"f": {"params": [{"name": "x", "typ": "int"}]}}}`, `unknown field "typ"`},
		{`{"kind": "command"}`, `names its tasks in package.json`},
		{`{"kind": "rust"}`, `kind "rust": use "python", "command" or "wasm"`},
		{`{"name": "my-pack"}`, `does not begin with a digit, such as my_pack`},
		{`{"name": "3d"}`, `such as _3d`},
		{`{"version": "1 0"}`, `version "1 0": use`},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ManifestFile), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadManifest(dir, "", "fallback"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %q", tt.text, err, tt.want)
		}
	}
	if m := manifestOf(t, `{"name": "p", "scripts": {"x": 1}, "homepage": "y"}`); m.Name != "p" {
		t.Errorf("name %q, want p whatever else is there", m.Name)
	}
}

func TestWithDefaults(t *testing.T) {
	spec := Spec{Params: []Param{
		{Name: "x", Type: Type{Kind: KindInt}, Required: true},
		{Name: "y", Type: Type{Kind: KindFloat}, Default: json.RawMessage(`1.50`)},
		{Name: "z", Type: Type{Kind: KindAny}, Default: json.RawMessage(`null`)},
	}}
	tests := []struct{ args, want string }{
		{``, `{"y":1.50,"z":null}`},
		{` { } `, `{"y":1.50,"z":null}`},
		{`{"x": 1e400, "a": [ 1 ] }`, `{"x": 1e400, "a": [ 1 ],"y":1.50,"z":null}`},
		{`{"z": 2, "x": 1}`, `{"z": 2, "x": 1,"y":1.50}`},
		{`{"z": 2, "\u0079": 3}`, `{"z": 2, "\u0079": 3}`},
	}
	for _, tt := range tests {
		got, err := spec.WithDefaults(json.RawMessage(tt.args))
		if err != nil || string(got) != tt.want {
			t.Errorf("WithDefaults(%s) = %s, %v, want %s", tt.args, got, err, tt.want)
		}
	}
	for _, args := range []string{`[]`, `null`, `{"x": 1`} {
		if got, err := spec.WithDefaults(json.RawMessage(args)); err == nil {
			t.Errorf("WithDefaults(%s) = %s, want an error", args, got)
		}
	}
}
