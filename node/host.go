package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"pytasks/cluster"
	"pytasks/node/client"
	"pytasks/node/config"
)

// host is what a node takes from the machine that it runs on. A simulation hands in
// another one.
type host struct {
	now     func() time.Time                           // the wall clock
	listen  func(addr string) (net.Listener, error)    // for HTTP
	network cluster.Network                            // its zero value: TCP and UDP
	openLog func(dir string) (cluster.LogStore, error) // nil: a file
	free    func(dir string) (int64, error)            // disk space; nil: the file system's
	bootID  func() []byte                              // nil: the kernel's
	watch   func(ctx context.Context, n *Node)         // looks after memory, and tells how busy the machine is
	tune    func(*cluster.Config)                      // changes what is not for operators; nil: nothing
	logs    io.Writer
	makers  makers                // of passwords and keys
	show    func(password string) // of the first user, to who sits there; nil: nobody does
	tokens  string                // folder in which a token is left for command lines here; "" = none is
}

// thisMachine is the machine that the process runs on.
func thisMachine() host {
	h := host{
		now:    time.Now,
		listen: func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) },
		watch:  watchMachine,
		logs:   os.Stderr,
		makers: realMakers(),
		tokens: client.LocalTokenDir(os.Getenv),
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		h.show = func(password string) {
			fmt.Fprintf(os.Stderr, "The password of the user %s is %s. It is not shown again.\n", config.FirstUser, password)
		}
	}
	return h
}

// watchMachine runs until ctx ends.
func watchMachine(ctx context.Context, n *Node) {
	var wg sync.WaitGroup
	wg.Go(func() { watchPressure(ctx, n.cluster.SetLoad) })
	wg.Go(func() { n.watchMemory(ctx) })
	wg.Wait()
}

// sleep waits for d or the end of ctx, whose cause it returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
