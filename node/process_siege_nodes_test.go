package node

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pytasks/cluster/secret"
	"pytasks/node/client"
	"pytasks/node/config"
)

const marker = "in-plain-sight-4711" // in arguments; nobody between the nodes is to read it

func captureStory(t *testing.T, s *siege) {
	var between, ports []int
	for _, p := range s.ps {
		between = append(between, portOf(t, p.gossip), portOf(t, p.cluster))
		ports = append(ports, portOf(t, strings.TrimPrefix(p.http, "http://")))
	}
	c := capturePackets(t, append(ports, between...), marker)
	var ids []string
	for i := range 60 {
		ids = append(ids, s.ps[i%3].submit(fmt.Sprintf(`{"type":"test.main.echo","args":{"value":"%s %d"}}`, marker, i)))
	}
	for i, id := range ids {
		s.ps[(i+1)%3].succeeded(id, 10*time.Second)
	}
	large := s.ps[0].submit(fmt.Sprintf(`{"type":"test.main.echo","args":{"value":%q}}`, strings.Repeat(marker+" ", 20_000)))
	s.ps[1].succeeded(large, 20*time.Second)
	eventually(t, 10*time.Second, "all nodes gossip", func() error {
		for _, port := range between {
			if bytes, _ := c.saw(port); bytes < 1000 {
				return fmt.Errorf("port %d: %d bytes", port, bytes)
			}
		}
		return nil
	})
	for _, port := range between {
		if bytes, text := c.saw(port); text || bytes < 1000 {
			t.Errorf("port %d: %d bytes, arguments readable: %t; want some, and none readable", port, bytes, text)
		}
	}
	if _, text := c.saw(ports[0]); !text {
		t.Error("the arguments were not seen on their way to the node either: the capture does not work")
	}
}

func otherSecretStory(t *testing.T, s *siege) {
	for name, flags := range map[string][]string{
		"another": {"--secret-file", secretFile(t, secret.New())}, "none": nil,
	} {
		stranger := newProcess(t, "stranger-"+name, append(s.ps.joinFlags(), flags...)...)
		stranger.env = nil
		stranger.start()
		eventually(t, 30*time.Second, "the stranger is told", func() error {
			if !strings.Contains(stranger.log(), "secret") {
				return fmt.Errorf("its log says %s", stranger.log())
			}
			return nil
		})
		stranger.kill()
	}
	var view client.Cluster
	if err := s.ps[0].read("/cluster", &view, bearer(s.admin)...); err != nil {
		t.Fatal(err)
	}
	if len(view.Nodes) != 3 {
		t.Errorf("the cluster has %d nodes, want 3: %s", len(view.Nodes), view.Raw)
	}
	said := 0
	for _, p := range s.ps {
		said += strings.Count(p.log(), "another secret")
	}
	if said == 0 || said > 12 {
		t.Errorf("the nodes mention another secret %d times, want some and few", said)
	}
}

func certificateStory(t *testing.T, s *siege) {
	identity := func(of secret.Secret, now time.Time) *tls.Config {
		return secret.NewIdentity(secret.NewRing(of), "11111111-2222-3333-4444-555555555555", func() time.Time { return now }).Client()
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, self, self, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	plain := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: identity(s.secret, time.Now()).NextProtos}
	selfMade := plain.Clone()
	selfMade.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}
	trusting := func(c *tls.Config) *tls.Config { // an attacker does not care who answers
		c = c.Clone()
		c.InsecureSkipVerify, c.VerifyConnection, c.VerifyPeerCertificate = true, nil, nil
		return c
	}
	old := plain.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, c := range map[string]struct {
		config *tls.Config
		in     bool
	}{
		"of this cluster":  {trusting(identity(s.secret, time.Now())), true},
		"expired":          {trusting(identity(s.secret, time.Now().Add(-72*time.Hour))), false},
		"of the future":    {trusting(identity(s.secret, time.Now().Add(72*time.Hour))), false},
		"of a foreign one": {trusting(identity(secret.New(), time.Now())), false},
		"self-made":        {selfMade, false},
		"none":             {plain, false},
		"TLS 1.2":          {old, false},
	} {
		if in := letIn(t, s.ps[0].cluster, c.config); in != c.in {
			t.Errorf("certificate %s: let in %t, want %t", name, in, c.in)
		}
	}
}

func letIn(t *testing.T, addr string, config *tls.Config) bool {
	t.Helper()
	raw, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, config)
	if conn.Handshake() != nil {
		return false
	}
	// With TLS 1.3 a server judges a client's certificate after the client is done.
	if err := conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Read(make([]byte, 1))
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

