package python

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"pytasks/taskpacks"
	"pytasks/taskpacks/process"
)

// Options say which pack is opened, and how it runs.
type Options struct {
	Dir      string              // the pack's folder, unpacked; it must stay while the Pack is used
	Manifest *taskpacks.Manifest // its manifest; nil = read it from Dir, under the name of the folder if it has none
	Host     *process.Host       // where its processes run
	Envs     string              // a folder of this node for the environments of all packs, made if absent
	Python   string              // the interpreter, a name on the PATH or a path; "" = python3
	Logger   *slog.Logger        // nil = slog.Default()
}

func (o *Options) fill() (err error) {
	if o.Dir == "" || o.Envs == "" || o.Host == nil {
		return errors.New("python: Options need a Dir, a Host and a folder Envs")
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return fmt.Errorf("the folder of the pack: %w", err)
	}
	if o.Envs, err = filepath.Abs(o.Envs); err != nil {
		return fmt.Errorf("the folder of Python environments: %w", err)
	}
	if !isDir(o.Dir) {
		return fmt.Errorf("the pack's folder %s is not there", o.Dir)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Manifest == nil {
		o.Manifest, err = taskpacks.ReadManifest(o.Dir, "", filepath.Base(o.Dir))
	}
	return err
}

// ImportError says why the code of a pack cannot be imported.
type ImportError struct {
	Type      string // the class of the exception, "ModuleNotFoundError"
	Message   string
	Traceback string // from the pack's first line on; "" where there is none
}

// Error returns the exception in one line.
func (e *ImportError) Error() string {
	if e.Type == "PackError" { // of the runner, a whole sentence
		return e.Message
	}
	return "the pack cannot be imported: " + e.Type + ": " + e.Message
}

// Pack is a pack whose funcs run in Python.
type Pack struct {
	taskpacks.Pack

	dir  string
	host *process.Host
	base interpreter
	env  environment
	pool *process.Pool
}

// Open prepares the environment of a pack, imports it once to learn its funcs, and returns it. ctx bounds all of that; an
// environment may take minutes to build.
//
// The error is an *ImportError if the code cannot be imported or defines what cannot be a func, wraps
// taskpacks.ErrNotEligible if the node has no Python, holds the end of the installer's output if the requirements cannot be
// installed, and wraps ctx's error if that ended first.
func Open(ctx context.Context, o Options) (*Pack, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	p, err := open(ctx, &o)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", o.Manifest.Name, err)
	}
	return p, nil
}

func open(ctx context.Context, o *Options) (*Pack, error) {
	if err := os.MkdirAll(o.Envs, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of Python environments: %w", err)
	}
	base, err := findInterpreter(ctx, o.Python, o.Envs)
	if err != nil {
		return nil, err
	}
	env, err := openEnvironment(ctx, base, o.Dir, o.Envs)
	if err != nil {
		return nil, err
	}
	p := &Pack{
		Pack: taskpacks.Pack{Name: o.Manifest.Name, Version: o.Manifest.Version},
		dir:  o.Dir, host: o.Host, base: base, env: env,
	}
	specs, warnings, err := p.describe(ctx)
	if err != nil {
		env.release()
		return nil, err
	}
	for _, warning := range warnings {
		o.Logger.Warn("part of a pack left out", "component", "python", "pack", p.Name, "err", warning)
	}
	p.pool = o.Host.NewPool(p.program("serve"))
	for _, spec := range specs {
		p.Funcs = append(p.Funcs, taskpacks.NewFunc(spec, p.run(&spec)))
	}
	return p, nil
}

// Close ends the pack's workers when their calls are done, and does not wait for that. Later calls fail.
func (p *Pack) Close() error {
	p.env.release()
	return p.pool.Close()
}

// Workers returns how many processes the pack has: warm ones, and those that run a call.
func (p *Pack) Workers() (idle, busy int) { return p.pool.Workers() }

// Test runs the pack's own tests, the files test_*.py, under unittest. What they print goes to out as it comes. args are
// passed to unittest: "-v", "-k", a pattern. The error says that tests failed; it is none that there are none.
func (p *Pack) Test(ctx context.Context, out io.Writer, args ...string) error {
	ctx = taskpacks.WithCall(ctx, taskpacks.Call{Log: out})
	program := p.program("test")
	program.Argv = append(program.Argv, args...)
	output, err := p.host.Once(ctx, program, nil)
	if err != nil {
		return fmt.Errorf("run the tests of pack %s: %w", p.Name, err)
	}
	if output.Exit != 0 {
		return fmt.Errorf("the tests of pack %s failed", p.Name)
	}
	return nil
}

// program returns how the runner is started for the pack.
func (p *Pack) program(mode string) process.Program {
	python, vars := p.base.Executable, []string(nil)
	if p.env.path != "" {
		python = pythonOf(p.env.path)
		vars = []string{"VIRTUAL_ENV=" + p.env.path, "PATH=" + filepath.Dir(python) + ":" + os.Getenv("PATH")}
	}
	return process.Program{Argv: []string{python, "-I", "-u", "-B", p.base.Runner, mode, p.dir, p.Name}, Env: vars}
}

// describe imports the pack in a process that then ends, and returns the signatures of its funcs and what to warn of.
func (p *Pack) describe(ctx context.Context) (specs []taskpacks.Spec, warnings []string, err error) {
	out, err := p.host.Once(ctx, p.program("describe"), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("import the pack: %w", err)
	}
	var said struct {
		Specs    []taskpacks.Spec `json:"specs"`
		Warnings []string         `json:"warnings"`
		Fatal    *ImportError     `json:"fatal"`
	}
	if len(out.FD4) < 4 || int(binary.BigEndian.Uint32(out.FD4)) != len(out.FD4)-4 {
		return nil, nil, &ImportError{
			Type:      "ProcessEnded",
			Message:   fmt.Sprintf("its code ended the process that imported it, with status %d", out.Exit),
			Traceback: string(out.Stderr),
		}
	}
	if err := json.Unmarshal(out.FD4[4:], &said); err != nil {
		return nil, nil, fmt.Errorf("read the signatures of the pack: %w", err)
	}
	if said.Fatal != nil {
		return nil, nil, said.Fatal
	}
	for i := range said.Specs { // the pack's code was at work there, too
		if err := said.Specs[i].Validate(); err != nil {
			return nil, nil, err
		}
	}
	return said.Specs, said.Warnings, nil
}

func (p *Pack) run(spec *taskpacks.Spec) taskpacks.Run {
	return func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
		if err := spec.Check(args); err != nil { // another version of the pack may have taken them
			return nil, taskpacks.Permanent(err)
		}
		call, _ := taskpacks.CallFrom(ctx)
		return p.pool.Call(ctx, process.Request{
			ID: call.ID, Attempt: max(1, call.Attempt), Node: call.Node, Task: spec.Name, Args: args,
		})
	}
}
