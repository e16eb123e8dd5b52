package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// DrainNode makes a node take no tasks until it is resumed; timeout, below 0 the node's own, is for what runs there.
func (c *Client) DrainNode(ctx context.Context, name string, timeout time.Duration, force bool) error {
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

// ResumeNode makes a drained node take tasks again.
func (c *Client) ResumeNode(ctx context.Context, name string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/nodes/" + url.PathEscape(name) + "/drain", again: true})
	return err
}

// StepDown has the Leader give up its office and returns the name of the next one.
func (c *Client) StepDown(ctx context.Context) (leader string, err error) {
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

// Member returns a node of the Cluster by its name or id, nil if there is none.
func (v *Cluster) Member(nameOrID string) *Member {
	for i, n := range v.Nodes {
		if n.Name == nameOrID || n.ID == nameOrID {
			return &v.Nodes[i]
		}
	}
	return nil
}
