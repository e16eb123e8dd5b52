package node

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// hostileArchives are packs that try to get out of their folder, or to fill the disk.
func hostileArchives(t *testing.T) map[string][]byte {
	t.Helper()
	type file struct {
		name, text string
		mode       fs.FileMode
	}
	good := []file{
		{"package.json", `{"name": "evil", "version": "1", "kind": "command", "tasks": [{"name": "f", "argv": ["./run"]}]}`, 0o644},
		{"run", "#!/bin/sh\necho 1\n", 0o755},
	}
	build := func(extra ...file) []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, f := range append(good, extra...) {
			h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
			h.SetMode(f.mode)
			part, err := w.CreateHeader(h)
			if err == nil {
				_, err = part.Write([]byte(f.text))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	many := make([]file, 20_000)
	for i := range many {
		many[i] = file{"d/" + big.NewInt(int64(i)).String(), "", 0o644}
	}
	return map[string][]byte{
		"a path out of the folder": build(file{"../../../escaped", "x", 0o644}),
		"the same for Windows":     build(file{`..\..\escaped`, "x", 0o644}),
		"an absolute path":         build(file{"/tmp/escaped", "x", 0o644}),
		"a link":                   build(file{"link", "/etc", fs.ModeSymlink | 0o777}, file{"link/escaped", "x", 0o644}),
		"a device":                 build(file{"null", "", fs.ModeDevice | fs.ModeCharDevice | 0o666}),
		"a bomb":                   build(file{"zeros", strings.Repeat("\x00", 300<<20), 0o644}),
		"too many files":           build(many...),
		"half an archive":          build()[:100],
		"no archive":               []byte("not a zip"),
	}
}

// testCertificate makes a certificate for 127.0.0.1 that signs itself.
func testCertificate(t *testing.T, serial int64) (cert, key []byte, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), pool
}
