package node

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pytasks/cluster/secret"
	"pytasks/node/config"
)

func TestProcessSecretRotation(t *testing.T) {
	old := secret.New()
	file := secretFile(t, old)
	ps := startCluster(t, 3, "--secret-file", file)
	s := &siege{ps: ps, secret: old, admin: ps[0].login(config.FirstUser, ps.adminPassword())}
	token := s.user(t, "steady", nil, []string{"*"})
	done := s.load(t, token)
	out := ps[1].tools("secret", "rotate", "--token", s.admin)
	done()
	next, err := secret.Parse(strings.TrimSpace(strings.SplitN(out, "\n", 2)[0]))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, c := range []struct {
		name   string
		secret secret.Secret
		in     bool
	}{{"old", old, false}, {"new", next, true}} {
		p := newProcess(t, "with-"+c.name, append(ps.joinFlags(), "--secret-file", secretFile(t, c.secret))...)
		p.start()
		if c.in {
			p.ready()
			continue
		}
		eventually(t, 30*time.Second, "the old secret is refused", func() error {
			if !strings.Contains(p.log(), "secret") {
				return fmt.Errorf("its log says %s", p.log())
			}
			return nil
		})
		if a, err := send(p, http.MethodGet, "/readyz", ""); err == nil && a.status == http.StatusOK {
			t.Error("a node with the old secret is ready")
		}
		p.kill()
	}
	for _, p := range ps { // with the file that still has the old one
		p.stop()
		p.start()
		p.ready()
	}
	if !strings.Contains(ps[0].log(), "has been replaced") {
		t.Error("a node that was given the old secret does not say that it is replaced")
	}
	if shown := strings.TrimSpace(ps[0].tools("secret", "show", "--data-dir", filepath.Join(ps[0].dir, "data"))); shown != next.Text() {
		t.Error("secret show prints another secret")
	}
	ps[2].must(http.StatusOK, http.MethodPost, "/task?wait=10s", `{"type":"test.main.myProtectedTask","args":{"x":1,"y":2}}`, bearer(token)...)
}

func TestProcessHTTPS(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first := writeCertificate(t, cert, key, 1)
	const most = 8 // connections
	p := newProcess(t, "secure", "--http-tls-cert", cert, "--http-tls-key", key, "--max-connections", fmt.Sprint(most))
	p.start()
	serial := func(pool *x509.CertPool) (*big.Int, error) {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(p.http, "http://"), &tls.Config{RootCAs: pool})
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber, nil
	}
	want := func(pool *x509.CertPool, number int64) {
		t.Helper()
		eventually(t, 15*time.Second, "the certificate is shown", func() error {
			got, err := serial(pool)
			if err == nil && got.Int64() != number {
				err = fmt.Errorf("it is number %v", got)
			}
			return err
		})
	}
	want(first, 1)
	second := writeCertificate(t, cert, key, 2)
	p.signal(syscall.SIGHUP)
	want(second, 2)
	if err := os.WriteFile(cert, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	eventually(t, 10*time.Second, "the node says that it cannot read it", func() error {
		if !strings.Contains(p.log(), "stays as it was") {
			return fmt.Errorf("its log says %s", p.log())
		}
		return nil
	})
	want(second, 2)

	// Beyond the limit connections wait until others end.
	var held []net.Conn
	for range most {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.http, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		held = append(held, conn)
	}
	handshake := func(patience time.Duration) error {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{RootCAs: second}}
		conn, err := d.Dial("tcp", strings.TrimPrefix(p.http, "http://"))
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := handshake(500 * time.Millisecond); err == nil {
		t.Errorf("connection %d was served", most+1)
	}
	held[0].Close()
	if err := handshake(10 * time.Second); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) *x509.CertPool {
	t.Helper()
	cert, key, pool := testCertificate(t, serial)
	for file, text := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return pool
}
