package secret

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// FileIdentity is who a node is by certificates of its operators' own authority.
type FileIdentity struct {
	caFile, certFile, keyFile string

	mu    sync.Mutex
	leaf  *tls.Certificate // guarded by mu
	roots *x509.CertPool   // guarded by mu
}

// NewFileIdentity reads PEM files: the authority, the node's certificate with what stands between the two, and its key, which
// others may not be able to read. Nodes whose certificates name an id (see PeerID) are known by it.
func NewFileIdentity(caFile, certFile, keyFile string) (*FileIdentity, error) {
	i := &FileIdentity{caFile: caFile, certFile: certFile, keyFile: keyFile}
	return i, i.Reload()
}

// Reload reads the files again. After an error everything is as it was.
func (i *FileIdentity) Reload() error {
	ca, err := os.ReadFile(i.caFile)
	if err != nil {
		return fmt.Errorf("read the authority of the nodes' certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s holds no certificate in PEM", i.caFile)
	}
	cert, err := os.ReadFile(i.certFile)
	if err != nil {
		return fmt.Errorf("read the node's certificate: %w", err)
	}
	key, err := readPrivate(i.keyFile)
	if err != nil {
		return fmt.Errorf("read the key of the node's certificate: %w", err)
	}
	leaf, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("read the node's certificate: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.leaf, i.roots = &leaf, roots
	return nil
}

// Server returns what a node accepts connections with.
func (i *FileIdentity) Server() *tls.Config {
	c := i.config()
	c.ClientAuth = tls.RequireAnyClientCert // verify judges it
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate(), nil }
	return c
}

// Client returns what a node connects with.
func (i *FileIdentity) Client() *tls.Config {
	c := i.config()
	c.InsecureSkipVerify = true // verify judges it
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certificate(), nil }
	return c
}

func (i *FileIdentity) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}, ServerName: serverName,
		SessionTicketsDisabled: true, VerifyConnection: i.verify,
	}
}

func (i *FileIdentity) certificate() *tls.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.leaf
}

func (i *FileIdentity) verify(s tls.ConnectionState) error {
	if s.NegotiatedProtocol != protocol || len(s.PeerCertificates) == 0 {
		return ErrForeign
	}
	i.mu.Lock()
	roots := i.roots
	i.mu.Unlock()
	between := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	return verifyLeaf(s.PeerCertificates[0], roots, between, time.Now())
}
