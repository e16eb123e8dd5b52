package node

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

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
