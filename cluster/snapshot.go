package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

const (
	keepSnapshots = 2
	// A snapshot that failed is tried again after this many ticks of the trigger, then twice as many, and so on: on a
	// full disk each try writes until the disk is full.
	snapshotPause    = 1
	maxSnapshotPause = 64
)

// stores are raft's files.
type stores struct {
	log       *logStore
	snapshots *snapshotStore
}

func openStores(cfg Config, fatal func(error)) (*stores, error) {
	dir := filepath.Join(cfg.Dir, "raft")
	store, err := cfg.OpenLog(dir)
	if err != nil {
		return nil, err
	}
	log := newLogStore(store, dir, cfg.Timing.StoreHang, fatal)
	snapshots, err := openSnapshots(dir, cfg.Logger)
	if err != nil {
		return nil, errors.Join(err, log.close())
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
	wait, pause := 0, snapshotPause // in ticks
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		bytes, entries := log.bytes.Load(), log.entries.Load()
		due := bytes >= max(c.cfg.SnapshotBytes, c.cfg.StateSize()/4) || entries >= c.cfg.SnapshotEntries
		if wait--; wait > 0 || !due && !c.stores.snapshots.wanted.Load() {
			continue
		}
		start := time.Now()
		c.stores.snapshots.wanted.Store(false)
		if err := c.raft.Snapshot().Error(); err != nil {
			c.stores.snapshots.wanted.Store(true)
			wait, pause = pause, min(2*pause, maxSnapshotPause)
			if pause > 4*snapshotPause { // raft has many reasons for "not now"; this one lasts
				c.log.Warn("no snapshot, the log grows; it will be tried again", "err", err)
			}
			continue
		}
		wait, pause = 0, snapshotPause
		log.bytes.Add(-bytes)
		log.entries.Add(-entries)
		c.log.Info("snapshot taken", "bytes_logged", bytes, "entries_logged", entries, "took", time.Since(start))
	}
}