func garbageStory(t *testing.T, s *siege) {
	noise := make([]byte, 1<<16)
	_, _ = rand.Read(noise)
	identity := secret.NewIdentity(secret.NewRing(s.secret), "11111111-2222-3333-4444-555555555555", time.Now).Client()
	identity.InsecureSkipVerify, identity.VerifyConnection, identity.VerifyPeerCertificate = true, nil, nil
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			conn, err := net.DialTimeout("tcp", s.ps[i%3].cluster, 5*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
			switch i % 4 {
			case 0: // noise
				_, _ = conn.Write(noise)
			case 1: // half open
				_, _ = conn.Read(make([]byte, 1))
				return
			case 2: // a member that talks nonsense
				inside := tls.Client(conn, identity)
				_, _ = inside.Write(append([]byte("C"), noise...))
				_, _ = io.Copy(io.Discard, inside)
				return
			case 3: // a frame that says it is enormous
				inside := tls.Client(conn, identity)
				_, _ = inside.Write([]byte{'R', 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})
				_, _ = io.Copy(io.Discard, inside)
				return
			}
			_, _ = io.Copy(io.Discard, conn)
		})
	}
	for range 20 {
		s.ps[1].succeeded(s.ps[0].submit((&sum{number: 1}).body()), 10*time.Second)
	}
	wg.Wait()
	for _, p := range s.ps {
		if !p.running() || strings.Contains(p.log(), "panic") {
			t.Errorf("%s did not survive: %s", p.name, tail(p.log(), 20))
		}
	}
}

func slowStory(t *testing.T, s *siege) {
	addr := strings.TrimPrefix(s.ps[1].http, "http://")
	ended := make(chan time.Duration, 20)
	for range cap(ended) {
		go func() {
			start := time.Now()
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				_, _ = conn.Write([]byte("POST /task HTTP/1.1\r\nHost: x\r\n"))
				_, _ = conn.Read(make([]byte, 1))
				conn.Close()
			}
			ended <- time.Since(start)
		}()
	}
	s.ps[1].succeeded(s.ps[1].submit((&sum{number: 5}).body()), 10*time.Second)
	for range cap(ended) {
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Fatal("a client that sends half a header has its connection for more than 30 s")
		}
	}
}

func filesStory(t *testing.T, s *siege) {
	for _, p := range s.ps {
		for _, name := range []string{"", config.PasswordFile, secret.KeptFile, "state", "cluster"} {
			info, err := os.Stat(filepath.Join(p.dir, "data", name))
			if os.IsNotExist(err) {
				continue
			}
			if err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s of %s: mode %v, %v", name, p.name, info.Mode(), err)
			}
		}
	}
	file := secretFile(t, s.secret)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	loose := newProcess(t, "loose", "--secret-file", file)
	loose.start()
	if code := loose.exit(10 * time.Second); code != 1 || !strings.Contains(loose.log(), "chmod 0600 "+file) {
		t.Errorf("a secret that all can read: exit status %d, %s", code, loose.log())
	}
	if strings.Contains(loose.log(), s.secret.Text()) {
		t.Error("the secret is in the log")
	}
}

func leakStory(t *testing.T, s *siege) {
	password := s.ps.adminPassword()
	secrets := append([]string{s.secret.Text(), password, "pass of ", "$argon2id$", marker, "PRIVATE KEY"}, s.tokens...)
	for _, token := range append(s.tokens, s.admin) {
		secrets = append(secrets, token[strings.LastIndexByte(token, '.')+1:])
	}
	look := func(what string, text []byte) {
		t.Helper()
		for _, hidden := range secrets {
			if i := bytes.Index(text, []byte(hidden)); i >= 0 {
				t.Errorf("%s shows %.12q...", what, hidden)
			}
		}
	}
	for _, p := range s.ps {
		look("the log of "+p.name, []byte(p.log()))
		for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/state", "/cluster", "/audit?limit=100000", "/users", "/keys", "/cluster/secret", "/packs", "/tasks"} {
			a, err := send(p, http.MethodGet, path, "", bearer(s.admin)...)
			if err != nil {
				t.Fatal(err)
			}
			look(path+" of "+p.name, a.body)
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		look("the command line of "+p.name, line)
	}
	needPython(t)
	dir := filepath.Join(t.TempDir(), "spy")
	s.ps[0].tools("pack", "init", dir)
	code := "import os\nfrom pytasks import task\n\n@task\ndef look() -> str:\n    return repr(dict(os.environ))\n"
	if err := os.WriteFile(filepath.Join(dir, "main.py"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	s.ps[0].tools("pack", "install", dir)
	task := s.ps[0].call("spy.main.look", "{}")
	look("the environment of a task", task.Result)
	if bytes.Contains(task.Result, []byte("PYTASKS_S")) || bytes.Contains(task.Result, []byte("XDG_RUNTIME")) {
		t.Errorf("a task's environment is %s", task.Result)
	}
}
