package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pytasks/node/config"
)

const (
	DefaultAddr   = "http://127.0.0.1:8080"
	clientTimeout = 10 * time.Second // for one answer, beside the wait that it asked for
	clientPause   = 500 * time.Millisecond
)

// Client speaks to a Cluster through any of its nodes: the addresses are tried in turn,
// and the one that answered last is asked first. Its methods may be called together.
type Client struct {
	Addrs    []string // base URLs
	http     *http.Client
	first    atomic.Int32  // index of the address to begin with
	Patience time.Duration // how long it asks again while all answer 503
	who      credentials
}

// UnreachableError says that no address gave an answer.
type UnreachableError struct {
	Addrs []string
	Err   error // of the last one
}

func (e *UnreachableError) Error() string {
	hint := "is a node running there? Start one with `pytasks start`, or name others with --addr"
	if len(e.Addrs) == 1 {
		return fmt.Sprintf("cannot reach %s (%v): %s", e.Addrs[0], e.Err, hint)
	}
	return fmt.Sprintf("cannot reach any of %s (last: %v): %s", strings.Join(e.Addrs, ", "), e.Err, hint)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// APIError is an answer that refuses what was asked.
type APIError struct {
	Addr    string   // base URL of the node that gave it
	Status  int      // of HTTP
	Code    string   // stable word for programs, "" if there was none
	Message string   // for people
	Faults  []string // every fault of the request, if it lists them
	after   time.Duration
	text    string // the whole body
}

func (e *APIError) Error() string {
	text := strings.TrimSpace(e.Message)
	if len(e.Faults) > 0 {
		text = strings.Join(e.Faults, "; ")
	}
	if text == "" {
		text = fmt.Sprintf("%s answered %d %s", e.Addr, e.Status, http.StatusText(e.Status))
	}
	return text
}

// reply is an answer that grants what was asked.
type reply struct {
	status int
	body   []byte
}

// request is what a Client sends, to more than one address if need be.
type request struct {
	method, path string
	query        url.Values
	body         []byte
	key          string        // Idempotency-Key, "" = none
	wait         time.Duration // how long the node is asked to wait before it answers
	kind         string        // content type of body; "" = JSON
	work         time.Duration // how long the node may take beside that; 0 = hardly any
	again        bool          // doing it twice does no harm
	sent         func(int)     // is told how much of body has been read to be sent, from the beginning each time; nil = nobody is
}

// Options say which nodes a Client speaks to, and as whom.
type Options struct {
	// Addrs are base URLs such as http://127.0.0.1:8080; the scheme may be left out. None:
	// this machine's default address.
	Addrs []string
	// Token is sent to all of them. Empty: one that is found on this machine, to nodes here.
	Token string
	// TokenDir is where nodes leave tokens for their user, see LocalTokenDir. Empty: nowhere.
	TokenDir string
	// DataDir is the data directory of a node here, whose first user's password serves where
	// there is no token. Empty: none.
	DataDir string
}

// New returns a client. It sends nothing yet.
func New(o Options) (*Client, error) {
	c := &Client{
		http:     &http.Client{Transport: NewTransport(4)},
		Patience: 10 * time.Second,
		who:      credentials{token: o.Token, local: o.TokenDir, data: o.DataDir},
	}
	for _, addr := range o.Addrs {
		base, err := BaseURL(addr)
		if err != nil {
			return nil, err
		}
		c.Addrs = append(c.Addrs, base)
	}
	if len(c.Addrs) == 0 {
		c.Addrs = []string{DefaultAddr}
	}
	return c, nil
}

// do sends a request until a node answers it. An answer that refuses is an *APIError.
// It is sent again only where that cannot do it twice: nothing was sent, it only reads,
// or it has an idempotency key.
func (c *Client) do(ctx context.Context, r request) (*reply, error) {
	giveUp := time.Now().Add(c.Patience)
	for {
		var busy *APIError
		var last error
		first := int(c.first.Load())
		for i := range c.Addrs {
			at := (first + i) % len(c.Addrs)
			answer, err := c.try(ctx, c.Addrs[at], r)
			var refused *APIError
			switch {
			case err == nil:
				c.first.Store(int32(at))
				return answer, nil
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable:
				busy = refused // without a Leader for now, or about to stop
			case refused != nil:
				c.first.Store(int32(at))
				return nil, refused
			case !r.repeatable() && !notSent(err):
				return nil, fmt.Errorf("%s %s: the node went away before it answered, so it may have been done: %w", r.method, c.Addrs[at]+r.path, err)
			default:
				last = err
			}
		}
		if busy == nil {
			return nil, &UnreachableError{c.Addrs, last}
		}
		if !time.Now().Add(busy.after).Before(giveUp) || !r.repeatable() && busy.Code == "unknown" {
			return nil, busy
		}
		if err := Pause(ctx, busy.after); err != nil {
			return nil, err
		}
	}
}

// try sends a request to one address.
func (c *Client) try(ctx context.Context, base string, r request) (*reply, error) {
	limit := r.wait + r.work + clientTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", config.ShortDuration(limit)))
	defer cancel()
	target := base + r.path
	if r.wait > 0 {
		query := url.Values{"wait": {r.wait.String()}}
		target += "?" + query.Encode()
	} else if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.sent != nil && len(r.body) > 0 {
		req.GetBody = func() (io.ReadCloser, error) {
			return io.NopCloser(&countedReader{bytes.NewReader(r.body), len(r.body), r.sent}), nil
		}
		req.Body, _ = req.GetBody()
	}
	if r.body != nil {
		req.Header.Set("Content-Type", cmp.Or(r.kind, "application/json"))
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	c.authorize(req, base)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, sendError(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, sendError(ctx, err)
	}
	if resp.StatusCode >= 300 {
		return nil, readAPIError(base, resp, body)
	}
	return &reply{resp.StatusCode, body}, nil
}

// countedReader tells how much of a body has been read.
type countedReader struct {
	body *bytes.Reader
	size int
	sent func(int)
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.sent(r.size - r.body.Len())
	return n, err
}

// repeatable reports whether a request may be sent twice.
func (r request) repeatable() bool {
	return r.method == http.MethodGet || r.method == http.MethodDelete || r.key != "" || r.again
}

// readAPIError turns a refusing answer into an error, whatever its body looks like.
func readAPIError(base string, resp *http.Response, body []byte) *APIError {
	e := &APIError{Addr: base, Status: resp.StatusCode, after: retryAfter(resp.Header), text: string(body)}
	var fields struct {
		Message string          `json:"message"`
		Code    string          `json:"code"`
		Detail  string          `json:"detail"`
		Errors  json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &fields) != nil {
		return e
	}
	e.Message, e.Code = fields.Message, fields.Code
	var faults []struct {
		Message string `json:"message"`
		Got     string `json:"got"` // what is there instead, and where in the value
	}
	if json.Unmarshal(fields.Errors, &faults) == nil {
		for _, f := range faults {
			text := strings.TrimRight(f.Message, ". ")
			if f.Got != "" {
				text += " (got " + f.Got + ")"
			}
			e.Faults = append(e.Faults, text)
		}
	}
	switch {
	case strings.Contains(fields.Detail, "\n"): // a traceback
		e.Message += "\n" + fields.Detail
	case fields.Detail != "":
		e.Message += ": " + fields.Detail
	}
	return e
}

// retryAfter is the Pause that an answer asks for, between 0.1 s and 2 s.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil {
		return clientPause
	}
	return min(max(time.Duration(seconds)*time.Second, 100*time.Millisecond), 2*time.Second)
}

// sendError is why a request Failed, without the URL, which the caller names.
func sendError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// notSent reports whether a request surely never left: no connection was made.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// NewTransport returns a transport for up to so many connections to each node: no
// proxies, no compression, which costs more than it saves here.
func NewTransport(connections int) *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		DisableCompression:  true,
		MaxIdleConnsPerHost: connections,
		IdleConnTimeout:     90 * time.Second,
	}
}

// BaseURL Checks an address of a node and writes it in full.
func BaseURL(addr string) (string, error) {
	full := strings.TrimSpace(addr)
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is not the address of a node; write it as %s", addr, DefaultAddr)
	}
	return strings.TrimRight(full, "/"), nil
}

// Pause waits for d or the end of ctx.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
