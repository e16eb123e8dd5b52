package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// scratchPrefix begins the names of the folders that a Host makes, and removes.
const scratchPrefix = "run-"

// ErrClosed is returned for calls of a Host or Pool that is closed, or was while they ran.
var ErrClosed = errors.New("the node runs no more of this code: it is stopping, or the pack was replaced")

// Config says how a Host runs processes.
type Config struct {
	Dir       string        // scratch, made if absent: each call gets a fresh folder below it, removed afterwards
	Env       []string      // added to the clean environment of every process, "KEY=value"
	Start     time.Duration // a worker must be ready after so long; 0 = 60 s
	Idle      time.Duration // a warm worker that was not used for so long ends; 0 = 60 s
	MaxCalls  int           // a worker is replaced after so many calls; 0 = 1000
	MaxRSS    int64         // a worker that keeps more bytes after a call is replaced, on Linux; 0 = never
	MaxMemory int64         // a call whose processes take more bytes together is ended, on Linux; 0 = no limit; see MemoryBound
	MaxResult int64         // bytes of a result; 0 = 1 MiB

	// When a call's ctx ends, its process gets SIGINT, Soft later its process group SIGTERM, Term later SIGKILL; 0 = 2 s each.
	Soft, Term time.Duration

	Logger *slog.Logger // nil = slog.Default()
}

func (c *Config) fill() {
	c.Start = cmp.Or(c.Start, time.Minute)
	c.Idle = cmp.Or(c.Idle, time.Minute)
	c.MaxCalls = cmp.Or(c.MaxCalls, 1000)
	c.MaxResult = cmp.Or(c.MaxResult, 1<<20)
	c.Soft = cmp.Or(c.Soft, 2*time.Second)
	c.Term = cmp.Or(c.Term, 2*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

func (c *Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("process: Config.Dir is empty: name a folder for the files of running tasks")
	case c.Start < 0 || c.Idle < 0 || c.Soft < 0 || c.Term < 0:
		return errors.New("process: a time of the Config is negative: use 0 for its default")
	case c.MaxCalls < 0 || c.MaxRSS < 0 || c.MaxMemory < 0 || c.MaxResult < 0:
		return errors.New("process: a limit of the Config is negative: use 0 for its default")
	}
	for _, kv := range c.Env {
		if key, _, ok := strings.Cut(kv, "="); !ok || key == "" {
			return fmt.Errorf("process: environment %q: use KEY=value", kv)
		}
	}
	return nil
}

// Host is where and how a node runs code in other processes. One per node, shared by its packs; safe for concurrent use.
type Host struct {
	cfg     Config
	log     *slog.Logger
	starter *starter
	null    *os.File // /dev/null
	forks   *os.File // for lastPID
	folders atomic.Uint64

	cgroups   *cgroups // that bound memory; nil without a limit, and where the node may not
	noCgroups error    // why it may not
	watch     *watch   // of memory; nil without a limit, and with cgroups

	mu     sync.Mutex
	closed bool                // guarded by mu
	groups map[*group]struct{} // those that may be alive; guarded by mu
	pools  map[*Pool]struct{}  // guarded by mu
	wg     sync.WaitGroup      // calls, and whatever runs for a group; added to under mu while not closed
}

// New returns a Host. It ends processes that a Host before it has left running, if its node was killed, and removes the folders
// that it has left in cfg.Dir: two Hosts must not share one. With a limit of memory, and where it may, it moves this process to a
// cgroup below its own.
func New(cfg Config) (*Host, error) { return open(cfg, "/proc") }

// open is New, for a system that tells of its processes in the folder proc.
func open(cfg Config, proc string) (*Host, error) {
	cfg.fill()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("process: scratch folder: %w", err)
	}
	cfg.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("process: make scratch folder: %w", err)
	}
	killLeft(dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("process: clear scratch folder: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), scratchPrefix) {
			continue
		}
		if err := removeAll(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("process: clear scratch folder: %w", err)
		}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	h := &Host{
		cfg: cfg, log: cfg.Logger.With("component", "process"), null: null, forks: openForks(),
		groups: map[*group]struct{}{}, pools: map[*Pool]struct{}{}, starter: newStarter(),
	}
	h.bound(proc)
	return h, nil
}

// Close ends all pools, kills what runs and returns when no process is left. Calls that were running return ErrClosed.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		h.wg.Wait()
		return nil
	}
	h.closed = true
	var pools []*Pool
	for p := range h.pools {
		pools = append(pools, p)
	}
	groups := slices.Collect(maps.Keys(h.groups))
	h.mu.Unlock()

	for _, g := range groups {
		g.kill()
	}
	for _, p := range pools {
		p.Close()
	}
	h.wg.Wait()
	h.starter.close() // not before: the kernel kills what this thread has started when it ends
	if h.watch != nil {
		h.watch.close()
	}
	h.forks.Close()
	return h.null.Close()
}

// enter notes that something begins which Close waits for; h.wg.Done is its end.
func (h *Host) enter() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	h.wg.Add(1)
	return nil
}

func (h *Host) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// stopped is the error of a call whose code was stopped because ctx ended, with what the code said of that.
func stopped(ctx context.Context, said error) error {
	if said != nil {
		return fmt.Errorf("the code was stopped: %w: %w", ctx.Err(), said)
	}
	return fmt.Errorf("the code was stopped: %w", ctx.Err())
}
