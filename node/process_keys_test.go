package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestProcessReferenceTokens: nodes that have the reference's variables take the tokens that its clients have, and give such.
func TestProcessReferenceTokens(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	public := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)})
	p := newProcess(t, "n1")
	p.env = append(p.env, "JWT_PRIVATE_PEM="+string(private), "JWT_PUBLIC_PEM="+string(public), "USE_JWT_EXPIRE=true", "JWT_EXPIRE_SEC=90")
	p.start()
	p.ready()
	made := func(claims jwt.MapClaims) string {
		t.Helper()
		token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	allowed := map[string]any{"test.main.myProtectedTask": true}
	const body = `{"type":"test.main.myProtectedTask","args":{"x":1,"y":2}}`
	for name, c := range map[string]struct {
		token  string
		status int
		says   string
	}{
		"as the reference makes it": {made(jwt.MapClaims{"allowed_tasks": allowed, "exp": fmt.Sprint(time.Now().Add(time.Minute).Unix())}), 200, `"result":3`},
		"expired":                   {made(jwt.MapClaims{"allowed_tasks": allowed, "exp": "1000000000"}), 401, "This token signature has expired."},
		"not allowed":               {made(jwt.MapClaims{"allowed_tasks": map[string]any{}, "exp": time.Now().Add(time.Minute).Unix()}), 403, "The payload in your JWT is not valid."},
		"denied": {made(jwt.MapClaims{"allowed_tasks": map[string]any{"test.main.myProtectedTask": 0}, "exp": time.Now().Add(time.Minute).Unix()}), 403,
			"You don't have permission to use this tasktype."},
	} {
		a := p.must(c.status, http.MethodPost, "/task?wait=5s", body, bearer(c.token)...)
		if !strings.Contains(string(a.body), c.says) {
			t.Errorf("%s: got %s, want %s in it", name, a.body, c.says)
		}
	}

	a := p.must(http.StatusOK, http.MethodGet, "/token", fmt.Sprintf(`{"user":"admin","password":%q}`, processes{p}.adminPassword()))
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(member(a.body, "token"), claims, func(*jwt.Token) (any, error) { return &key.PublicKey, nil }, jwt.WithValidMethods([]string{"RS256"})); err != nil {
		t.Fatalf("a token of the node: %v", err)
	}
	exp, err := claims.GetExpirationTime()
	if left := time.Until(exp.Time); err != nil || left > 91*time.Second || left < 60*time.Second || member(a.body, "exp") != fmt.Sprint(exp.Unix()) {
		t.Errorf("it ends in %s, %v; the answer says %s", left, err, a.body)
	}
	if a := p.must(http.StatusUnprocessableEntity, http.MethodPost, "/keys/rotate", "", bearer(member(a.body, "token"))...); !strings.Contains(string(a.body), "given to the nodes") {
		t.Errorf("a given key is rotated: %s", a.body)
	}
}

// TestProcessOwnPKI: nodes with certificates of their operators' own authority work, and let nobody in who has the secret but no
// certificate of it.
func TestProcessOwnPKI(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "own"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	caFile := write("ca.pem", "CERTIFICATE", der)
	leaf := func(name string) []string {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, ca, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return []string{"--tls-ca", caFile, "--tls-cert", write(name+".pem", "CERTIFICATE", der), "--tls-key", write(name+".key", "PRIVATE KEY", keyDER)}
	}
	ps := startMixed(t, leaf("a"), leaf("b"), leaf("c"))
	for i := range ps {
		ps[(i+1)%3].succeeded(ps[i].submit((&sum{number: i}).body()), 10*time.Second)
	}
	stranger := newProcess(t, "stranger", ps.joinFlags()...) // with the secret: it is in gossip, and nowhere else
	stranger.start()
	eventually(t, 20*time.Second, "the nodes see a stranger, at their door or at its own", func() error {
		for _, p := range ps {
			if strings.Contains(p.log(), "what=calls") || strings.Contains(p.log(), "what=dials") {
				return nil
			}
		}
		return fmt.Errorf("nobody has")
	})
	if a, err := send(stranger, http.MethodGet, "/readyz", ""); err == nil && a.status == http.StatusOK {
		t.Error("a node without a certificate of the authority is ready")
	}
}
