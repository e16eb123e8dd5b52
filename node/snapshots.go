package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"pytasks/cluster/blob"
	"pytasks/fsm"
	"pytasks/node/backup"
)

// catchUpTimeout bounds how long a snapshot waits for all that was committed before.
const catchUpTimeout = 10 * time.Second

// snapshots writes the whole cluster, as this node has it, into files; see package backup.
type snapshots struct {
	state   *fsm.State
	blobs   *blobs
	caught  func(context.Context) error // waits until the state shows what was committed before
	cluster func() (id string, term uint64)
	name    string // of this node
	dir     string // for the state, while it is sent
	now     func() time.Time
	log     *slog.Logger

	running sync.Mutex
}

// codedError is an error with a stable code, as the API sends it.
type codedError struct{ code, text string }

func (e *codedError) Error() string { return e.text }
func (e *codedError) Code() string  { return e.code }

var errSnapshotRuns = &codedError{"busy", "this node is writing another snapshot: ask again when that is done, or ask another node"}

// Save writes a snapshot of the cluster to w. It has everything that was committed before the call, as it was at one log index.
//
// The state goes to the disk first, as it is, and from there to w: who reads w slowly does not keep the state's store from going on.
// Its blobs are fetched before the first byte is written, as far as this node lacks them, and stay here until the end.
func (s *snapshots) Save(ctx context.Context, w io.Writer) error {
	_, err := s.save(ctx, w)
	return err
}

// save is Save; it returns the header of what was written.
func (s *snapshots) save(ctx context.Context, w io.Writer) (head backup.Header, err error) {
	if !s.running.TryLock() {
		return head, errSnapshotRuns
	}
	defer s.running.Unlock()
	head.Time = s.now().UTC().Truncate(time.Second)
	caughtCtx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	err = s.caught(caughtCtx)
	cancel()
	if err != nil {
		return head, err
	}
	state, export, err := s.exportState()
	if err != nil {
		return head, err
	}
	defer removeFile(state)
	info, err := state.Stat()
	if err != nil {
		return head, fmt.Errorf("write a snapshot: %w", err)
	}
	release := s.blobs.hold(export.Blobs)
	defer release()
	names, missing, err := s.gather(ctx, export.Blobs)
	if err != nil {
		return head, err
	}
	head.Cluster, head.Term = s.cluster()
	head.Node, head.Release, head.Index = s.name, buildVersion(), export.Index
	head.StateBytes, head.MissingBlobs = info.Size(), len(missing)
	for _, d := range names {
		if !missing[d] {
			head.Blobs++
			head.BlobBytes += export.Blobs[d]
		}
	}
	return head, s.write(ctx, w, head, state, names, missing, export.Blobs)
}

// saveInTurn is save for who waits while another is written.
func (s *snapshots) saveInTurn(ctx context.Context, f *os.File) (backup.Header, error) {
	for {
		head, err := s.save(ctx, f)
		if !errors.Is(err, errSnapshotRuns) {
			return head, err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return head, err
		}
	}
}

// exportState writes the state into a file of its own, and goes to its beginning.
func (s *snapshots) exportState() (*os.File, *fsm.Export, error) {
	if err := s.blobs.room(s.state.Size()); err != nil {
		return nil, nil, &codedError{"disk_full", fmt.Sprintf("this node is short of disk space: a snapshot's state is written to %s before it is sent; free some there, or ask another node", s.dir)}
	}
	f, err := os.CreateTemp(s.dir, "snapshot-")
	if err != nil {
		return nil, nil, fmt.Errorf("write a snapshot: %w", err)
	}
	export, err := s.state.Export(f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = &codedError{"disk_full", "this node ran out of disk space while it wrote a snapshot of its state to " + s.dir}
	}
	if err != nil {
		removeFile(f)
		return nil, nil, err
	}
	return f, export, nil
}

func removeFile(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name()) // the next start clears the folder
}

// gather sees to it that every blob is here, and returns their names in order. Missing are those that no node has.
func (s *snapshots) gather(ctx context.Context, named map[[32]byte]int64) (names []blob.Digest, missing map[blob.Digest]bool, err error) {
	missing = map[blob.Digest]bool{}
	for d, size := range named {
		names = append(names, d)
		if s.blobs.Store.Has(d) {
			continue
		}
		err := s.blobs.fetch(ctx, d, size)
		switch {
		case err == nil:
		case ctx.Err() != nil, errors.Is(err, fsm.ErrDiskFull):
			return nil, nil, err
		default:
			missing[d] = true
			s.log.Warn("no node gives this blob: the snapshot is without it", "blob", d, "bytes", size, "err", err)
		}
	}
	slices.SortFunc(names, func(a, b blob.Digest) int { return bytes.Compare(a[:], b[:]) })
	return names, missing, nil
}

func (s *snapshots) write(ctx context.Context, w io.Writer, head backup.Header, state io.Reader, names []blob.Digest, missing map[blob.Digest]bool, sizes map[[32]byte]int64) error {
	out, err := backup.NewWriter(w, head)
	if err != nil {
		return err
	}
	if err := out.State(state); err != nil {
		return err
	}
	for _, d := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if missing[d] {
			err = out.Missing(d)
		} else {
			err = s.writeBlob(ctx, out, d, sizes[d])
		}
		if err != nil {
			return err
		}
	}
	return out.Close()
}

func (s *snapshots) writeBlob(ctx context.Context, out *backup.Writer, d blob.Digest, size int64) error {
	f, err := s.blobs.Open(ctx, d, size)
	if err != nil {
		return err
	}
	defer f.Close()
	return out.Blob(d, f)
}

// hold keeps blobs from being collected until release is called.
func (b *blobs) hold(named map[[32]byte]int64) (release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = named
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.held = nil
	}
}

// isHeld says whether a snapshot that is being written has a blob in it.
func (b *blobs) isHeld(d blob.Digest) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.held[d]
	return ok
}

func (n *Node) newSnapshots(caught func(context.Context) error) *snapshots {
	return &snapshots{
		state: n.state, blobs: n.blobs, caught: caught, name: n.cfg.Name, dir: filepath.Join(n.cfg.DataDir, "work"),
		now: n.host.now, log: n.log.With("component", "snapshots"),
		cluster: func() (string, uint64) { s := n.cluster.Status(); return s.ClusterID, s.Term },
	}
}
