package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
)

const keepSnapshots = 2

// stores are raft's files.
type stores struct {
	log       *logStore
	snapshots *raft.FileSnapshotStore
}

func openStores(cfg Config, fatal func(error)) (*stores, error) {
	dir := filepath.Join(cfg.Dir, "raft")
	log, err := openLogStore(dir, cfg.Timing.StoreHang, fatal)
	if err != nil {
		return nil, err
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, keepSnapshots, newRaftLog(cfg.Logger))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open snapshots in %s: %w", dir, err), log.close())
	}
	return &stores{log, snapshots}, nil
}

func (s *stores) close() error { return s.log.close() }

// span returns the first and last index of the log.
func (s *stores) span() (first, last uint64, err error) {
	if first, err = s.log.FirstIndex(); err != nil {
		return 0, 0, fmt.Errorf("read raft log: %w", err)
	}
	if last, err = s.log.LastIndex(); err != nil {
		return 0, 0, fmt.Errorf("read raft log: %w", err)
	}
	return first, last, nil
}

// newestSnapshot returns the index of the newest snapshot, 0 if there is none.
func (s *stores) newestSnapshot() (uint64, error) {
	list, err := s.snapshots.List()
	if err != nil {
		return 0, fmt.Errorf("list snapshots: %w", err)
	}
	if len(list) == 0 {
		return 0, nil
	}
	return list[0].Index, nil
}

// snapshots takes a snapshot whenever enough was appended since the last. Raft's own trigger counts entries alone,
// which for large entries means gigabytes of log, and for small ones a snapshot of everything every few seconds.
func (c *Cluster) snapshots(ctx context.Context) {
	log := c.stores.log
	if first, last, err := c.stores.span(); err == nil && last > 0 {
		newest, _ := c.stores.newestSnapshot()
		log.entries.Store(int64(last - min(last, max(newest, first))))
	}
	ticker := time.NewTicker(c.cfg.Timing.SnapshotCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		bytes, entries := log.bytes.Load(), log.entries.Load()
		if bytes < max(c.cfg.SnapshotBytes, c.cfg.StateSize()/4) && entries < c.cfg.SnapshotEntries {
			continue
		}
		start := time.Now()
		if err := c.raft.Snapshot().Error(); err != nil {
			c.log.Debug("no snapshot now", "err", err) // the next tick tries again
			continue
		}
		log.bytes.Add(-bytes)
		log.entries.Add(-entries)
		c.log.Info("snapshot taken", "bytes_logged", bytes, "entries_logged", entries, "took", time.Since(start))
	}
}
