package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// drainNode makes a node take no tasks until it is resumed; timeout, below 0 the node's own, is for what runs there.
func (c *Client) drainNode(ctx context.Context, name string, timeout time.Duration, force bool) error {
	query := url.Values{}
	if timeout >= 0 {
		query.Set("timeout", timeout.String())
	}
	if force {
		query.Set("force", "true")
	}
	_, err := c.do(ctx, request{method: http.MethodPost, path: "/nodes/" + url.PathEscape(name) + "/drain", query: query, again: true})
	return err
}

// resumeNode makes a drained node take tasks again.
func (c *Client) resumeNode(ctx context.Context, name string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/nodes/" + url.PathEscape(name) + "/drain", again: true})
	return err
}

// stepDown has the leader give up its office and returns the name of the next one.
func (c *Client) stepDown(ctx context.Context) (leader string, err error) {
	answer, err := c.do(ctx, request{method: http.MethodPost, path: "/cluster/stepdown"})
	if err != nil {
		return "", err
	}
	var told struct {
		Leader string `json:"leader"`
	}
	if err := json.Unmarshal(answer.body, &told); err != nil {
		return "", fmt.Errorf("read the answer to POST /cluster/stepdown: %w", err)
	}
	return told.Leader, nil
}

// member returns a node of the cluster by its name or id, nil if there is none.
func (v *clusterView) member(nameOrID string) *memberView {
	for i, n := range v.Nodes {
		if n.Name == nameOrID || n.ID == nameOrID {
			return &v.Nodes[i]
		}
	}
	return nil
}
