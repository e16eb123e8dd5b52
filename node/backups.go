package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/node/backup"
	"pytasks/node/config"
	"pytasks/node/datadir"
)

const (
	// backupAgain is how soon a backup that failed is tried again, at first: each failure in a row doubles it, up to --backup-every.
	backupAgain = time.Minute
	backupEnd   = ".snapshot"
	backupTime  = "20060102T150405Z" // in names of files, UTC
)

// backups writes a snapshot of the cluster into a folder now and then, and keeps the newest ones. A node does that if it was told to,
// whether it leads or not: so backups are where somebody wants them, and stay there when the leader changes.
type backups struct {
	every time.Duration
	keep  int
	dir   string
	name  string // of this node; files begin with it, so that nodes may share a folder
	floor int64  // bytes that are kept free on the disk
	free  func(dir string) (int64, error)
	need  func() int64 // about how large the next one may become, in bytes
	save  func(ctx context.Context, file *os.File) (backup.Header, error)
	now   func() time.Time
	log   *slog.Logger

	last, took, size prometheus.Gauge
	failures         prometheus.Counter
}

// newBackups opens the folder of a node's backups, nil if it makes none.
func (n *Node) newBackups() (*backups, error) {
	cfg := &n.cfg
	if cfg.BackupEvery == 0 {
		return nil, nil
	}
	b := &backups{
		every: cfg.BackupEvery, keep: cfg.BackupKeep, dir: cfg.BackupDir, name: cfg.Name, floor: cfg.MinFreeDisk, free: n.host.free,
		now: n.host.now, log: n.log.With("component", "backups"),
		need: func() int64 { return n.state.Size() + n.blobs.bytes.Load() },
		save: n.saver.saveInTurn,
	}
	if b.dir == "" {
		b.dir = filepath.Join(cfg.DataDir, "backups")
	}
	if b.free == nil {
		b.free = freeSpace
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	b.last = gauge("pytasks_backup_last_success_timestamp_seconds", "When this node last finished a backup of the cluster, 0 = never. Shown by nodes with --backup-every.")
	b.took = gauge("pytasks_backup_duration_seconds", "How long the last backup took that this node finished.")
	b.size = gauge("pytasks_backup_bytes", "Size of the last backup that this node finished.")
	b.failures = prometheus.NewCounter(prometheus.CounterOpts{Name: "pytasks_backup_failures_total", Help: "Backups that this node could not write."})
	return b, b.open()
}

// open makes the folder, and removes what an earlier start of this node left unfinished there.
func (b *backups) open() error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return fmt.Errorf("--backup-dir: %w: name a folder that the node may write to", err)
	}
	parts, err := filepath.Glob(filepath.Join(b.dir, b.name+"-*"+backupEnd+".part"))
	for _, part := range parts {
		if b.isOwn(strings.TrimSuffix(filepath.Base(part), ".part")) {
			err = errors.Join(err, os.Remove(part))
		}
	}
	list, listErr := b.list()
	if err = errors.Join(err, listErr); err != nil {
		return fmt.Errorf("--backup-dir: %w", err)
	}
	if len(list) > 0 {
		b.last.Set(float64(list[len(list)-1].at.Unix()))
	}
	return nil
}

// register adds the metrics.
func (b *backups) register(r prometheus.Registerer) {
	r.MustRegister(b.last, b.took, b.size, b.failures)
}

// backupFile is a finished backup.
type backupFile struct {
	path string
	at   time.Time
}

// isOwn says whether a file of that name is a backup of this node's.
func (b *backups) isOwn(name string) bool {
	_, ok := b.timeOf(name)
	return ok
}

func (b *backups) timeOf(name string) (time.Time, bool) {
	text, ok := strings.CutPrefix(name, b.name+"-")
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(backupTime+backupEnd, text)
	return at, err == nil
}

// list returns this node's backups, the oldest first.
func (b *backups) list() (list []backupFile, err error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if at, ok := b.timeOf(e.Name()); ok && e.Type().IsRegular() {
			list = append(list, backupFile{filepath.Join(b.dir, e.Name()), at})
		}
	}
	slices.SortFunc(list, func(x, y backupFile) int { return x.at.Compare(y.at) })
	return list, nil
}

// Run makes backups until ctx ends. The first is due when the newest that is there is old enough: restarts do not make more of them.
// ready says whether the node is in a cluster; before that there is nothing to save.
func (b *backups) Run(ctx context.Context, ready func() bool) {
	again := backupAgain
	wait := b.first()
	for {
		if sleep(ctx, wait) != nil {
			return
		}
		if !ready() {
			wait = time.Second
			continue
		}
		if err := b.once(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			wait = min(again, b.every)
			again = min(2*again, b.every)
			b.failures.Inc()
			b.log.Error("no backup was written", "again", wait, "err", err)
			continue
		}
		wait, again = b.every, backupAgain
	}
}

// first returns how long it takes until a backup is due.
func (b *backups) first() time.Duration {
	list, err := b.list()
	if err != nil || len(list) == 0 {
		return 0
	}
	age := b.now().Sub(list[len(list)-1].at)
	return max(0, b.every-max(0, age)) // one from the future is as good as new
}

// once writes one backup and removes those that are too old then.
func (b *backups) once(ctx context.Context) error {
	if err := b.room(); err != nil {
		return err
	}
	start := b.now()
	path := filepath.Join(b.dir, b.name+"-"+start.UTC().Format(backupTime)+backupEnd)
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write into --backup-dir: %w", err)
	}
	head, err := b.save(ctx, f)
	size := int64(0)
	if info, statErr := f.Stat(); statErr == nil {
		size = info.Size()
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err == nil {
		err = datadir.SyncDir(b.dir)
	}
	if err != nil {
		if removeErr := os.Remove(part); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
		return fmt.Errorf("write %s: %w", path, err)
	}
	took := b.now().Sub(start)
	b.last.Set(float64(b.now().Unix()))
	b.took.Set(took.Seconds())
	b.size.Set(float64(size))
	b.log.Info("backup written", "file", path, "index", head.Index, "bytes", size, "took", took, "missing_blobs", head.MissingBlobs)
	b.retire()
	return nil
}

// room says what is to be done where the disk has no room for another backup.
func (b *backups) room() error {
	free, err := b.free(b.dir)
	if err != nil {
		return err
	}
	if need := b.need(); free-need < b.floor {
		return fmt.Errorf("a backup may take %s, and of the %s that are free in %s %s are to stay free (--min-free-disk): free some, keep fewer backups (--backup-keep) or name a folder on another disk (--backup-dir)",
			config.RoundSize(need), config.RoundSize(free), b.dir, config.RoundSize(b.floor))
	}
	return nil
}

// retire removes all backups of this node but the newest.
func (b *backups) retire() {
	list, err := b.list()
	for err == nil && len(list) > b.keep {
		err = os.Remove(list[0].path)
		list = list[1:]
	}
	if err != nil {
		b.log.Warn("an old backup is not removed", "err", err)
	}
}
