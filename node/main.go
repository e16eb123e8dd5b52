package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"pytasks/node/cli"
	"pytasks/node/config"
	"pytasks/taskpacks"
)

// gcPercent is how much a node's heap may grow before it is collected, in percent of
// what lives. A node's heap is small, some 20 MB, and much of its garbage short-lived:
// measured against Go's 100, batches run a fifth faster at 20 MB more.
const gcPercent = 200

// memoryLimit is how large the heap may grow, in bytes, before it is collected more often
// than that: large requests leave copies of themselves behind on every part of their way.
// It is no hard limit. Funcs that keep much in memory want a larger one: GOMEMLIMIT.
const memoryLimit = 256 << 20

// version is written by the linker: -X pytasks/node.version=v1.2.3.
var version = devel

// devel is the version of a build that was given none.
const devel = "devel"

// Main is the program: a command line whose nodes run the given packs. It does not
// return. The first SIGINT or SIGTERM stops what runs in good order, the second at once.
func Main(packs ...taskpacks.Pack) {
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		stop(fmt.Errorf("stopped by a signal: %s", <-signals))
		fmt.Fprintf(os.Stderr, "pytasks: %s again: stopping at once\n", <-signals)
		os.Exit(cli.ExitFailed)
	}()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	open := func(ctx context.Context, cfg config.Config) (cli.Node, error) {
		n, err := New(ctx, cfg, packs...)
		if err != nil {
			return nil, err
		}
		if err := n.ShowLibraries(); err != nil { // this process has no other node
			return nil, errors.Join(err, n.Close())
		}
		return n, nil
	}
	os.Exit(cli.Program{Version: buildVersion(), Open: open}.Execute(ctx, os.Args[1:]))
}

// buildVersion is the version that was built: the linker's, else the module's.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if version == devel && ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return version
}
