package client

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

// ListPage is how many tasks are asked for at once, the most that a node gives.
const ListPage = 1000

// retry queues a Finished task anew, under an idempotency key, and returns the new one.
func (c *Client) Retry(ctx context.Context, id, key string) (*Task, error) {
	return c.taskCall(ctx, request{method: http.MethodPost, path: "/task/" + url.PathEscape(id) + "/retry", key: key})
}

// ids returns the ids of tasks, newest first: at most limit, 0 = all.
func (c *Client) Ids(ctx context.Context, filter url.Values, limit int) (ids []string, err error) {
	for {
		size := ListPage
		if limit > 0 {
			size = min(limit-len(ids), ListPage)
		}
		filter.Set("limit", strconv.Itoa(size))
		tasks, next, err := c.List(ctx, filter)
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

// Follow tells of a task, and of each change of its state and of how far it is, until it has ended.
func (c *Client) Follow(ctx context.Context, id string, each func(*Task) error) (*Task, error) {
	seen, wait := "", time.Duration(0)
	for {
		t, err := c.Task(ctx, id, wait)
		if err != nil {
			return nil, err
		}
		var at Progress
		if t.Progress != nil {
			at = *t.Progress
		}
		if now := fmt.Sprintf("%s %d %s %.2f %s", t.Status, t.Attempt, t.Node, at.Fraction, at.Text); now != seen {
			seen = now
			if err := each(t); err != nil {
				return nil, err
			}
		}
		if t.Finished() {
			return t, nil
		}
		wait = min(followStep+time.Duration(len(t.Raw)>>20)*time.Second, WaitStep) // large args come each time
	}
}
