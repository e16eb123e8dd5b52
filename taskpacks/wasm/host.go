package wasm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// scratchPrefix begins the names of the folders that a Host makes, and removes.
const scratchPrefix = "wasm-"

// pageSize is the unit of a module's memory, in bytes.
const pageSize = 64 << 10

// maxMemory is what a module can address, in bytes.
const maxMemory = 4 << 30

// ErrClosed is returned for calls of a Host or Pack that is closed, or was while they ran.
var ErrClosed = errors.New("the node runs no more of this code: it is stopping, or the pack was replaced")

// Config says how a Host runs modules.
type Config struct {
	Dir       string       // scratch, made if absent: each call gets a fresh folder below it, removed afterwards
	Cache     string       // folder of compiled code, made if absent, emptied if damaged; "" = compile anew at each start
	MaxMemory int64        // bytes of memory that a module may have, at least 64 KiB; more than 4 GiB count as 4 GiB; 0 = 256 MiB
	MaxResult int64        // bytes of a result; 0 = 1 MiB
	Logger    *slog.Logger // nil = slog.Default()
}

func (c *Config) fill() {
	c.MaxMemory = min(cmp.Or(c.MaxMemory, 256<<20), maxMemory)
	c.MaxResult = cmp.Or(c.MaxResult, 1<<20)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

func (c *Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("wasm: Config.Dir is empty: name a folder for the files of running tasks")
	case c.MaxMemory < pageSize:
		return fmt.Errorf("wasm: Config.MaxMemory is %d bytes: use %d or more, or 0 for 256 MiB", c.MaxMemory, pageSize)
	case c.MaxResult < 0:
		return errors.New("wasm: Config.MaxResult is negative: use 0 for 1 MiB")
	}
	return nil
}

// Host is where a node runs modules. One per node, shared by its packs; safe for concurrent use.
type Host struct {
	cfg     Config
	log     *slog.Logger
	runtime wazero.Runtime
	cache   *cache
	wasi    map[string]bool // names of the functions that a module may import

	compiling sync.Mutex // one module at a time

	mu      sync.Mutex
	closed  bool               // guarded by mu
	calls   map[*call]struct{} // those that run; guarded by mu
	folders []string           // empty ones for the next calls; guarded by mu
	wg      sync.WaitGroup     // of calls; added to under mu while not closed
}

// New returns a Host. It removes the folders that a Host before it has left in cfg.Dir: two Hosts must not share one, nor a cache.
func New(cfg Config) (*Host, error) {
	cfg.fill()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := clearScratch(cfg.Dir); err != nil {
		return nil, fmt.Errorf("wasm: clear scratch folder: %w", err)
	}
	h := &Host{
		cfg: cfg, log: cfg.Logger.With("component", "wasm"),
		wasi: map[string]bool{}, calls: map[*call]struct{}{},
	}
	h.cache = openCache(cfg.Cache, h.log)

	// The limit of memory is not set here: calls have their own, and want to know whether it was met.
	ctx := context.Background()
	h.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().
		WithCompilationCache(h.cache.code).WithCloseOnContextDone(true))
	system, err := wasi_snapshot_preview1.NewBuilder(h.runtime).Compile(ctx)
	if err == nil {
		_, err = h.runtime.InstantiateModule(ctx, system, wazero.NewModuleConfig())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("wasm: %w", err), h.Close())
	}
	for name := range system.ExportedFunctions() {
		h.wasi[name] = true
	}
	return h, nil
}

func clearScratch(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), scratchPrefix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Close stops the calls that run, which return ErrClosed, and frees the compiled code when the last one is gone. Close is safe
// twice.
func (h *Host) Close() error {
	h.mu.Lock()
	already := h.closed
	h.closed = true
	for c := range h.calls {
		c.stop(ErrClosed)
	}
	h.mu.Unlock()
	h.wg.Wait()
	if already {
		return nil
	}
	for _, dir := range h.folders { // no call is left that could change them
		h.remove(dir)
	}
	ctx := context.Background()
	return errors.Join(h.runtime.Close(ctx), h.cache.code.Close(ctx))
}

// begin notes a call, for Close to wait for; end is its end.
func (h *Host) begin(c *call) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	h.calls[c] = struct{}{}
	h.wg.Add(1)
	return nil
}

func (h *Host) end(c *call) {
	h.mu.Lock()
	delete(h.calls, c)
	h.mu.Unlock()
	h.wg.Done()
}

// compile returns the machine code of a module, from the cache if it is there.
func (h *Host) compile(ctx context.Context, module []byte) (wazero.CompiledModule, error) {
	h.compiling.Lock()
	defer h.compiling.Unlock()
	code, err := h.runtime.CompileModule(ctx, module)
	if err != nil {
		// A full disk is no reason against the module: what could not be written there is found in memory now.
		code, err = h.runtime.CompileModule(ctx, module)
	}
	if err == nil {
		h.cache.seal()
	}
	return code, err
}
