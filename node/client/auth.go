package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"pytasks/node/config"
)

// credentials is how a Client says who it is.
type credentials struct {
	token string // given by the caller; "" = look for one
	local string // folder of the tokens that nodes on this machine leave
	data  string // data directory of a node on this machine

	mu     sync.Mutex
	bought map[string]string // token by base URL, for the password of the first user; guarded by mu
}

// authorize adds to a request what the client has for the node at base.
func (c *Client) authorize(req *http.Request, base string) {
	if token := c.TokenFor(req.Context(), base); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
}

// TokenFor returns the token for the node at base: the one that the caller gave, the one that a
// node on this machine has left for its user, or one for the password of the first user, if that
// can be read here. "" = none. Nothing that was found here goes to another machine.
func (c *Client) TokenFor(ctx context.Context, base string) string {
	w := &c.who
	if w.token != "" {
		return w.token
	}
	if token := ReadLocalToken(w.local, base); token != "" {
		return token
	}
	u, err := url.Parse(base)
	if err != nil || w.data == "" || !config.IsLoopback(u.Hostname()) {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if token, ok := w.bought[base]; ok {
		return token
	}
	password, err := os.ReadFile(filepath.Join(w.data, config.PasswordFile))
	if err != nil {
		return ""
	}
	token, err := c.buyToken(ctx, base, config.FirstUser, strings.TrimSpace(string(password)))
	if err != nil {
		return "" // what is asked for may need none
	}
	if w.bought == nil {
		w.bought = map[string]string{}
	}
	w.bought[base] = token
	return token
}

// buyToken asks one node for a token.
func (c *Client) buyToken(ctx context.Context, base, user, password string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/token", nil)
	if err != nil {
		return "", err
	}
	req.SetBasicAuth(user, password)
	resp, err := c.http.Do(req)
	if err != nil {
		return "", sendError(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", sendError(ctx, err)
	}
	if resp.StatusCode >= 300 {
		return "", readAPIError(base, resp, body)
	}
	var answer struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", err
	}
	return answer.Token, nil
}
