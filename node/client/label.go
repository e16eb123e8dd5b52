package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// LabelNode changes the labels of a node, beginning, with forget, with those that it was started with; nil takes one away.
func (c *Client) LabelNode(ctx context.Context, name string, labels map[string]*string, forget bool) error {
	body, err := json.Marshal(labels)
	if err != nil {
		return fmt.Errorf("write the labels as JSON: %w", err)
	}
	query := url.Values{}
	if forget {
		query.Set("forget", "true")
	}
	_, err = c.do(ctx, request{method: http.MethodPost, path: "/nodes/" + url.PathEscape(name) + "/labels", query: query, body: body, again: true})
	return err
}
