package node

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// followStep is how often a task that is followed is looked at; its end is told at once.
const followStep = 500 * time.Millisecond

// listPage is how many tasks are asked for at once, the most that a node gives.
const listPage = 1000

// retry queues a finished task anew, under an idempotency key, and returns the new one.
func (c *Client) retry(ctx context.Context, id, key string) (*taskView, error) {
	return c.taskCall(ctx, request{method: http.MethodPost, path: "/task/" + url.PathEscape(id) + "/retry", key: key})
}

// ids returns the ids of tasks, newest first: at most limit, 0 = all.
func (c *Client) ids(ctx context.Context, filter url.Values, limit int) (ids []string, err error) {
	for {
		size := listPage
		if limit > 0 {
			size = min(limit-len(ids), listPage)
		}
		filter.Set("limit", strconv.Itoa(size))
		tasks, next, err := c.list(ctx, filter)
		if err != nil {
			return nil, err
		}
		for _, t := range tasks {
			ids = append(ids, t.ID)
		}
		if next == "" || limit > 0 && len(ids) >= limit {
			return ids, nil
		}
		filter.Set("cursor", next)
	}
}

// follow tells of a task, and of each change of its state and of how far it is, until it has ended.
func (c *Client) follow(ctx context.Context, id string, each func(*taskView) error) (*taskView, error) {
	seen, wait := "", time.Duration(0)
	for {
		t, err := c.task(ctx, id, wait)
		if err != nil {
			return nil, err
		}
		var at taskProgress
		if t.Progress != nil {
			at = *t.Progress
		}
		if now := fmt.Sprintf("%s %d %s %.2f %s", t.Status, t.Attempt, t.Node, at.Fraction, at.Text); now != seen {
			seen = now
			if err := each(t); err != nil {
				return nil, err
			}
		}
		if t.finished() {
			return t, nil
		}
		wait = min(followStep+time.Duration(len(t.raw)>>20)*time.Second, waitStep) // large args come each time
	}
}
