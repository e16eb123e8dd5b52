package datadir

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"pytasks/cluster"
	"pytasks/cluster/blob"
	"pytasks/fsm"
	"pytasks/node/backup"
)

// RestoringFile is in a data directory as long as a snapshot is restored into it: a node does not start there.
const RestoringFile = "restoring"

// Inspected is what is in the file of a snapshot.
type Inspected struct {
	backup.Header
	State *fsm.Summary
	Size  int64 // of the file
}

// Inspect reads the whole file of a snapshot, and verifies it.
func Inspect(r io.Reader) (*Inspected, error) {
	in, err := backup.NewReader(r)
	if err != nil {
		return nil, err
	}
	out := &Inspected{Header: in.Header()}
	for {
		record, err := in.Next()
		if errors.Is(err, io.EOF) {
			out.Size = in.Offset()
			return out, sameIndex(out.Index, out.State.Index)
		}
		if err == nil && record.Kind == backup.KindState {
			out.State, err = fsm.Summarize(in)
		}
		if err != nil {
			return nil, err
		}
	}
}

// sameIndex holds what a file says of its state against the state.
func sameIndex(head, state uint64) error {
	if head != state {
		return fmt.Errorf("%w: its header is of log index %d, and its state of %d", backup.ErrDamaged, head, state)
	}
	return nil
}

// restored is what a Restore has made.
type restored struct {
	Dir     string
	Cluster string // id of the new cluster
	Node    string // id of its first node
	Rehomed *fsm.Rehomed
	State   *fsm.Summary
	backup.Header
}

// Restore makes an empty data directory that of the first node of a new cluster, which has what is in the file of a snapshot. Where
// it fails the directory is empty again.
func Restore(r io.Reader, dir string, log *slog.Logger) (out *restored, err error) {
	in, err := backup.NewReader(r)
	if err != nil {
		return nil, err
	}
	made := ""
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		made = dir
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	inside, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the data directory: %w", err)
	}
	if len(inside) > 0 {
		return nil, fmt.Errorf("%s is not empty: a snapshot is restored into an empty data directory, and becomes a cluster of its own; move what is there away, or name another --data-dir", dir)
	}
	if err := keepPrivate(dir); err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		err = errors.Join(err, clearInside(dir))
		if made != "" {
			_ = os.Remove(made)
		}
	}()
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := WriteDurably(filepath.Join(dir, RestoringFile), nil); err != nil {
		return nil, fmt.Errorf("write into the data directory: %w", err)
	}
	b := &restoring{in: in, d: &Dir{Path: dir, identity: identity{ID: uuid.NewString()}}, log: log}
	return b.run()
}

// restoring is a Restore under way.
type restoring struct {
	in    *backup.Reader
	d     *Dir
	log   *slog.Logger
	state *fsm.State
	blobs *blob.Store
}

func (b *restoring) run() (out *restored, err error) {
	dirs := map[string]string{}
	for _, name := range []string{"state", "blobs", "cluster"} {
		if dirs[name], err = b.d.Sub(name); err != nil {
			return nil, err
		}
	}
	if b.blobs, err = blob.Open(dirs["blobs"]); err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	b.state, err = fsm.Open(fsm.Config{Dir: dirs["state"], Logger: b.log, Fatal: func(err error) {
		select {
		case failed <- err:
		default:
		}
	}})
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, b.state.Close())
		select {
		case broken := <-failed:
			err = errors.Join(err, broken)
		default:
		}
	}()
	if err := b.records(); err != nil {
		return nil, err
	}
	out = &restored{Dir: b.d.Path, Node: b.d.ID, Header: b.in.Header()}
	if err := sameIndex(out.Index, b.state.Applied()); err != nil {
		return nil, err
	}
	if out.Rehomed, err = b.state.Rehome(); err != nil {
		return nil, err
	}
	write := func(w io.Writer) error { return b.state.WriteSnapshot(w) }
	out.Cluster, err = cluster.Seed(dirs["cluster"], b.d.ID, out.Header.Cluster, out.Rehomed.Index, max(out.Header.Term, 1), write, b.log)
	if err != nil {
		return nil, err
	}
	if out.State, err = summaryOf(b.state); err != nil {
		return nil, err
	}
	// The identity comes last, and its first start is the first.
	if err := b.d.write(); err != nil {
		return nil, err
	}
	return out, removeDurably(filepath.Join(b.d.Path, RestoringFile))
}

// records brings state and blobs into the data directory.
func (b *restoring) records() error {
	for {
		record, err := b.in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch record.Kind {
		case backup.KindState:
			err = b.state.Restore(b.in)
		case backup.KindBlob:
			_, _, err = b.blobs.Put(b.in, b.in.Header().BlobBytes) // the reader verifies its name
		}
		if err != nil {
			return err
		}
	}
}

// summaryOf returns what is in a state.
func summaryOf(s *fsm.State) (*fsm.Summary, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.WriteSnapshot(w)) }()
	sum, err := fsm.Summarize(r)
	r.CloseWithError(errors.New("not read any further"))
	return sum, err
}

// clearInside removes everything that is in a directory.
func clearInside(dir string) error {
	inside, err := os.ReadDir(dir)
	for _, e := range inside {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	if err != nil {
		return fmt.Errorf("clear %s: %w", dir, err)
	}
	return nil
}

// removeDurably removes a file, for good when it returns.
func removeDurably(file string) error {
	if err := os.Remove(file); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(file))
}
