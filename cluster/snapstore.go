package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

const (
	snapshotTmp  = ".tmp"
	snapshotMeta = "meta.json"
	snapshotSum  = "meta.sum" // CRC-32C of meta.json in hex, put beside it when the snapshot is whole
	snapshotData = "state.bin"
)

// snapshotStore puts two things around raft's snapshots in files. What a failed snapshot leaves is removed, which raft
// forgets just when the disk is full. And damage is noticed: meta.json, which holds the members, has no checksum of its
// own, and a damaged snapshot that is not needed here would be found only by a newcomer, again and again.
type snapshotStore struct {
	*raft.FileSnapshotStore
	dir string
	log *slog.Logger

	damaged sync.Map    // ids of snapshots whose data cannot be read
	started bool        // raft runs; set before it starts
	wanted  atomic.Bool // a new snapshot should take the place of a damaged one
}

func openSnapshots(dir string, log *slog.Logger) (*snapshotStore, error) {
	files, err := raft.NewFileSnapshotStoreWithLogger(dir, keepSnapshots, newRaftLog(log))
	if err != nil {
		return nil, fmt.Errorf("open snapshots in %s: %w", dir, err)
	}
	s := &snapshotStore{FileSnapshotStore: files, dir: filepath.Join(dir, "snapshots"), log: log}
	s.sweep("")
	return s, nil
}

// sweep removes unfinished snapshots whose names begin with prefix.
func (s *snapshotStore) sweep(prefix string) {
	entries, _ := os.ReadDir(s.dir) // without it there is nothing to remove
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !strings.HasSuffix(e.Name(), snapshotTmp) {
			continue
		}
		dir := filepath.Join(s.dir, e.Name())
		// raft may still hold the file open: its space comes back only when it is cut off
		_ = os.Truncate(filepath.Join(dir, snapshotData), 0)
		if err := os.RemoveAll(dir); err != nil {
			s.log.Warn("cannot remove an unfinished snapshot", "dir", dir, "err", err)
		}
	}
}

// Create begins a snapshot.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64,
	trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.FileSnapshotStore.Create(version, index, term, conf, confIndex, trans)
	if err != nil {
		s.sweep(fmt.Sprintf("%d-%d-", term, index))
		return nil, err
	}
	return &snapshotSink{sink, s}, nil
}

// snapshotSink is a snapshot being written.
type snapshotSink struct {
	raft.SnapshotSink
	store *snapshotStore
}

// Close makes the snapshot one that counts.
func (s *snapshotSink) Close() error {
	if err := s.SnapshotSink.Close(); err != nil {
		s.store.sweep(s.ID())
		return err
	}
	dir := filepath.Join(s.store.dir, s.ID())
	raw, err := os.ReadFile(filepath.Join(dir, snapshotMeta))
	if err == nil {
		err = writeSynced(filepath.Join(dir, snapshotSum), metaSum(raw))
	}
	if err != nil {
		s.store.log.Warn("a snapshot has no checksum of its meta.json", "id", s.ID(), "err", err)
	}
	return nil
}

// Cancel gives the snapshot up.
func (s *snapshotSink) Cancel() error {
	err := s.SnapshotSink.Cancel()
	s.store.sweep(s.ID())
	return err
}

func metaSum(raw []byte) []byte {
	return fmt.Appendf(nil, "%08x", crc32.Checksum(raw, crc32.MakeTable(crc32.Castagnoli)))
}

// List returns the snapshots that are not known to be damaged, the newest first. Once raft runs those older than a damaged
// one are no good: the log does not reach back to them, and a newcomer would be sent them again and again.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	list, err := s.FileSnapshotStore.List()
	if err != nil {
		return nil, err
	}
	whole := list[:0]
	for _, m := range list {
		if _, damaged := s.damaged.Load(m.ID); damaged && s.started {
			break
		} else if !damaged && s.check(m.ID) == nil {
			whole = append(whole, m)
		}
	}
	return whole, nil
}

// check looks whether the meta.json of a snapshot is what was written.
func (s *snapshotStore) check(id string) error {
	path := filepath.Join(s.dir, id, snapshotMeta)
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var meta struct {
		ID          string
		Index, Term uint64
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if meta.ID != id || !strings.HasPrefix(id, fmt.Sprintf("%d-%d-", meta.Term, meta.Index)) {
		return fmt.Errorf("%s is not that of this snapshot", path)
	}
	sum, err := os.ReadFile(filepath.Join(s.dir, id, snapshotSum))
	if want := metaSum(raw); err == nil && len(sum) == len(want) && string(sum) != string(want) {
		return fmt.Errorf("%s does not match its checksum", path)
	}
	return nil // one without a checksum was finished in the moment of a crash
}

// Open returns a snapshot's data, verified. One that is damaged is not listed again, and a new one is taken.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if err := s.check(id); err != nil {
		return nil, nil, s.noteDamage(id, err)
	}
	meta, data, err := s.FileSnapshotStore.Open(id)
	if err == nil {
		return meta, data, nil
	}
	if err.Error() == "CRC mismatch" || errors.Is(err, fs.ErrNotExist) { // the first is no sentinel of raft's
		err = s.noteDamage(id, fmt.Errorf("%s: %w", filepath.Join(s.dir, id, snapshotData), err))
	}
	return nil, nil, err
}

func (s *snapshotStore) noteDamage(id string, err error) error {
	s.damaged.Store(id, true)
	s.wanted.Store(true)
	if s.started {
		s.log.Error("a snapshot is damaged, another will be taken", "id", id, "err", err)
	}
	return fmt.Errorf("the snapshot is damaged: %w", err)
}

// settle finds the newest snapshot from which this node can start when its own state has applied so much, and whose
// data are whole if they are needed. It returns its index, 0 if there is none, and the damage that it met.
func (s *snapshotStore) settle(applied uint64) (index uint64, damage error, err error) {
	_, damage = s.damagedMetas()
	for {
		list, err := s.List()
		if err != nil {
			return 0, nil, fmt.Errorf("list snapshots: %w", err)
		}
		if len(list) == 0 {
			return 0, damage, nil
		}
		if applied >= list[0].Index {
			return list[0].Index, damage, nil
		}
		_, data, err := s.Open(list[0].ID)
		if err == nil {
			return list[0].Index, damage, data.Close()
		}
		if _, known := s.damaged.Load(list[0].ID); !known {
			return 0, nil, fmt.Errorf("open snapshot %s: %w", list[0].ID, err)
		}
		damage = errors.Join(damage, err)
	}
}

// damagedMetas returns what is wrong with the meta.json of snapshots, and their ids.
func (s *snapshotStore) damagedMetas() (ids []string, damage error) {
	entries, damage := os.ReadDir(s.dir)
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), snapshotTmp) {
			continue
		}
		if err := s.check(e.Name()); err != nil {
			ids, damage = append(ids, e.Name()), errors.Join(damage, err)
		}
	}
	return ids, damage
}

// discardDamaged removes the damaged snapshots before raft starts, once it is clear that this node can do without: raft
// may take them for the newest, and would remove whole ones for them.
func (s *snapshotStore) discardDamaged() {
	ids, _ := s.damagedMetas()
	s.damaged.Range(func(id, _ any) bool {
		ids = append(ids, id.(string))
		return true
	})
	for _, id := range ids {
		s.log.Error("a damaged snapshot is discarded: it is not needed, another will be taken", "id", id)
		if err := os.RemoveAll(filepath.Join(s.dir, id)); err != nil {
			s.log.Warn("cannot remove a damaged snapshot", "id", id, "err", err)
		}
		s.damaged.Delete(id)
		s.wanted.Store(true)
	}
}
