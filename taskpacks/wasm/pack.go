package wasm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"

	"pytasks/taskpacks"
)

// maxModule bounds a module's file, in bytes.
const maxModule = 256 << 20

// maxAttempts is how often a task is tried whose manifest says nothing of that.
const maxAttempts = 3

// wasiModule is what the modules that a Host can run import from.
const wasiModule = "wasi_snapshot_preview1"

// Pack is an opened pack: its funcs, and the machine code of its modules.
type Pack struct {
	taskpacks.Pack
	host *Host
	code []wazero.CompiledModule

	mu     sync.Mutex
	closed bool // guarded by mu
	calls  int  // that run; guarded by mu
}

// task is how one func of a pack is run.
type task struct {
	spec   taskpacks.Spec
	short  string // its name in the manifest
	module string // the file's name
	code   wazero.CompiledModule
	memory int64 // bytes that it may have, whole pages
	text   bool  // standard output is a text, not JSON
}

// Open compiles the modules of the pack in dir, which takes a second or two for a large one that is not in h's cache. An error is a
// sentence for the pack's author: a module that is absent, that is no WASI command or that needs more memory than it may have.
func Open(ctx context.Context, dir string, m *taskpacks.Manifest, h *Host) (*Pack, error) {
	specs, err := m.Specs()
	if err != nil {
		return nil, err
	}
	p := &Pack{Pack: taskpacks.Pack{Name: m.Name, Version: m.Version}, host: h}
	compiled := map[string]wazero.CompiledModule{} // by file
	for _, spec := range specs {
		short := strings.TrimPrefix(spec.Name, m.Name+".main.")
		t, err := p.open(ctx, dir, compiled, m.Tasks[short])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("pack %s: task %s: %w", m.Name, short, err), p.Close())
		}
		spec.MaxAttempts = cmp.Or(spec.MaxAttempts, maxAttempts)
		t.spec, t.short = spec, short
		p.Funcs = append(p.Funcs, taskpacks.NewFunc(spec, func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
			return p.call(ctx, t, args)
		}))
	}
	return p, nil
}

func (p *Pack) open(ctx context.Context, dir string, compiled map[string]wazero.CompiledModule, m taskpacks.TaskManifest) (*task, error) {
	switch {
	case m.Module == "":
		return nil, fmt.Errorf("it names no module: write one such as \"module\": \"main.wasm\"")
	case len(m.Argv) > 0:
		return nil, fmt.Errorf("argv is for packs of kind %q: a module is told the task's name as its first argument", taskpacks.PackCommand)
	case m.Input != "" && m.Input != "json":
		return nil, fmt.Errorf("input %q: a module reads its arguments as JSON from standard input, use \"json\" or leave it out", m.Input)
	case m.Output != "" && m.Output != "json" && m.Output != "text":
		return nil, fmt.Errorf("output %q: use \"json\" or \"text\", or leave it out", m.Output)
	case m.Memory > p.host.cfg.MaxMemory:
		return nil, fmt.Errorf("memory %d: this node allows %d bytes: use less, or raise the node's limit", m.Memory, p.host.cfg.MaxMemory)
	}
	code := compiled[m.Module]
	if code == nil {
		module, err := readModule(dir, m.Module)
		if err != nil {
			return nil, err
		}
		if code, err = p.host.compile(ctx, module); err != nil {
			return nil, fmt.Errorf("%s is no module that can be run: %w", m.Module, err)
		}
		p.code = append(p.code, code)
		compiled[m.Module] = code
	}
	t := &task{module: filepath.Base(m.Module), code: code, memory: p.host.cfg.MaxMemory, text: m.Output == "text"}
	if m.Memory > 0 {
		t.memory = m.Memory
	}
	t.memory -= t.memory % pageSize
	if err := p.host.check(code, t.memory); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Module, err)
	}
	return t, nil
}

func readModule(dir, name string) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("module %q: name a file inside the pack's folder, such as \"main.wasm\"", name)
	}
	f, err := os.OpenInRoot(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: build it before the pack is installed, "+
			"in Go with \"GOOS=wasip1 GOARCH=wasm go build -o %s .\"", name, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer f.Close()
	module, err := io.ReadAll(io.LimitReader(f, maxModule+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(module) > maxModule {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxModule)
	}
	if module, err = boundTables(module); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return joinData(module), nil
}

// check returns why code cannot be run with so many bytes of memory.
func (h *Host) check(code wazero.CompiledModule, most int64) error {
	const how = "build it as a WASI preview 1 command"
	for _, f := range code.ImportedFunctions() {
		module, name, _ := f.Import()
		if module != wasiModule || !h.wasi[name] {
			return fmt.Errorf("it imports %s.%s, which is not part of %s: %s", module, name, wasiModule, how)
		}
	}
	start := code.ExportedFunctions()["_start"]
	memory := code.ExportedMemories()["memory"]
	switch {
	case len(code.ImportedMemories()) > 0:
		return fmt.Errorf("it imports its memory: %s", how)
	case start == nil || len(start.ParamTypes())+len(start.ResultTypes()) > 0:
		return fmt.Errorf("it has no _start, it is a library: %s, with a main function", how)
	case memory == nil:
		return fmt.Errorf("it exports no memory: %s", how)
	case int64(memory.Min())*pageSize > most:
		return fmt.Errorf("it begins with %d bytes of memory and may have %d: raise \"memory\" of its task, or the node's limit",
			int64(memory.Min())*pageSize, most)
	}
	return nil
}

// call runs a func once.
func (p *Pack) call(ctx context.Context, t *task, args json.RawMessage) (json.RawMessage, error) {
	if err := t.spec.Check(args); err != nil {
		return nil, taskpacks.Permanent(err)
	}
	args, err := t.spec.WithDefaults(args)
	if err != nil {
		return nil, taskpacks.Permanent(err)
	}
	if err := p.begin(); err != nil {
		return nil, err
	}
	defer p.end()
	return p.host.call(ctx, t, args)
}

func (p *Pack) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.calls++
	return nil
}

func (p *Pack) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	if err := p.free(); err != nil {
		p.host.log.Warn("machine code is left behind", "pack", p.Name, "err", err)
	}
}

// free gives the machine code back if the pack is closed and no call runs. The caller holds mu.
func (p *Pack) free() error {
	if !p.closed || p.calls > 0 {
		return nil
	}
	var errs []error
	for _, code := range p.code {
		errs = append(errs, code.Close(context.Background()))
	}
	p.code = nil
	return errors.Join(errs...)
}

// Close lets the calls that run come to their end, without waiting for that, and then frees the machine code; later calls fail with
// ErrClosed. Close is safe twice.
func (p *Pack) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.free()
}
