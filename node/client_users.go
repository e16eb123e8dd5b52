package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// userView is a user as the API shows it.
type userView struct {
	Name         string   `json:"name"`
	Scopes       []string `json:"scopes"`
	AllowedTasks []string `json:"allowed_tasks"`
	CreatedAt    string   `json:"created_at"`
	ChangedAt    string   `json:"changed_at"`
}

// userChange is the body of POST /users. What is nil stays as it is.
type userChange struct {
	Name         string    `json:"name"`
	Password     string    `json:"password,omitempty"`
	Scopes       *[]string `json:"scopes,omitempty"`
	AllowedTasks *[]string `json:"allowed_tasks,omitempty"`
	Create       bool      `json:"create,omitempty"` // refused if there is one of that name
}

// rotationView is how far a change of the cluster's secret is; Phase 0 = there is none.
type rotationView struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Phase    int      `json:"phase"`
	WaitsFor []string `json:"waits_for"`
}

// keyView is a key of tokens.
type keyView struct {
	ID          string `json:"id"`
	Algorithm   string `json:"algorithm"`
	Signs       bool   `json:"signs"`
	CreatedAt   string `json:"created_at"`
	VerifyUntil string `json:"verify_until"`
}

func (c *Client) users(ctx context.Context) ([]userView, json.RawMessage, error) {
	var list struct {
		Users []userView `json:"users"`
	}
	raw, err := c.get(ctx, request{path: "/users"}, &list)
	return list.Users, raw, err
}

func (c *Client) user(ctx context.Context, name string) (*userView, error) {
	u := &userView{}
	_, err := c.get(ctx, request{path: "/users/" + url.PathEscape(name)}, u)
	return u, err
}

func (c *Client) putUser(ctx context.Context, u userChange) error {
	return c.post(ctx, "/users", u, true)
}

func (c *Client) removeUser(ctx context.Context, name string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/users/" + url.PathEscape(name)})
	return err
}

func (c *Client) rotateSecret(ctx context.Context, text string) error {
	return c.post(ctx, "/cluster/secret", map[string]string{"secret": text}, true)
}

func (c *Client) rotation(ctx context.Context) (*rotationView, error) {
	r := &rotationView{}
	_, err := c.get(ctx, request{path: "/cluster/secret"}, r)
	return r, err
}

func (c *Client) rotateKeys(ctx context.Context) error {
	return c.post(ctx, "/keys/rotate", nil, false)
}

func (c *Client) keys(ctx context.Context) ([]keyView, json.RawMessage, error) {
	var list struct {
		Keys []keyView `json:"keys"`
	}
	raw, err := c.get(ctx, request{path: "/keys"}, &list)
	return list.Keys, raw, err
}

// post sends JSON and wants no more than that it is taken.
func (c *Client) post(ctx context.Context, path string, v any, again bool) error {
	var body []byte
	if v != nil {
		var err error
		if body, err = json.Marshal(v); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
	}
	_, err := c.do(ctx, request{method: http.MethodPost, path: path, body: body, again: again})
	return err
}

// audit copies what was done after a log index to w, as JSON lines.
func (c *Client) audit(ctx context.Context, after uint64, limit int, w io.Writer) error {
	query := url.Values{"after": {strconv.FormatUint(after, 10)}}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	answer, err := c.do(ctx, request{method: http.MethodGet, path: "/audit", query: query})
	if err != nil {
		return err
	}
	_, err = w.Write(answer.body)
	return err
}

// token returns a token for a password, from the first node that answers.
func (c *Client) token(ctx context.Context, user, password string) (string, error) {
	var last error
	for _, base := range c.addrs {
		token, err := c.buyToken(ctx, base, user, password)
		if err == nil {
			return token, nil
		}
		if refused, ok := err.(*APIError); ok && refused.Status != http.StatusServiceUnavailable {
			return "", err
		}
		last = err
	}
	return "", &UnreachableError{c.addrs, last}
}
