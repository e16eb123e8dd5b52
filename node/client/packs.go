package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pytasks/httpapi"
)

// installWork is how long a node may take to install a pack, its download and environment included.
const installWork = 15 * time.Minute

// PackSource is what POST /packs takes beside an archive.
type PackSource struct {
	URL    string `json:"url,omitempty"`
	Name   string `json:"name,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// packs returns the Cluster's packs.
func (c *Client) Packs(ctx context.Context) ([]httpapi.PackView, json.RawMessage, error) {
	var list struct {
		Packs []httpapi.PackView `json:"packs"`
	}
	raw, err := c.get(ctx, request{path: "/packs"}, &list)
	return list.Packs, raw, err
}

// pack returns one pack.
func (c *Client) Pack(ctx context.Context, name string) (*httpapi.PackView, json.RawMessage, error) {
	p := &httpapi.PackView{}
	raw, err := c.get(ctx, request{path: "/packs/" + url.PathEscape(name)}, p)
	return p, raw, err
}

// InstallArchive installs a pack whose archive is body, of that content type. sent is told how much of it is on its way.
func (c *Client) InstallArchive(ctx context.Context, body []byte, kind string, query url.Values, sent func(int)) (*httpapi.PackView, error) {
	return c.packCall(ctx, request{
		method: http.MethodPost, path: "/packs", query: query, body: body, kind: kind, work: installWork, again: true, sent: sent,
	})
}

// InstallFrom has the node fetch a pack and install it.
func (c *Client) InstallFrom(ctx context.Context, s PackSource) (*httpapi.PackView, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return c.packCall(ctx, request{method: http.MethodPost, path: "/packs", body: body, work: installWork, again: true})
}

// UsePack makes another release current, the one before if release is "".
func (c *Client) UsePack(ctx context.Context, name, release string) (*httpapi.PackView, error) {
	query := url.Values{}
	if release != "" {
		query.Set("release", release)
	}
	return c.packCall(ctx, request{
		method: http.MethodPost, path: "/packs/" + url.PathEscape(name) + "/rollback", query: query, again: release != "",
	})
}

// RemovePack takes a release out, or the whole pack.
func (c *Client) RemovePack(ctx context.Context, name, release string, force bool) error {
	query := url.Values{"force": {strconv.FormatBool(force)}}
	if release != "" {
		query.Set("release", release)
	}
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/packs/" + url.PathEscape(name), query: query, work: time.Minute})
	return err
}

func (c *Client) packCall(ctx context.Context, r request) (*httpapi.PackView, error) {
	answer, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	p := &httpapi.PackView{}
	if err := json.Unmarshal(answer.body, p); err != nil {
		return nil, fmt.Errorf("read the answer about a pack: %w", err)
	}
	return p, nil
}

// log copies what a task has printed to w; with Follow until the task is Finished. It asks one node only, the
// first that answers.
func (c *Client) Log(ctx context.Context, id string, follow bool, w io.Writer) error {
	var last error
	for _, base := range c.Addrs {
		target := base + "/task/" + url.PathEscape(id) + "/logs"
		if follow {
			target += "?follow=1"
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return err
		}
		c.authorize(req, base)
		resp, err := c.http.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			last = sendError(ctx, err)
			continue
		}
		defer resp.Body.Close()
		if resp.StatusCode >= 300 {
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return sendError(ctx, err)
			}
			return readAPIError(base, resp, body)
		}
		if _, err := io.Copy(w, resp.Body); err != nil {
			return fmt.Errorf("the log of %s was cut off: %w", id, sendError(ctx, err))
		}
		return nil
	}
	return &UnreachableError{c.Addrs, last}
}
