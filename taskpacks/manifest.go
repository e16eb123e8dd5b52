package taskpacks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// ManifestFile is the file of a pack's folder that describes it. A Python pack may do without.
const ManifestFile = "package.json"

// The kinds of packs that are installed from a folder.
const (
	PackPython  = "python"
	PackCommand = "command"
	PackWASM    = "wasm"
)

// maxManifest bounds a manifest, in bytes.
const maxManifest = 1 << 20

// maxText bounds names and versions, in bytes.
const maxText = 64

// identifier is what a pack may be called.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Manifest is what package.json says of a pack.
type Manifest struct {
	Name        string `json:"name"`    // letters, digits and underscores; where it is absent, the folder's name counts
	Version     string `json:"version"` // any text without blanks; absent = "0"
	Author      string `json:"author,omitempty"`
	Description string `json:"description,omitempty"`
	License     string `json:"license,omitempty"`

	Kind string `json:"kind,omitempty"` // one of the kinds above; absent = python

	// Tasks are the funcs of a command or WASM pack by their short names: "sum" is the func "<pack>.main.sum". The funcs of
	// a Python pack are found in its code.
	Tasks map[string]TaskManifest `json:"tasks,omitempty"`
}

// TaskManifest is one func of a Manifest.
type TaskManifest struct {
	// Argv is the program and its arguments, of a command pack. A program with a slash is looked for in the pack's folder,
	// {os} and {arch} in it are replaced as Go writes them ("linux", "amd64"); one without is looked for on the PATH.
	// {name} in an argument is replaced by the value of that param, if Input is "argv".
	Argv []string `json:"argv,omitempty"`
	// Module is the file of a WASI command module, of a WASM pack.
	Module string `json:"module,omitempty"`
	// Input says how arguments come in: "json", one object on standard input (the default), or "argv".
	Input string `json:"input,omitempty"`
	// Output says how the result comes out: "json" on standard output (the default), "text" on standard output, or "fd4",
	// JSON on file descriptor 4, where standard output is a log like standard error.
	Output string `json:"output,omitempty"`

	Params      []ParamManifest `json:"params,omitempty"`
	Protected   bool            `json:"protected,omitempty"`
	Timeout     string          `json:"timeout,omitempty"` // a Go duration; absent = the node's default
	MaxAttempts int             `json:"max_attempts,omitempty"`
	Doc         string          `json:"doc,omitempty"`
	Memory      int64           `json:"memory,omitempty"` // bytes, of a WASM module; absent = the node's default
}

// ParamManifest is one parameter of a TaskManifest.
type ParamManifest struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"`              // as ParseType reads it: "int", "list[float]", "str | None"
	Default json.RawMessage `json:"default,omitempty"` // makes the param optional, as "T | None" does too
}

// ReadManifest reads the manifest of the pack in dir. name, if it is not empty, is the pack's name whatever the manifest says;
// otherwise fallback is its name where the manifest has none. A manifest that is absent or empty is that of a Python pack.
func ReadManifest(dir, name, fallback string) (*Manifest, error) {
	m := &Manifest{}
	text, err := readFile(filepath.Join(dir, ManifestFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", ManifestFile, err)
	}
	if len(bytes.TrimSpace(text)) > 0 {
		if err := m.read(text); err != nil {
			return nil, fmt.Errorf("%s: %w", ManifestFile, err)
		}
	}
	switch {
	case name != "":
		m.Name = name
	case m.Name == "":
		m.Name = fallback
	}
	if m.Version == "" {
		m.Version = "0"
	}
	if m.Kind == "" {
		m.Kind = PackPython
	}
	return m, m.validate()
}

// read takes what a manifest says. Members that are not known are passed over, as those of other programs may be among them;
// but not inside the tasks, where one is a mistake.
func (m *Manifest) read(text []byte) error {
	if err := json.Unmarshal(text, m); err != nil {
		return jsonError(text, err)
	}
	var raw struct {
		Tasks json.RawMessage `json:"tasks"`
	}
	if err := json.Unmarshal(text, &raw); err != nil || raw.Tasks == nil {
		return err
	}
	strict := json.NewDecoder(bytes.NewReader(raw.Tasks))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&map[string]TaskManifest{}); err != nil {
		return fmt.Errorf("tasks: %s, which is not known here", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// jsonError says where a text is no JSON, or not what it should be.
func jsonError(text []byte, err error) error {
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return fmt.Errorf("line %d: %q must be a %s, not %s", lineOf(text, wrong.Offset), wrong.Field, jsonKind(wrong.Type), wrong.Value)
	}
	if broken := (*json.SyntaxError)(nil); errors.As(err, &broken) {
		return fmt.Errorf("line %d: %w", lineOf(text, broken.Offset), err)
	}
	return err
}

func lineOf(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(offset, int64(len(text)))], []byte("\n"))
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text in quotes"
	case reflect.Int, reflect.Int64:
		return "whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "list"
	}
	return "JSON object"
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxManifest {
		return nil, fmt.Errorf("%d bytes, %d at most", info.Size(), maxManifest)
	}
	return os.ReadFile(path)
}

