package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"pytasks/node/config"
)

const (
	// lookAtDisk is how often the free space is looked at.
	lookAtDisk = time.Second
	// A node is short of space below its floor, and no longer at so many percent more:
	// at one border alone it would waver with every log entry.
	diskAgain = 110
	// lastReserve is the part of the floor below which a node does not start: it would
	// only die again, in the middle of something.
	lastReserve = 16
)

// disk is the free space where a node's data is. The floor is a reserve for what must go
// on when new tasks are refused: outcomes, requeues, snapshots, changes of membership.
type disk struct {
	dir   string
	floor int64                                    // bytes
	ask   func(dir string) (free int64, err error) // freeSpace, but in a simulation
	log   *slog.Logger

	free atomic.Int64 // at the last look
	low  atomic.Bool
}

// openDisk takes a first look, before anything is written. Too little space to start with
// is an error.
func openDisk(dir string, floor int64, ask func(string) (int64, error), log *slog.Logger) (*disk, error) {
	if ask == nil {
		ask = freeSpace
	}
	d := &disk{dir: dir, floor: floor, ask: ask, log: log}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	d.free.Store(floor) // where nothing can be known, nothing is refused
	d.look()
	if free := d.free.Load(); free < floor/lastReserve {
		return nil, fmt.Errorf("only %s are free in %s: free at least %s, better %s (--min-free-disk), and start the node again",
			config.RoundSize(free), dir, config.RoundSize(floor/lastReserve), config.RoundSize(floor))
	}
	return d, nil
}

// look asks how much is free. An answer that does not come leaves everything as it was.
func (d *disk) look() {
	free, err := d.ask(d.dir)
	if err != nil {
		d.log.Warn("free disk space is unknown", "dir", d.dir, "err", err)
		return
	}
	d.free.Store(free)
	switch low := d.low.Load(); {
	case !low && free < d.floor:
		d.low.Store(true)
		d.log.Warn("disk space is short: while this node votes the cluster takes no new tasks",
			"dir", d.dir, "free", config.RoundSize(free), "min_free_disk", config.RoundSize(d.floor))
	case low && free >= d.floor/100*diskAgain:
		d.low.Store(false)
		d.log.Info("disk space is back", "dir", d.dir, "free", config.RoundSize(free))
	}
}

// watch looks again and again until ctx ends.
func (d *disk) watch(ctx context.Context) {
	tick := time.NewTicker(lookAtDisk)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.look()
		case <-ctx.Done():
			return
		}
	}
}

// check is what readyz says. A node that is short of space stays ready, since it answers
// everything but new tasks, which every other node would refuse as well: it is not ready
// when the next write may be its last.
func (d *disk) check() (ok bool, detail string) {
	free := d.free.Load()
	ok = free >= d.floor/lastReserve
	if !ok || d.low.Load() {
		detail = fmt.Sprintf("only %s are free in %s: free some until %s are (--min-free-disk); new tasks are refused until then",
			config.RoundSize(free), d.dir, config.RoundSize(d.floor/100*diskAgain))
	}
	return ok, detail
}

// freeSpace returns the bytes that this user may still write to the disk of dir.
func freeSpace(dir string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return int64(fs.Bavail) * fs.Bsize, nil
}

// totalSpace returns the size of the disk of dir in bytes, 0 if it is not known.
func totalSpace(dir string) int64 {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0
	}
	return int64(fs.Blocks) * fs.Bsize
}
