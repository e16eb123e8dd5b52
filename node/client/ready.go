package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// readyTimeout is how long AwaitReady waits.
const readyTimeout = 20 * time.Second

// AwaitReady asks a node until it is ready. If the node stops first, its error is left
// in the channel.
func AwaitReady(ctx context.Context, url string, stopped chan error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the node at %s was not ready within %s", url, readyTimeout))
	defer cancel()
	for {
		if Ready(ctx, url) {
			return nil
		}
		select {
		case err := <-stopped:
			stopped <- err
			return errors.New("the node stopped before it was ready")
		default:
		}
		if err := Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// Ready reports whether the node at a base URL takes requests.
func Ready(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}
