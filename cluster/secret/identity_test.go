package secret

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shake connects a client to a server and returns what each thinks of the other.
func shake(t *testing.T, server, client *tls.Config) (seen tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	done := make(chan error, 1)
	in := tls.Server(a, server)
	go func() {
		err := in.Handshake()
		if err == nil {
			_, err = in.Write([]byte("x"))
		}
		_ = a.(*net.TCPConn).CloseWrite()
		done <- err
	}()
	out := tls.Client(b, client)
	if clientErr = out.Handshake(); clientErr == nil {
		_, clientErr = out.Read(make([]byte, 1)) // what the server thinks comes after the handshake
	}
	_ = b.(*net.TCPConn).CloseWrite()
	serverErr = <-done
	return in.ConnectionState(), serverErr, clientErr
}

func TestIdentity(t *testing.T) {
	a, b := New(), New()
	now := time.Now()
	clock := func(d time.Duration) func() time.Time { return func() time.Time { return now.Add(d) } }
	server := NewIdentity(NewRing(a), "one", clock(0)).Server()
	for name, c := range map[string]struct {
		client *Identity
		ok     bool
	}{
		"same secret":           {NewIdentity(NewRing(a), "two", clock(0)), true},
		"clock an hour behind":  {NewIdentity(NewRing(a), "two", clock(-59*time.Minute)), true},
		"clock an hour ahead":   {NewIdentity(NewRing(a), "two", clock(59*time.Minute)), true},
		"expired":               {NewIdentity(NewRing(a), "two", clock(-leafLife-time.Minute)), false},
		"not valid yet":         {NewIdentity(NewRing(a), "two", clock(leafEarly+time.Minute)), false},
		"another secret":        {NewIdentity(NewRing(b), "two", clock(0)), false},
		"uses another secret":   {NewIdentity(NewRing(b, a), "two", clock(0)), false},
		"honours another, too":  {NewIdentity(NewRing(a, b), "two", clock(0)), true},
		"an id with characters": {NewIdentity(NewRing(a), "x/../y z%2F", clock(0)), true},
	} {
		t.Run(name, func(t *testing.T) {
			seen, serverErr, clientErr := shake(t, server, c.client.Client())
			if ok := serverErr == nil && clientErr == nil; ok != c.ok {
				t.Fatalf("the server says %v, the client %v; want agreement: %t", serverErr, clientErr, c.ok)
			}
			if id, ok := PeerID(seen); c.ok && (!ok || id != c.client.node) {
				t.Errorf("the server takes it for %q, want %q", id, c.client.node)
			}
		})
	}
}

// TestIdentityFollows: while the ring changes, new connections are judged by what it is then.
func TestIdentityFollows(t *testing.T) {
	a, b := New(), New()
	one, two := NewRing(a), NewRing(a)
	server, client := NewIdentity(one, "one", time.Now).Server(), NewIdentity(two, "two", time.Now).Client()
	want := func(when string, ok bool) {
		t.Helper()
		if _, serverErr, clientErr := shake(t, server, client); (serverErr == nil && clientErr == nil) != ok {
			t.Errorf("%s: the server says %v, the client %v; want agreement: %t", when, serverErr, clientErr, ok)
		}
	}
	want("at first", true)
	one.Add(b)
	two.Add(b)
	want("both honour both", true)
	one.Use(b.ID())
	want("one uses the new one", true)
	two.Use(b.ID())
	want("both use it", true)
	one.Drop(a.ID())
	want("one has dropped the old one", true)
	two.Use(a.ID())
	want("one goes back", false)
}

