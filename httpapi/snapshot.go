package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// snapshotWork is how long a node may take until it has the first byte of a snapshot: its state is written to the disk before.
	snapshotWork = 10 * time.Minute
	// snapshotIdle is how long a client may take to read a part of it.
	snapshotIdle = time.Minute
)

// Snapshots gives out all that the cluster has.
type Snapshots interface {
	// Save writes a snapshot of the cluster to w, of one moment that is not before the call. What it has written when it fails is no
	// snapshot; before the first byte it may have any error of package fsm, or one of the code "busy" while it writes another.
	Save(ctx context.Context, w io.Writer) error
}

// snapshot is GET /snapshot: the file of `pytasks snapshot save`, whose end tells whether it is whole.
func (c *call) snapshot() {
	if c.r.Method == http.MethodHead {
		c.beginSnapshot()
		return
	}
	c.allow(snapshotWork)
	w := &snapshotWriter{call: c, control: http.NewResponseController(c.w)}
	err := c.api.Snapshots.Save(c.r.Context(), w)
	switch {
	case err != nil && w.begun: // cut off: the client must not take it for the whole
		c.api.Logger.Warn("snapshot cut off", "err", err, "request", c.requestID())
		panic(http.ErrAbortHandler)
	case err != nil:
		c.failRead(err)
	}
}

func (c *call) beginSnapshot() {
	h := c.w.Header()
	h["Content-Type"] = []string{"application/octet-stream"}
	h["X-Content-Type-Options"] = noSniff
	h["Content-Disposition"] = []string{`attachment; filename="pytasks.snapshot"`}
	c.WriteHeader(http.StatusOK)
}

// snapshotWriter begins the answer with its first byte, and gives the client time for each part of it.
type snapshotWriter struct {
	*call
	control *http.ResponseController
	begun   bool
}

func (w *snapshotWriter) Write(b []byte) (int, error) {
	if !w.begun {
		w.begun = true
		w.beginSnapshot()
	}
	if err := w.control.SetWriteDeadline(time.Now().Add(snapshotIdle)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return w.call.Write(b)
}
