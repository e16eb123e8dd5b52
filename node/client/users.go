package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// User is a user as the API shows it.
type User struct {
	Name         string   `json:"name"`
	Scopes       []string `json:"scopes"`
	AllowedTasks []string `json:"allowed_tasks"`
	CreatedAt    string   `json:"created_at"`
	ChangedAt    string   `json:"changed_at"`
}

// UserChange is the body of POST /users. What is nil stays as it is.
type UserChange struct {
	Name         string    `json:"name"`
	Password     string    `json:"password,omitempty"`
	Scopes       *[]string `json:"scopes,omitempty"`
	AllowedTasks *[]string `json:"allowed_tasks,omitempty"`
	Create       bool      `json:"create,omitempty"` // refused if there is one of that name
}

// Rotation is how far a change of the Cluster's secret is; Phase 0 = there is none.
type Rotation struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Phase    int      `json:"phase"`
	WaitsFor []string `json:"waits_for"`
}

// Key is a key of tokens.
type Key struct {
	ID          string `json:"id"`
	Algorithm   string `json:"algorithm"`
	Signs       bool   `json:"signs"`
	CreatedAt   string `json:"created_at"`
	VerifyUntil string `json:"verify_until"`
}

func (c *Client) Users(ctx context.Context) ([]User, json.RawMessage, error) {
	var list struct {
		Users []User `json:"users"`
	}
	raw, err := c.get(ctx, request{path: "/users"}, &list)
	return list.Users, raw, err
}

func (c *Client) User(ctx context.Context, name string) (*User, error) {
	u := &User{}
	_, err := c.get(ctx, request{path: "/users/" + url.PathEscape(name)}, u)
	return u, err
}

func (c *Client) PutUser(ctx context.Context, u UserChange) error {
	return c.post(ctx, "/users", u, true)
}

func (c *Client) RemoveUser(ctx context.Context, name string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/users/" + url.PathEscape(name)})
	return err
}

func (c *Client) RotateSecret(ctx context.Context, text string) error {
	return c.post(ctx, "/cluster/secret", map[string]string{"secret": text}, true)
}

func (c *Client) Rotation(ctx context.Context) (*Rotation, error) {
	r := &Rotation{}
	_, err := c.get(ctx, request{path: "/cluster/secret"}, r)
	return r, err
}

func (c *Client) RotateKeys(ctx context.Context) error {
	return c.post(ctx, "/keys/rotate", nil, false)
}

func (c *Client) Keys(ctx context.Context) ([]Key, json.RawMessage, error) {
	var list struct {
		Keys []Key `json:"keys"`
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
func (c *Client) Audit(ctx context.Context, after uint64, limit int, w io.Writer) error {
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
func (c *Client) Token(ctx context.Context, user, password string) (string, error) {
	var last error
	for _, base := range c.Addrs {
		token, err := c.buyToken(ctx, base, user, password)
		if err == nil {
			return token, nil
		}
		if refused, ok := err.(*APIError); ok && refused.Status != http.StatusServiceUnavailable {
			return "", err
		}
		last = err
	}
	return "", &UnreachableError{c.Addrs, last}
}