// TestIdentityRenews: a certificate is used for two thirds of its life.
func TestIdentityRenews(t *testing.T) {
	now := time.Now()
	i := NewIdentity(NewRing(New()), "one", func() time.Time { return now })
	leaf := func() *tls.Certificate {
		t.Helper()
		c, err := i.certificate()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := leaf()
	now = now.Add(leafLife*2/3 - time.Minute)
	if leaf() != first {
		t.Error("the certificate was replaced early")
	}
	now = now.Add(2 * time.Minute)
	second := leaf()
	if second == first || second.Leaf.NotAfter.Sub(now) < leafLife-time.Second {
		t.Errorf("the certificate is valid until %s, at %s", second.Leaf.NotAfter, now)
	}
	now = now.Add(-3 * leafLife) // a clock that is put back
	if third := leaf(); third == second || third.Leaf.NotBefore.After(now) {
		t.Error("the certificate is not valid yet")
	}
}

// TestForeign: certificates of nobody, and old protocols.
func TestForeign(t *testing.T) {
	s := New()
	server := NewIdentity(NewRing(s), "one", time.Now).Server()
	none := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}}
	self := none.Clone()
	self.Certificates = []tls.Certificate{*selfSigned(t, "pytasks://node/one")}
	old := NewIdentity(NewRing(s), "two", time.Now).Client()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	other := NewIdentity(NewRing(s), "two", time.Now).Client()
	other.NextProtos = nil
	for name, client := range map[string]*tls.Config{"none": none, "self-made": self, "TLS 1.2": old, "no protocol": other} {
		if _, err, _ := shake(t, server, client); err == nil {
			t.Errorf("%s: the server agrees", name)
		}
	}
	fake := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}, Certificates: self.Certificates, ClientAuth: tls.RequestClientCert}
	if _, _, err := shake(t, fake, NewIdentity(NewRing(s), "two", time.Now).Client()); !errors.Is(err, ErrForeign) {
		t.Errorf("a client of a self-made server: got %v, want ErrForeign", err)
	}
}

func selfSigned(t *testing.T, uri string) *tls.Certificate {
	t.Helper()
	cert, _, key := newPair(t, nil, nil, uri)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// newPair makes a certificate of an authority, or one that signs itself.
func newPair(t *testing.T, ca *x509.Certificate, caKey *ecdsa.PrivateKey, uri string) (*x509.Certificate, []byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: uri}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: ca == nil,
	}
	if uri != "" {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = []*url.URL{u}
	}
	if ca == nil {
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

func TestFileIdentity(t *testing.T) {
	dir := t.TempDir()
	ca, caPEM, caKey := newPair(t, nil, nil, "")
	files := func(name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey, uri string) (certFile, keyFile string) {
		_, cert, key := newPair(t, ca, caKey, uri)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
		for file, text := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return certFile, keyFile
	}
	caFile := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, caPEM, 0o644); err != nil {
		t.Fatal(err)
	}
	open := func(certFile, keyFile string) *FileIdentity {
		t.Helper()
		i, err := NewFileIdentity(caFile, certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	oneCert, oneKey := files("one", ca, caKey, "")
	one := open(oneCert, oneKey)
	two := open(files("two", ca, caKey, "pytasks://node/two"))
	seen, serverErr, clientErr := shake(t, one.Server(), two.Client())
	if id, _ := PeerID(seen); serverErr != nil || clientErr != nil || id != "two" {
		t.Errorf("got %v, %v, id %q", serverErr, clientErr, id)
	}
	if seen, _, _ := shake(t, two.Server(), one.Client()); seen.HandshakeComplete {
		if id, ok := PeerID(seen); ok {
			t.Errorf("a certificate without an id gives %q", id)
		}
	}
	stranger := open(files("stranger", nil, nil, "pytasks://node/two"))
	if _, err, _ := shake(t, one.Server(), stranger.Client()); err == nil {
		t.Error("another authority's node is let in")
	}
	if err := os.Chmod(oneKey, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := one.Reload(); err == nil || !strings.Contains(err.Error(), "chmod 0600") {
		t.Errorf("a key that all can read: got %v", err)
	}
	if _, serverErr, clientErr := shake(t, one.Server(), two.Client()); serverErr != nil || clientErr != nil {
		t.Errorf("after a reload that failed: %v, %v", serverErr, clientErr)
	}
}
