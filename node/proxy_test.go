package node

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pytasks/httpapi"
)

// proxied are the nodes behind a proxy: one that answers, one that has no leader, and one that is gone.
type proxied struct {
	good, busy *httptest.Server
	gone       string
	posts      atomic.Int32  // that reached either of the two
	wrong      atomic.Value  // string: what the proxy changed
	read       chan struct{} // gets a word when the client has read a line of the log
	host       string        // that the client asks for
}

// logLines are what a task prints, each when the one before it has been read. The first travels with the header.
var logLines = []string{"first\n", "second\n", "third\n"}

func newProxied(t *testing.T) *proxied {
	p := &proxied{read: make(chan struct{}, 1), gone: testAddrs(t, 1)[0]}
	p.good = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.look(r)
		if strings.HasSuffix(r.URL.Path, "/logs") {
			for _, line := range logLines {
				_, _ = io.WriteString(w, line)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-p.read:
				case <-time.After(10 * time.Second):
				}
			}
			return
		}
		_, _ = io.WriteString(w, "ok")
	}))
	p.busy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.look(r)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(p.good.Close)
	t.Cleanup(p.busy.Close)
	return p
}

// look judges a request as a node sees it.
func (p *proxied) look(r *http.Request) {
	if r.Method == http.MethodPost {
		p.posts.Add(1)
	}
	switch {
	case r.URL.Path == "/readyz": // asked by the proxy itself
	case httpapi.FromHere(r):
		p.wrong.Store(fmt.Sprintf("the node takes it for a request of its own machine: %v", r.Header))
	case r.Host != p.host:
		p.wrong.Store(fmt.Sprintf("the host is %s, want %s", r.Host, p.host))
	}
}

// config returns one of the files of deploy/ with the addresses of these nodes, and those of more words.
func (p *proxied) config(t *testing.T, name string, words ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	for old, new := range map[string]string{"192.0.2.1:8080": p.gone, "192.0.2.2:8080": p.good.Listener.Addr().String(), "192.0.2.3:8080": p.busy.Listener.Addr().String()} {
		words = append(words, old, new)
	}
	for i := 0; i < len(words); i += 2 {
		if !strings.Contains(string(text), words[i]) {
			t.Fatalf("%s has no %q", name, words[i])
		}
	}
	return strings.NewReplacer(words...).Replace(string(text))
}

// serve starts a proxy, and returns a client for it.
func (p *proxied) serve(t *testing.T, trust *x509.CertPool, listen string, cmd *exec.Cmd) *http.Client {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Path, out.String())
		}
	})
	p.host = listen
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, ForceAttemptHTTP2: true}, Timeout: 20 * time.Second}
	eventually(t, 20*time.Second, "the proxy listens", func() error {
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return client
}

// ask sends a request through the proxy, and returns the status of the answer.
func (p *proxied) ask(t *testing.T, client *http.Client, method, key string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+p.host+"/task", strings.NewReader(map[string]string{"POST": "{}"}[method]))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// streams follows a log: each line is there while the task is still running.
func (p *proxied) streams(t *testing.T, client *http.Client) {
	t.Helper()
	resp, err := client.Get("https://" + p.host + "/task/1/logs?follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for _, want := range logLines {
		began := time.Now()
		if line, err := lines.ReadString('\n'); err != nil || line != want || time.Since(began) > 8*time.Second {
			t.Fatalf("after %s a line %q, %v, want %q at once", time.Since(began), line, err, want)
		}
		p.read <- struct{}{}
	}
	if wrong := p.wrong.Load(); wrong != nil {
		t.Error(wrong)
	}
}

// TestNginx puts deploy/nginx.conf in front of nodes of which one is busy and one is gone.
func TestNginx(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		nginx = filepath.Join(debianPackage(t, "nginx"), "usr/sbin/nginx")
	}
	p, dir, listen := newProxied(t), t.TempDir(), testAddrs(t, 1)[0]
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	trust := writeCertificate(t, cert, key, 1)
	conf := filepath.Join(dir, "nginx.conf")
	who := ""
	if os.Geteuid() == 0 {
		who = "user root;\n" // who can read the folder of this test
	}
	text := who + "daemon off; pid " + dir + "/pid; error_log stderr;\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text += kind + "_temp_path " + filepath.Join(dir, kind) + ";\n"
	}
	text += p.config(t, "nginx.conf", "listen 443 ", "listen "+listen+" ", "/etc/nginx/tls/tasks.crt", cert, "/etc/nginx/tls/tasks.key", key) + "}\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(nginx, "-t", "-p", dir, "-c", conf, "-e", "stderr").CombinedOutput(); err != nil {
		t.Fatalf("nginx -t: %v\n%s", err, out)
	}
	client := p.serve(t, trust, listen, exec.Command(nginx, "-p", dir, "-c", conf, "-e", "stderr"))
	busy := 0
	for i := range 12 {
		if got := p.ask(t, client, "GET", ""); got != http.StatusOK {
			t.Errorf("GET %d: %d, want 200 of the node that is well", i, got)
		}
		if got := p.ask(t, client, "POST", "a key"); got != http.StatusOK {
			t.Errorf("POST %d with a key: %d, want 200 of the node that is well", i, got)
		}
		before := p.posts.Load()
		switch got := p.ask(t, client, "POST", ""); got {
		case http.StatusServiceUnavailable:
			busy++
		case http.StatusOK:
		default:
			t.Errorf("POST %d: %d, want what a node has answered", i, got)
		}
		if got := p.posts.Load() - before; got != 1 {
			t.Errorf("POST %d without a key was sent to %d nodes, want 1", i, got)
		}
	}
	if busy == 0 {
		t.Error("no request came to the busy node first, so that this shows nothing")
	}
	p.streams(t, client)
	if got := tooLarge(t, trust, p.host); got != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of 81 MiB: %d, want 413", got)
	}
}

// tooLarge announces a body of 81 MiB, sends its beginning, and returns the status of the answer.
func tooLarge(t *testing.T, trust *x509.CertPool, host string) int {
	t.Helper()
	conn, err := tls.Dial("tcp", host, &tls.Config{RootCAs: trust})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "POST /task HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n{", host, 81<<20)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// TestCaddy puts deploy/Caddyfile in front of the same nodes.
func TestCaddy(t *testing.T) {
	caddy, err := exec.LookPath("caddy")
	if err != nil {
		caddy = filepath.Join(debianPackage(t, "caddy"), "usr/bin/caddy")
	}
	p, dir, listen := newProxied(t), t.TempDir(), testAddrs(t, 1)[0]
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	trust := writeCertificate(t, cert, key, 1)
	conf := filepath.Join(dir, "Caddyfile")
	text := "{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + p.config(t, "Caddyfile",
		"tasks.example.com {", "https://"+listen+" {\n\ttls "+cert+" "+key, "health_interval 2s", "health_interval 100ms")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(caddy, "run", "--config", conf, "--adapter", "caddyfile")
	run.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir)
	client := p.serve(t, trust, listen, run)
	eventually(t, 20*time.Second, "the busy node is left out", func() error {
		for range 12 {
			for _, method := range []string{"GET", "POST"} {
				if got := p.ask(t, client, method, ""); got != http.StatusOK {
					return fmt.Errorf("%s: %d", method, got)
				}
			}
		}
		return nil
	})
	p.streams(t, client)
}
