package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/node/config"
	"pytasks/taskpacks"
	"pytasks/taskpacks/packdir"
	subprocess "pytasks/taskpacks/process"
	"pytasks/taskpacks/wasm"
)

func (c *cli) packTestCommand() *cobra.Command {
	cfg := config.Default()
	cmd := &cobra.Command{
		Use:   "test DIR [TYPE [NAME=VALUE...]]",
		Short: "Check a pack, and run its tests or a task of it, without a cluster",
		Long: `Open the pack in a folder as a node would: read its manifest, build its environment,
import it. Then run its own tests, or the task that is named, in this terminal.

Environments of Python packs that require something are kept for the next time, below
pytasks/envs in the user's cache folder.`,
		Example: `  pytasks pack test ./hello
  pytasks pack test ./hello hello.main.greet name=World`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s needs the folder of a pack", cmd.CommandPath())
			}
			return nil
		},
	}
	config.Bind(cmd.Flags(), &cfg, "python", "task-timeout", "task-max-memory")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := config.Load(cmd.Flags(), c.getenv, ""); err != nil {
			return err
		}
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		scratch, err := os.MkdirTemp("", "pytasks-pack-")
		if err != nil {
			return fmt.Errorf("make a temporary folder: %w", err)
		}
		defer os.RemoveAll(scratch)
		return c.withPack(cmd.Context(), cfg, dir, scratch, func(p *packdir.Opened) error {
			if len(args) > 1 {
				ctx, cancel := context.WithTimeoutCause(cmd.Context(), cfg.TaskTimeout, fmt.Errorf("it took longer than %s (--task-timeout)", config.ShortDuration(cfg.TaskTimeout)))
				defer cancel()
				return c.callPack(ctx, p, args[1], args[2:])
			}
			return c.testPack(cmd.Context(), p, args[0])
		})
	}
	return cmd
}

// withPack opens the pack in dir for the time of do.
func (c *cli) withPack(ctx context.Context, cfg config.Config, dir, scratch string, do func(*packdir.Opened) error) (err error) {
	log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	processes, err := subprocess.New(subprocess.Config{
		Dir: filepath.Join(scratch, "process"), MaxMemory: cfg.TaskMaxMemory, MaxResult: cfg.MaxResult, Logger: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, processes.Close()) }()
	modules, err := wasm.New(wasm.Config{
		Dir: filepath.Join(scratch, "wasm"), Cache: filepath.Join(scratch, "cache"), MaxMemory: cfg.TaskMaxMemory, MaxResult: cfg.MaxResult,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, modules.Close()) }()
	p, err := packdir.Open(ctx, packdir.Options{
		Dir: dir, Fallback: packdir.NameOf(filepath.Base(dir)), Process: processes, WASM: modules,
		Envs: filepath.Join(cacheDir(scratch), "pytasks", "envs"), Python: cfg.Python, Logger: log,
	})
	if err != nil {
		return withTraceback(err)
	}
	return errors.Join(do(p), p.Close())
}

// cacheDir is the user's folder for what can be made again, or otherwise if there is none.
func cacheDir(otherwise string) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return otherwise
	}
	return dir
}

// withTraceback adds to an error what the pack's code left.
func withTraceback(err error) error {
	text := packdir.Traceback(err)
	if code := (*taskpacks.Error)(nil); errors.As(err, &code) {
		text = code.Traceback
	}
	if text = strings.TrimRight(text, "\n"); text != "" {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return err
}

// testPack lists the tasks of a pack and runs its own tests. dir is its folder as the caller named it.
func (c *cli) testPack(ctx context.Context, p *packdir.Opened, dir string) error {
	funcs := p.Pack.Funcs
	text := fmt.Sprintf("%s %s (%s) has %s:\n", p.Manifest.Name, p.Manifest.Version, p.Manifest.Kind, counted(len(funcs), "task"))
	for i := range funcs {
		text += "  " + funcs[i].Name + "(" + signature(&funcs[i].Spec) + ")\n"
	}
	switch {
	case len(funcs) == 0:
		return fmt.Errorf("pack %s has no tasks", p.Manifest.Name)
	case p.Test == nil:
		text += fmt.Sprintf("It can be installed. To run a task here: pytasks pack test %s %s NAME=VALUE\n", dir, funcs[0].Name)
	}
	if _, err := fmt.Fprint(c.out, text); err != nil || p.Test == nil {
		return err
	}
	return p.Test(ctx, c.out)
}

// signature is the params of a func as Python writes them, with defaults as JSON.
func signature(s *taskpacks.Spec) string {
	pack, _, _ := strings.Cut(s.Name, ".")
	plain := strings.NewReplacer("<class '", "", "<enum '", "", "'>", "", "typing.", "", "tasks.packs."+pack+".", "")
	text := ""
	for i := range s.Params {
		p := &s.Params[i]
		if i > 0 {
			text += ", "
		}
		text += p.Name + ": " + plain.Replace(p.Type.String())
		switch {
		case p.Default != nil:
			text += " = " + string(p.Default)
		case !p.Required:
			text += " = ..."
		}
	}
	return text
}

// callPack runs one task in this terminal: what it prints goes to stderr, its result to stdout.
func (c *cli) callPack(ctx context.Context, p *packdir.Opened, kind string, texts []string) error {
	var names []string
	for i := range p.Pack.Funcs {
		f := &p.Pack.Funcs[i]
		if names = append(names, f.Name); f.Name != kind {
			continue
		}
		declared, err := paramsOf(f.Schema())
		if err != nil {
			return err
		}
		values, err := parseArgs(kind, declared, texts, c.in)
		if err != nil {
			return err
		}
		args, err := json.Marshal(values)
		if err != nil {
			return err
		}
		if err := f.Check(args); err != nil {
			return &usageError{err}
		}
		call := taskpacks.Call{ID: "test", Attempt: 1, Node: "here", Log: c.err}
		start := time.Now()
		result, err := f.Call(taskpacks.WithCall(ctx, call), args)
		if err != nil {
			return withTraceback(fmt.Errorf("%s ended after %v: %w", kind, time.Since(start).Round(time.Millisecond), err))
		}
		return c.printJSON(result)
	}
	slices.Sort(names)
	return usagef("the pack has no task %q%s", kind, config.DidYouMean(kind, names))
}
