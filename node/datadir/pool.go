package datadir

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"pytasks/node/config"
)

// maxPool is how many nodes may share a pool of data directories.
const maxPool = 1000

// Claim opens the first data directory of cfg.DataPool that no other node uses, and gives
// the node its path and name. Without a pool it returns nil.
//
// So nodes that were all told the same keep apart, and a node that starts anew, wherever
// and under whatever host name, goes on as one that was there before: its identity is in the
// directory. Locks, which end with their process, say what is in use.
func Claim(cfg *config.Config) (*Dir, error) {
	if cfg.DataPool == "" {
		return nil, nil
	}
	for i := 1; i <= maxPool; i++ {
		name := cfg.Name + "-" + strconv.Itoa(i)
		dir, err := Open(filepath.Join(cfg.DataPool, name))
		if errors.Is(err, ErrUsed) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("--data-pool: %w", err)
		}
		cfg.DataDir, cfg.Name = dir.Path, name
		return dir, nil
	}
	return nil, fmt.Errorf("--data-pool %s: its %d data directories are all used: give this node another --name or pool", cfg.DataPool, maxPool)
}
