package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"pytasks/node/config"
)

// snapshotStall is how long a Snapshot may stand still on its way before the client gives up.
const snapshotStall = 2 * time.Minute

// Snapshot has read take a Snapshot of the Cluster from the first node that begins one. Where the stream breaks, the error
// of read says so.
func (c *Client) Snapshot(ctx context.Context, read func(io.Reader) error) error {
	giveUp := time.Now().Add(c.Patience)
	for {
		var busy *APIError
		var last error
		for _, base := range c.Addrs {
			body, err := c.openSnapshot(ctx, base)
			var refused *APIError
			switch {
			case err == nil:
				return errors.Join(read(body), body.Close())
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable:
				busy = refused
			case refused != nil:
				return refused
			default:
				last = err
			}
		}
		if busy == nil {
			return &UnreachableError{c.Addrs, last}
		}
		if !time.Now().Add(busy.after).Before(giveUp) {
			return busy
		}
		if err := Pause(ctx, busy.after); err != nil {
			return err
		}
	}
}

// openSnapshot returns the answer of one node.
func (c *Client) openSnapshot(ctx context.Context, base string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/snapshot", nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	c.authorize(req, base)
	resp, err := c.http.Do(req)
	if err != nil {
		err = sendError(ctx, err)
		cancel(nil)
		return nil, err
	}
	if resp.StatusCode >= 300 {
		defer cancel(nil)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, sendError(ctx, err)
		}
		return nil, readAPIError(base, resp, body)
	}
	stalled := func() { cancel(fmt.Errorf("nothing came for %s", config.ShortDuration(snapshotStall))) }
	return &watchedBody{body: resp.Body, ctx: ctx, cancel: cancel, alarm: time.AfterFunc(snapshotStall, stalled)}, nil
}

// watchedBody is an answer that must not stand still.
type watchedBody struct {
	body   io.ReadCloser
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	alarm  *time.Timer
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.alarm.Reset(snapshotStall)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("the snapshot was cut off on its way: %w", sendError(b.ctx, err))
	}
	return n, err
}

// Close ends the request.
func (b *watchedBody) Close() error {
	b.alarm.Stop()
	b.cancel(nil)
	return b.body.Close()
}
