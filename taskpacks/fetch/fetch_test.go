package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// refused checks that Get fails with want in the error, which it returns.
func refused(t *testing.T, c *Client, address, want string) error {
	t.Helper()
	sum, err := c.Get(t.Context(), address, io.Discard)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Get(%s) = %q, %v; want %q in the error", address, sum, err, want)
	}
	return err
}

func TestGet(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("User-Agent"); got != "agent" {
			t.Errorf("User-Agent is %q, want agent", got)
		}
		if got := r.Header.Get("Accept-Encoding"); got != "" {
			t.Errorf("Accept-Encoding is %q, want none", got)
		}
		io.WriteString(w, "content")
	})
	c := New(Config{AllowPrivate: true, UserAgent: "agent", MaxBytes: 7}) // as many as there are
	var got bytes.Buffer
	sum, err := c.Get(t.Context(), s.URL, &got)
	if err != nil || got.String() != "content" || sum != sumOf("content") {
		t.Errorf("Get = %q, %v, writes %q; want %q and content", sum, err, &got, sumOf("content"))
	}
}

func TestGetRefuses(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/announced":
			w.Header().Set("Content-Length", "8")
			io.WriteString(w, "12345678")
		case "/streamed":
			io.WriteString(w, "1234")
			w.(http.Flusher).Flush()
			io.WriteString(w, "5678")
		case "/short":
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "123")
		default:
			http.NotFound(w, r)
		}
	})
	c := New(Config{AllowPrivate: true, MaxBytes: 7})
	refused(t, c, s.URL+"/announced", "it has 8 bytes, 7 at most")
	refused(t, c, s.URL+"/streamed", "it has more than 7 bytes")
	refused(t, c, s.URL+"/short", "unexpected EOF")
	refused(t, c, s.URL+"/absent", "/absent: the server answers 404 Not Found")
	refused(t, c, "ftp://host/x", `the scheme "ftp" is not known: use http or https`)
	refused(t, c, "x.zip", `the scheme "" is not known`)
	refused(t, c, "file:///etc/passwd", "files of this machine are not read")
	err := refused(t, c, strings.Replace(s.URL, "://", "://user:secret@", 1)+"/absent?sig=secret", "404")
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the secret: %v", err)
	}
	if err := refused(t, c, "http://user:secret@ho st/", "this is no URL"); err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells the secret: %v", err)
	}
}

func TestRedirects(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/0":
			io.WriteString(w, "content")
		default:
			var n int
			fmt.Sscanf(r.URL.Path, "/%d", &n)
			http.Redirect(w, r, fmt.Sprintf("/%d", n-1), http.StatusFound)
		}
	})
	c := New(Config{AllowPrivate: true})
	if sum, err := c.Get(t.Context(), s.URL+"/5", io.Discard); err != nil || sum != sumOf("content") {
		t.Errorf("Get by 5 redirects = %q, %v", sum, err)
	}
	refused(t, c, s.URL+"/6", "more than 5 redirects")
	refused(t, c, s.URL+"/file", `the scheme "file" is not followed`)
}

func TestRedirectFromTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	c := New(Config{AllowPrivate: true})
	c.http.Transport.(*http.Transport).TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	refused(t, c, s.URL, "a redirect from https to http is not followed")
	refused(t, New(Config{AllowPrivate: true}), s.URL, "certificate")
}

// TestTimeout meets a server that begins an answer and never ends it.
func TestTimeout(t *testing.T) {
	done := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("begun"))
		w.(http.Flusher).Flush()
		<-done
	})
	defer close(done)
	refused(t, New(Config{AllowPrivate: true, Timeout: 50 * time.Millisecond}), s.URL, "it took longer than 50ms")

	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the operator said so")
	_, err := New(Config{AllowPrivate: true}).Get(ctx, s.URL, writerFunc(func(p []byte) (int, error) {
		cancel(cause) // the first bytes are there
		return len(p), nil
	}))
	if !errors.Is(err, cause) {
		t.Errorf("Get = %v, want %v in it", err, cause)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestGuard asks a server on this machine, by all the names it has.
func TestGuard(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") })
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c := New(Config{})
	for _, host := range []string{"127.0.0.1", "localhost", "127.1.2.3", "0.0.0.0", "[::ffff:127.0.0.1]", "169.254.169.254"} {
		if err := refused(t, c, "http://"+host+":"+port, "nothing is fetched from there without --allow-private"); !errors.Is(err, ErrAddress) {
			t.Errorf("Get from %s = %v, want ErrAddress", host, err)
		}
	}
	if c.http.Transport.(*http.Transport).Proxy != nil {
		t.Error("there is a proxy, behind which addresses cannot be checked")
	}
}

// TestGuardAfterRedirect is sent from an address that is allowed to one that is not.
func TestGuardAfterRedirect(t *testing.T) {
	inner := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the server behind the redirect was asked") })
	_, port, _ := net.SplitHostPort(inner.Listener.Addr().String())
	outer := serve(t, http.RedirectHandler("http://127.0.0.2:"+port+"/meta?token=secret", http.StatusFound).ServeHTTP)
	c := New(Config{})
	c.guard = func(addr netip.Addr) error {
		if addr == netip.MustParseAddr("127.0.0.1") {
			return nil
		}
		return refuse(addr)
	}
	err := refused(t, c, outer.URL, "redirected to http://127.0.0.2:"+port+"/meta: ")
	if !errors.Is(err, ErrAddress) {
		t.Errorf("Get = %v, want ErrAddress", err)
	}
}

func TestRefuse(t *testing.T) {
	for kind, addrs := range map[string][]string{
		"loopback":    {"127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"},
		"link-local":  {"169.254.169.254", "fe80::1", "fe80::1%eth0", "febf::1", "::ffff:169.254.1.1", "64:ff9b::a9fe:a9fe"},
		"unspecified": {"0.0.0.0", "0.1.2.3", "::"},
		"multicast":   {"224.0.0.1", "239.1.1.1", "ff02::1", "ff0e::1"},
		"broadcast":   {"255.255.255.255"},
		"metadata":    {"fd00:ec2::254", "100.100.100.200"},
		"":            {"10.0.0.1", "172.16.0.1", "192.168.1.1", "fd00::1", "1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "128.0.0.1", "169.255.0.1"},
	} {
		for _, addr := range addrs {
			if got := kindOf(netip.MustParseAddr(addr)); got != kind {
				t.Errorf("%s is %q, want %q", addr, got, kind)
			}
		}
	}
}
