package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"pytasks/fsm"
	"pytasks/node/failpoint"
)

const (
	// maxInline is the largest arguments, or result, that go through the log, in bytes. What is
	// larger is stored, spread to a majority and named there.
	maxInline = 64 << 10
	// maxSubmit bounds what of one request goes through the log, in bytes: its tasks travel
	// between nodes, and through the log, in one piece, which may have 32 MiB with all that
	// belongs to it.
	maxSubmit = 24 << 20
	// Requests of at most so many tasks and bytes of arguments are surely below that: what
	// else a task has is 4 KiB at most.
	surelyTasks, surelyBytes = 1000, 16 << 20
	// storing is how many arguments of one request are stored and spread at once.
	storing = 4
	// resultAgain is how soon a result that did not reach a majority is spread again.
	resultAgain = time.Second
)

// tooMuchInline refuses a batch.
type tooMuchInline struct{ bytes int }

func (e *tooMuchInline) Code() string { return "too_large" }

func (e *tooMuchInline) Error() string {
	return fmt.Sprintf("the tasks of the batch are %d bytes long together, without arguments of more than %d KiB; the limit is %d MiB: send it in parts",
		e.bytes, maxInline>>10, maxSubmit>>20)
}

// Submit queues tasks, all or none. Arguments that are too large for the log are on the disks of
// a majority before; if they cannot be, nothing is queued.
func (t *tasks) Submit(ctx context.Context, s *fsm.Submit) (*fsm.Outcome, error) {
	inline, large := 0, 0
	for _, n := range s.Tasks {
		if len(n.Args) > maxInline {
			large += len(n.Args)
		} else {
			inline += len(n.Args)
		}
	}
	if inline > surelyBytes || len(s.Tasks) > surelyTasks {
		if size := s.SizeVT() - large; size > maxSubmit {
			return nil, &tooMuchInline{size}
		}
	}
	if large > 0 {
		if err := t.outsource(ctx, s.Tasks); err != nil {
			return nil, err
		}
	}
	return t.Queue.Submit(ctx, s)
}

// outsource makes blobs of large arguments.
func (t *tasks) outsource(ctx context.Context, tasks []*fsm.New) error {
	if t.blobs.disk.low.Load() && t.blobs.votes() {
		return fsm.ErrDiskFull // as the leader would say, only then they would lie here
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(storing)
	for _, n := range tasks {
		if len(n.Args) <= maxInline {
			continue
		}
		g.Go(func() error {
			named, err := t.blobs.keep(n.Args)
			if err != nil {
				return err
			}
			failpoint.Point("blob.spread.before")
			if err := t.blobs.spreadNamed(ctx, named); err != nil {
				return err
			}
			n.ArgsBlob, n.Args = named, nil
			return nil
		})
	}
	err := g.Wait()
	if err == nil {
		failpoint.Point("blob.commit.before")
	}
	return err
}

// keep stores bytes on this node's disk. fsm.ErrDiskFull: it has no room for them.
func (b *blobs) keep(content []byte) (*fsm.Blob, error) {
	if err := b.room(int64(len(content))); err != nil {
		return nil, err
	}
	d, size, err := b.Store.Put(bytes.NewReader(content), int64(len(content)))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil, errors.Join(fsm.ErrDiskFull, err)
	}
	if err != nil {
		return nil, err
	}
	return &fsm.Blob{Digest: d[:], Size: size}, nil
}

func (b *blobs) spreadNamed(ctx context.Context, named *fsm.Blob) error {
	d, err := blobDigest(named.Digest)
	if err != nil {
		return err
	}
	return b.spread(ctx, d, named.Size)
}

// open returns the bytes of a blob, wherever they are, and verified. fsm.ErrNoBlob: no node that
// was reached has them.
func (b *blobs) open(ctx context.Context, named *fsm.Blob) (*os.File, error) {
	d, err := blobDigest(named.Digest)
	if err != nil {
		return nil, err
	}
	f, err := b.Open(ctx, d, named.Size)
	if err != nil {
		b.failures.WithLabelValues("fetch").Inc()
		b.log.Warn("blob not read", "blob", d, "bytes", named.Size, "err", err)
		return nil, fmt.Errorf("%w: %w", fsm.ErrNoBlob, err)
	}
	return f, nil
}

// load returns the bytes of a blob in memory.
func (b *blobs) load(ctx context.Context, named *fsm.Blob) ([]byte, error) {
	f, err := b.open(ctx, named)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content := make([]byte, named.Size)
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, fmt.Errorf("read blob: %w", err)
	}
	return content, nil
}

// Blob returns the bytes of a blob; see httpapi.Tasks.
func (t *tasks) Blob(ctx context.Context, named *fsm.Blob) (io.ReadCloser, error) {
	f, err := t.blobs.open(ctx, named)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// reports tells the cluster of the outcomes of attempts; see Reporter.
type reports struct {
	*fsm.Queue
	blobs *blobs
}

// Finish reports the outcome of an attempt. A result that is too large for the log is brought to
// a majority before, however long that takes.
func (r *reports) Finish(ctx context.Context, f *fsm.Finish) error {
	for f.ResultBlob != nil {
		err := r.blobs.spreadNamed(ctx, f.ResultBlob)
		if err == nil {
			break
		}
		if sleep(ctx, resultAgain) != nil {
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return r.Queue.Finish(ctx, f)
}
