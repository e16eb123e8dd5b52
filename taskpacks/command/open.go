package command

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"pytasks/taskpacks"
	"pytasks/taskpacks/process"
)

// How arguments go in and the result comes out, as a manifest says it.
const (
	viaJSON = "json"
	viaArgv = "argv"
	viaText = "text"
	viaFD4  = "fd4"
)

// maxAttempts is how often a task is tried whose func says nothing of that.
const maxAttempts = 3

// placeholder is where the value of a param goes in an argument.
var placeholder = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// Open returns the pack that the manifest m describes, of which the files are in dir; h runs it. Programs in the pack that may
// not be executed are made so, since archives lose that.
//
// The error is a sentence for the pack's author. It wraps taskpacks.ErrNotEligible if a program is there for other platforms
// only, or is not on this machine's PATH.
func Open(dir string, m *taskpacks.Manifest, h *process.Host) (taskpacks.Pack, error) {
	if m.Kind != taskpacks.PackCommand {
		return taskpacks.Pack{}, fmt.Errorf("pack %s: it is of kind %q, not %q", m.Name, m.Kind, taskpacks.PackCommand)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return taskpacks.Pack{}, fmt.Errorf("pack %s: %w", m.Name, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return taskpacks.Pack{}, fmt.Errorf("pack %s: %w", m.Name, err)
	}
	defer root.Close()

	specs, err := m.Specs()
	if err != nil {
		return taskpacks.Pack{}, err
	}
	pack := taskpacks.Pack{Name: m.Name, Version: m.Version}
	for _, spec := range specs {
		short := strings.TrimPrefix(spec.Name, m.Name+".main.")
		c, err := open(root, &spec, m.Tasks[short])
		if err != nil {
			return taskpacks.Pack{}, fmt.Errorf("pack %s: task %s: %w", m.Name, short, err)
		}
		c.host, c.dir, c.name = h, dir, short
		pack.Funcs = append(pack.Funcs, taskpacks.NewFunc(c.spec, c.run))
	}
	return pack, nil
}

// open reads how one task of a manifest is run.
func open(root *os.Root, spec *taskpacks.Spec, t taskpacks.TaskManifest) (*command, error) {
	c := &command{spec: *spec, input: cmp.Or(t.Input, viaJSON), output: cmp.Or(t.Output, viaJSON)}
	c.spec.MaxAttempts = cmp.Or(spec.MaxAttempts, maxAttempts)
	switch {
	case len(t.Argv) == 0 || t.Argv[0] == "":
		return nil, errors.New(`it has no program: write "argv": ["bin/program-{os}-{arch}"]`)
	case t.Module != "" || t.Memory != 0:
		return nil, fmt.Errorf(`"module" and "memory" are for packs of kind %q`, taskpacks.PackWASM)
	case c.input != viaJSON && c.input != viaArgv:
		return nil, fmt.Errorf("input %q: use %q or %q", t.Input, viaJSON, viaArgv)
	case c.output != viaJSON && c.output != viaText && c.output != viaFD4:
		return nil, fmt.Errorf("output %q: use %q, %q or %q", t.Output, viaJSON, viaText, viaFD4)
	}
	c.args = t.Argv[1:]
	if c.input == viaArgv {
		if err := checkPlaceholders(c.args, spec.Params); err != nil {
			return nil, err
		}
	}
	program, err := findProgram(root, t.Argv[0])
	if err != nil {
		return nil, err
	}
	c.program = program
	return c, nil
}

// checkPlaceholders holds the arguments of a command against its params.
func checkPlaceholders(args []string, params []taskpacks.Param) error {
	used := map[string]bool{}
	for _, arg := range args {
		for _, match := range placeholder.FindAllStringSubmatch(arg, -1) {
			used[match[1]] = true
		}
	}
	for _, p := range params {
		if !used[p.Name] {
			return fmt.Errorf("param %s: no argument has {%s} in it, so that its value would be lost", p.Name, p.Name)
		}
		delete(used, p.Name)
	}
	for _, unknown := range slices.Sorted(maps.Keys(used)) {
		return fmt.Errorf("argv has {%s} in it, and there is no param of that name", unknown)
	}
	return nil
}

// findProgram returns the absolute path of a program.
func findProgram(root *os.Root, program string) (string, error) {
	if !strings.Contains(program, "/") {
		path, err := exec.LookPath(program)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			return "", fmt.Errorf("the program %s is not on the PATH of this node: %w", program, taskpacks.ErrNotEligible)
		}
		return path, nil
	}
	path := strings.NewReplacer("{os}", runtime.GOOS, "{arch}", runtime.GOARCH).Replace(program)
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("the program %s is outside the pack: use a path in it, or a name that is on the PATH", program)
	}
	info, err := root.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", missing(root, program, path)
	case err != nil:
		return "", fmt.Errorf("the program %s: %w", path, err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("the program %s is no file", path)
	}
	if info.Mode()&0o100 == 0 {
		if err := root.Chmod(path, info.Mode()|0o111); err != nil {
			return "", fmt.Errorf("make the program executable: %w", err)
		}
	}
	return filepath.Join(root.Name(), path), nil
}

// missing is the error of a program that is not in the pack under path: it may be there for other platforms.
func missing(root *os.Root, program, path string) error {
	pattern := regexp.QuoteMeta(filepath.ToSlash(filepath.Clean(program)))
	pattern = strings.Replace(pattern, `\{os\}`, `(?P<os>[a-z0-9]+)`, 1)
	pattern = strings.Replace(pattern, `\{arch\}`, `(?P<arch>[a-z0-9_]+)`, 1)
	like := regexp.MustCompile("^" + pattern + "$")
	var there []string
	err := fs.WalkDir(root.FS(), ".", func(file string, d fs.DirEntry, err error) error {
		if match := like.FindStringSubmatch(file); match != nil && !d.IsDir() {
			there = append(there, strings.Join(match[1:], "-"))
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("look for the program %s: %w", program, err)
	case len(there) == 0:
		return fmt.Errorf("the program %s is not in the pack", path)
	}
	slices.Sort(there)
	return fmt.Errorf("the program %s is not in the pack, which has it for %s: %w",
		path, strings.Join(slices.Compact(there), ", "), taskpacks.ErrNotEligible)
}
