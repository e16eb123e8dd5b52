// Package fetch downloads packs, and finds them by name in indexes. The addresses come from strangers, so that a node must not
// be led by them into itself or into what its host tells only to itself.
//
// It keeps nothing and unpacks nothing. Start reading at Client.Get.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// maxRedirects is how often a server may send us elsewhere.
const maxRedirects = 5

// Config says what a Client may do.
type Config struct {
	// AllowPrivate lifts the refusal of addresses that are told at ErrAddress, and makes the client use the proxy that the
	// environment names (HTTPS_PROXY, HTTP_PROXY, NO_PROXY). Without it there is no proxy: it would look up the names itself,
	// and nobody could check the addresses.
	AllowPrivate bool
	MaxBytes     int64         // of a download; 0 = 64 MiB
	Timeout      time.Duration // of a download with its redirects; 0 = 60 s
	UserAgent    string        // "" = pytasks
}

// Client downloads. It may be used by many goroutines, and holds no connections between downloads.
type Client struct {
	cfg   Config
	http  http.Client
	guard guard
}

// New returns a client.
func New(cfg Config) *Client {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "pytasks"
	}
	c := &Client{cfg: cfg, guard: refuse}
	dialer := &net.Dialer{Timeout: 15 * time.Second}
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true,
		DisableCompression:     true, // the sum and the limit are of the bytes that are sent
	}
	if cfg.AllowPrivate {
		transport.Proxy = http.ProxyFromEnvironment
	} else {
		dialer.ControlContext = c.control
	}
	c.http = http.Client{Transport: transport, CheckRedirect: checkRedirect}
	return c
}

// Get writes to w what the URL address names, http:// or https://, and returns its SHA-256 in hex. Up to five redirects are
// followed, none of them from https to http. An error is one sentence that begins with the address, without password and query;
// what came to w before it is not to be used. It wraps ErrAddress where that is the reason, and ctx's cause when ctx ended.
func (c *Client) Get(ctx context.Context, address string, w io.Writer) (sha256hex string, err error) {
	u, err := url.Parse(address)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		return "", fmt.Errorf("fetch: this is no URL: %w", failed.Err)
	}
	switch {
	case u.Scheme == "http" || u.Scheme == "https":
		return c.get(ctx, u, w, c.cfg.MaxBytes)
	case u.Scheme == "file":
		return "", fmt.Errorf("fetch %s: files of this machine are not read: use http or https", shown(u))
	}
	return "", fmt.Errorf("fetch %s: the scheme %q is not known: use http or https", shown(u), u.Scheme)
}

func (c *Client) get(ctx context.Context, u *url.URL, w io.Writer, limit int64) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, fmt.Errorf("it took longer than %s", c.cfg.Timeout))
	defer cancel()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", shown(u), err)
	}
	request.Header.Set("User-Agent", c.cfg.UserAgent)
	answer, err := c.http.Do(request)
	if err != nil {
		return "", c.explain(ctx, request, err)
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode != http.StatusOK:
		return "", fmt.Errorf("fetch %s: the server answers %d %s", shown(answer.Request.URL), answer.StatusCode, http.StatusText(answer.StatusCode))
	case answer.ContentLength > limit:
		return "", fmt.Errorf("fetch %s: it has %d bytes, %d at most", shown(u), answer.ContentLength, limit)
	}
	sum, err := copyBounded(w, answer.Body, limit)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", shown(u), err)
	}
	return sum, nil
}

// explain says why a request had no answer, and what the operator may not know.
func (c *Client) explain(ctx context.Context, request *http.Request, err error) error {
	address := shown(request.URL)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		err = failed.Err
		if last, parseErr := url.Parse(failed.URL); parseErr == nil && shown(last) != address {
			address += ", redirected to " + shown(last)
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	hint := ""
	if proxy, _ := http.ProxyFromEnvironment(request); proxy != nil && !c.cfg.AllowPrivate && !errors.Is(err, ErrAddress) {
		hint = " (the proxy that the environment names is not used without --allow-private)"
	}
	return fmt.Errorf("fetch %s: %w%s", address, err, hint)
}

// shown returns an address as it may stand in logs: passwords and signatures are left out.
func shown(u *url.URL) string {
	plain := *u
	plain.User, plain.RawQuery, plain.Fragment = nil, "", ""
	return plain.String()
}

func checkRedirect(request *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case request.URL.Scheme != "http" && request.URL.Scheme != "https":
		return fmt.Errorf("the scheme %q is not followed", request.URL.Scheme)
	case request.URL.Scheme == "http" && via[len(via)-1].URL.Scheme == "https":
		return errors.New("a redirect from https to http is not followed")
	}
	return nil
}

// readFile reads an index that is a file.
func readFile(u *url.URL, w io.Writer, limit int64) error {
	if u.Host != "" && u.Host != "localhost" {
		return fmt.Errorf("fetch %s: a file lies on this machine: write file:///path", shown(u))
	}
	info, err := os.Stat(u.Path)
	switch {
	case err != nil:
		return fmt.Errorf("fetch: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("fetch %s: it is not a file", u.Path)
	case info.Size() > limit:
		return fmt.Errorf("fetch %s: it has %d bytes, %d at most", u.Path, info.Size(), limit)
	}
	f, err := os.Open(u.Path)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	defer f.Close()
	if _, err := copyBounded(w, f, limit); err != nil {
		return fmt.Errorf("fetch %s: %w", u.Path, err)
	}
	return nil
}

// copyBounded copies limit bytes at most and returns their SHA-256.
func copyBounded(w io.Writer, r io.Reader, limit int64) (string, error) {
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, hash), io.LimitReader(r, limit))
	if err != nil {
		return "", err
	}
	if n == limit {
		switch _, err := io.ReadFull(r, make([]byte, 1)); err {
		case io.EOF:
		case nil:
			return "", fmt.Errorf("it has more than %d bytes", limit)
		default:
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
