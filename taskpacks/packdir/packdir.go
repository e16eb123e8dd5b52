// Package packdir opens the pack in a folder, whatever its kind: it reads the manifest and hands the folder to the runtime that
// knows the kind.
package packdir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"pytasks/taskpacks"
	"pytasks/taskpacks/command"
	"pytasks/taskpacks/process"
	"pytasks/taskpacks/python"
	"pytasks/taskpacks/wasm"
)

// Options say which pack to open, and with what.
type Options struct {
	Dir      string // the pack's folder, unpacked; it must stay while the pack is used
	Name     string // the pack's name, whatever its manifest says; "" = the manifest's
	Fallback string // the pack's name if Name is empty and the manifest has none

	Process *process.Host // runs Python and commands
	WASM    *wasm.Host    // runs modules
	Envs    string        // folder of the environments of all Python packs, made if absent
	Python  string        // the interpreter, a name on the PATH or a path; "" = python3
	Logger  *slog.Logger  // nil = slog.Default()
}

// Opened is a pack whose funcs can be called.
type Opened struct {
	Manifest *taskpacks.Manifest
	Pack     taskpacks.Pack

	// Test runs the pack's own tests; what they print goes to its writer. Nil = packs of this kind bring none that a node can run.
	Test func(ctx context.Context, out io.Writer) error

	// Workers tells how many processes the pack has, warm ones and those that run a call. Nil = packs of this kind keep none.
	Workers func() (idle, busy int)

	// Close frees what the pack holds; later calls of its funcs fail. It is never nil, and safe twice.
	Close func() error
}

// Open opens the pack in o.Dir. ctx bounds that: a Python pack may need minutes to install what it requires, a module seconds to be
// compiled.
//
// The error is a sentence for the pack's author. It wraps taskpacks.ErrNotEligible if the pack is sound but cannot run on this
// machine.
func Open(ctx context.Context, o Options) (*Opened, error) {
	m, err := taskpacks.ReadManifest(o.Dir, o.Name, o.Fallback)
	if err != nil {
		return nil, err
	}
	opened := &Opened{Manifest: m, Close: func() error { return nil }}
	switch m.Kind {
	case taskpacks.PackPython:
		err = opened.python(ctx, &o)
	case taskpacks.PackCommand:
		opened.Pack, err = command.Open(o.Dir, m, o.Process)
	case taskpacks.PackWASM:
		err = opened.wasm(ctx, &o)
	default:
		err = fmt.Errorf("pack %s: kind %q is not known here", m.Name, m.Kind)
	}
	if err != nil {
		return nil, err
	}
	// What a registry would refuse is a mistake of the author, and this is the place to hear of it.
	if _, err := taskpacks.NewRegistry(opened.Pack); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

func (opened *Opened) python(ctx context.Context, o *Options) error {
	p, err := python.Open(ctx, python.Options{
		Dir: o.Dir, Manifest: opened.Manifest, Host: o.Process, Envs: o.Envs, Python: o.Python, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	opened.Pack, opened.Close, opened.Workers = p.Pack, p.Close, p.Workers
	opened.Test = func(ctx context.Context, out io.Writer) error { return p.Test(ctx, out) }
	return nil
}

func (opened *Opened) wasm(ctx context.Context, o *Options) error {
	p, err := wasm.Open(ctx, o.Dir, opened.Manifest, o.WASM)
	if err != nil {
		return err
	}
	opened.Pack, opened.Close = p.Pack, p.Close
	return nil
}