// Specs returns the signatures of the manifest's tasks, by name: the task "sum" of the pack "math" is the func "math.main.sum".
// The error is the first problem, as a sentence for the pack's author.
func (m *Manifest) Specs() ([]Spec, error) {
	specs := make([]Spec, 0, len(m.Tasks))
	for _, short := range slices.Sorted(maps.Keys(m.Tasks)) {
		if !identifier.MatchString(short) || len(short) > maxText {
			return nil, fmt.Errorf("pack %s: task %q: use a name of at most %d letters, digits and underscores that does not begin with a digit",
				m.Name, short, maxText)
		}
		task := m.Tasks[short]
		spec, err := task.spec(m.Name + ".main." + short)
		if err != nil {
			return nil, fmt.Errorf("pack %s: task %s: %w", m.Name, short, err)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

func (t *TaskManifest) spec(name string) (Spec, error) {
	spec := Spec{Name: name, Params: []Param{}, Protected: t.Protected, MaxAttempts: t.MaxAttempts, Doc: t.Doc}
	if t.MaxAttempts < 0 {
		return spec, fmt.Errorf("max_attempts %d: use 1 or more, or leave it out", t.MaxAttempts)
	}
	if t.Memory < 0 {
		return spec, fmt.Errorf("memory %d: use a number of bytes, or leave it out", t.Memory)
	}
	if t.Timeout != "" {
		d, err := time.ParseDuration(t.Timeout)
		if err != nil || d <= 0 {
			return spec, fmt.Errorf("timeout %q: use a duration such as \"30s\" or \"5m\", or leave it out", t.Timeout)
		}
		spec.Timeout = d
	}
	for _, pm := range t.Params {
		p, err := pm.param()
		if err != nil {
			return spec, err
		}
		if slices.ContainsFunc(spec.Params, func(other Param) bool { return other.Name == p.Name }) {
			return spec, fmt.Errorf("the param %s is there twice", p.Name)
		}
		spec.Params = append(spec.Params, p)
	}
	return spec, nil
}

func (pm *ParamManifest) param() (Param, error) {
	if !identifier.MatchString(pm.Name) || len(pm.Name) > maxText {
		return Param{}, fmt.Errorf("param %q: use a name of at most %d letters, digits and underscores that does not begin with a digit",
			pm.Name, maxText)
	}
	if pm.Type == "" {
		return Param{}, fmt.Errorf("param %s has no type: write one such as \"type\": \"int\", or \"Any\"", pm.Name)
	}
	t, err := ParseType(pm.Type)
	if err != nil {
		return Param{}, fmt.Errorf("param %s: %w", pm.Name, err)
	}
	p := Param{Name: pm.Name, Type: t, Required: pm.Default == nil && t.Kind != KindOptional, Default: pm.Default}
	if pm.Default != nil && t.judge(pm.Default) != nil {
		return Param{}, fmt.Errorf("param %s: the default %s does not fit the type %s", pm.Name, pm.Default, pm.Type)
	}
	return p, nil
}

// validate returns the first problem, as a sentence for the pack's author.
func (m *Manifest) validate() error {
	switch {
	case !identifier.MatchString(m.Name) || len(m.Name) > maxText:
		return fmt.Errorf("pack %q: use a name of at most %d letters, digits and underscores that does not begin with a digit%s",
			m.Name, maxText, suchAs(m.Name))
	case len(m.Version) > maxText || !versionText.MatchString(m.Version):
		return fmt.Errorf("pack %s: version %q: use at most %d letters, digits and . _ + -", m.Name, m.Version, maxText)
	case m.Kind != PackPython && m.Kind != PackCommand && m.Kind != PackWASM:
		return fmt.Errorf("pack %s: kind %q: use %q, %q or %q", m.Name, m.Kind, PackPython, PackCommand, PackWASM)
	case m.Kind != PackPython && len(m.Tasks) == 0:
		return fmt.Errorf("pack %s: a pack of kind %q names its tasks in %s", m.Name, m.Kind, ManifestFile)
	}
	return nil
}

// suchAs proposes a name that is like one that cannot be used.
func suchAs(name string) string {
	plain := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && identifier.MatchString("_"+string(r)) {
			return r
		}
		return '_'
	}, name)
	if plain != "" && plain[0] >= '0' && plain[0] <= '9' {
		plain = "_" + plain
	}
	if len(plain) > maxText || strings.Trim(plain, "_") == "" {
		return ""
	}
	return ", such as " + plain
}

var versionText = regexp.MustCompile(`^[A-Za-z0-9._+-]+$`)
