package wasm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/sys"

	"pytasks/taskpacks"
)

// call is one run of a module.
type call struct {
	task   *task
	memory *memory
	stdout *stdout
	stderr *tail
	stop   context.CancelCauseFunc
}

// call runs a module to its end.
func (h *Host) call(parent context.Context, t *task, args []byte) (json.RawMessage, error) {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	c := &call{task: t, stop: stop, stderr: &tail{log: taskpacks.Log(parent)}}
	c.stdout = &stdout{limit: h.cfg.MaxResult, stop: stop}
	if err := h.begin(c); err != nil {
		return nil, err
	}
	defer h.end(c)

	dir, err := h.folder()
	if err != nil {
		return nil, err
	}
	files := newFolder(dir, stop)
	defer func() { h.discard(dir, files.used) }()
	defer files.close()
	if c.memory, err = newMemory(t.memory); err != nil {
		return nil, err
	}
	defer c.memory.release()

	err = h.run(ctx, c, files, args)
	switch cause := context.Cause(ctx); {
	case cause != nil && cause != context.Cause(parent):
		return nil, cause // of stop; the module may have ended as if nothing was
	case err == nil:
		return c.result()
	case cause != nil:
		return nil, fmt.Errorf("the code was stopped: %w", parent.Err())
	}
	return nil, c.failure(err)
}

// run returns nil if the module ended well, and its *sys.ExitError or trap otherwise.
func (h *Host) run(ctx context.Context, c *call, files *folder, args []byte) error {
	task, _ := taskpacks.CallFrom(ctx)
	config := wazero.NewModuleConfig().
		WithName(""). // any number of instances at a time
		WithStartFunctions().
		WithArgs(c.task.module, c.task.short).
		WithEnv("PYTASKS_TASK_ID", task.ID).
		WithEnv("PYTASKS_ATTEMPT", strconv.Itoa(task.Attempt)).
		WithEnv("PYTASKS_NODE", task.Node).
		WithEnv("TMPDIR", "/").
		WithStdin(bytes.NewReader(args)).WithStdout(c.stdout).WithStderr(c.stderr).
		WithFSConfig(wazero.NewFSConfig().(sysfs.FSConfig).WithSysFSMount(files, "/")).
		WithSysWalltime().WithSysNanotime().
		WithNanosleep(func(ns int64) { sleep(ctx, time.Duration(ns)) }).
		WithOsyield(runtime.Gosched).
		WithRandSource(rand.Reader)
	instance, err := h.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, c.memory), c.task.code, config)
	if err != nil {
		return err
	}
	defer instance.Close(context.WithoutCancel(ctx))
	_, err = instance.ExportedFunction("_start").Call(ctx)
	if exit := (*sys.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 0 {
		return nil
	}
	return err
}

// sleep is the module's sleep, and the module's end if ctx ends before: wazero looks at ctx only while the module's own code runs.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		panic(sys.NewExitError(sys.ExitCodeContextCanceled)) // wazero makes it the error of the module's _start
	}
}
