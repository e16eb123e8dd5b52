package client

import (
	"context"
	"io"
	"net/http"
	"time"
)

// maxFetched bounds one answer of fetch, in bytes.
const maxFetched = 64 << 20

// fetched is what one node answered, whatever it says.
type fetched struct {
	Status int
	Body   []byte
	Clock  time.Time     // the node's, to the second; zero = it did not say
	Took   time.Duration // until all of it was here
}

// fetch asks one node, once.
func (c *Client) Fetch(ctx context.Context, base, path string) (*fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return nil, err
	}
	c.authorize(req, base)
	begun := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, sendError(ctx, err)
	}
	defer resp.Body.Close()
	f := &fetched{Status: resp.StatusCode}
	f.Clock, _ = http.ParseTime(resp.Header.Get("Date"))
	if f.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxFetched)); err != nil {
		return nil, sendError(ctx, err)
	}
	f.Took = time.Since(begun)
	return f, nil
}
