package secret

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// protocol is what both sides name in the handshake (ALPN).
	protocol = "pytasks/1"
	// leafLife is how long a node's certificate is valid; it is replaced after two thirds of that.
	leafLife = 24 * time.Hour
	// leafEarly is how much earlier than now it begins to be valid: clocks differ.
	leafEarly = time.Hour
	// serverName is in every certificate, and not looked at: a node is its id.
	serverName = "pytasks"
)

// ErrForeign is why a peer is refused that has no certificate of this cluster.
var ErrForeign = errors.New("it has no certificate of this cluster: it has another secret, or none")

// Identity is who a node is to others, made of the secrets in a ring: it follows the ring while that changes.
type Identity struct {
	ring *Ring
	node string // id
	now  func() time.Time

	mu   sync.Mutex
	leaf *tls.Certificate // guarded by mu
	of   Secret           // guarded by mu; that leaf was issued with
	pool *x509.CertPool   // guarded by mu; the authorities of all secrets
	cas  []Secret         // guarded by mu; those in pool
}

// NewIdentity returns the identity of the node with that id. now is its clock.
func NewIdentity(ring *Ring, node string, now func() time.Time) *Identity {
	return &Identity{ring: ring, node: node, now: now}
}

// Server returns what a node accepts connections with.
func (i *Identity) Server() *tls.Config {
	c := i.config()
	c.ClientAuth = tls.RequireAnyClientCert // verify judges it
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate() }
	return c
}

// Client returns what a node connects with. Who answers is in the connection's state, see PeerID.
func (i *Identity) Client() *tls.Config {
	c := i.config()
	c.InsecureSkipVerify = true // verify judges it
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certificate() }
	return c
}

func (i *Identity) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}, ServerName: serverName,
		SessionTicketsDisabled: true, // every connection is judged by what is honoured now
		VerifyConnection:       i.verify, Time: i.now,
	}
}

// verify judges the other side's certificate by all secrets that are honoured.
func (i *Identity) verify(s tls.ConnectionState) error {
	if s.NegotiatedProtocol != protocol || len(s.PeerCertificates) == 0 {
		return ErrForeign
	}
	pool, err := i.authorities()
	if err != nil {
		return err
	}
	return verifyLeaf(s.PeerCertificates[0], pool, nil, i.now())
}

func verifyLeaf(leaf *x509.Certificate, roots, between *x509.CertPool, now time.Time) error {
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("its certificate is not valid at this time, from %s to %s: are the clocks of both machines right?",
			leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339))
	case err != nil:
		return ErrForeign
	}
	return nil
}

// authorities returns those of all secrets.
func (i *Identity) authorities() (*x509.CertPool, error) {
	secrets := i.ring.Secrets()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pool != nil && equal(secrets, i.cas) {
		return i.pool, nil
	}
	pool := x509.NewCertPool()
	for _, s := range secrets {
		ca, _, err := s.authority()
		if err != nil {
			return nil, err
		}
		pool.AddCert(ca)
	}
	i.pool, i.cas = pool, secrets
	return pool, nil
}

func equal(a, b []Secret) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// certificate returns the node's own, a new one if the old one is two thirds over or the secret has changed.
func (i *Identity) certificate() (*tls.Certificate, error) {
	current, now := i.ring.Current(), i.now()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.leaf != nil && i.of == current {
		if left := i.leaf.Leaf.NotAfter.Sub(now); left > leafLife/3 && left <= leafLife {
			return i.leaf, nil
		}
	}
	leaf, err := current.issue(i.node, now)
	if err != nil {
		return nil, err
	}
	i.leaf, i.of = leaf, current
	return leaf, nil
}

// authority returns the certificate authority of a secret, the same on every node.
func (s Secret) authority() (*x509.Certificate, ed25519.PrivateKey, error) {
	key := ed25519.NewKeyFromSeed(s.derive("authority", ed25519.SeedSize))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pytasks " + s.ID()},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key) // ed25519 needs no randomness
	if err != nil {
		return nil, nil, fmt.Errorf("make the authority of the secret: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("make the authority of the secret: %w", err)
	}
	return cert, key, nil
}

// issue makes a certificate for a node.
func (s Secret) issue(node string, now time.Time) (*tls.Certificate, error) {
	ca, caKey, err := s.authority()
	if err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: node}, DNSNames: []string{serverName}, URIs: []*url.URL{nodeURI(node)},
		NotBefore: now.Add(-leafEarly), NotAfter: now.Add(leafLife), BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, ca, public, caKey)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, nil
}

const (
	uriScheme = "pytasks"
	uriHost   = "node"
)

func nodeURI(node string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: uriHost, Path: "/" + node}
}

// PeerID returns the id of the node at the other end, if its certificate names one, as "pytasks://node/<id>" among its URIs.
func PeerID(s tls.ConnectionState) (id string, ok bool) {
	if len(s.PeerCertificates) == 0 {
		return "", false
	}
	for _, u := range s.PeerCertificates[0].URIs {
		if u.Scheme == uriScheme && u.Host == uriHost {
			return strings.TrimPrefix(u.Path, "/"), true
		}
	}
	return "", false
}
