package node

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"

	"golang.org/x/net/netutil"

	"pytasks/node/config"
)

// certificate is that of the REST API, as its files were when it was last read.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

func openCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	return c, c.reload()
}

// reload reads the files again. After an error the certificate is what it was.
func (c *certificate) reload() error {
	if err := config.CheckPrivate(c.keyFile); err != nil {
		return fmt.Errorf("--http-tls-key: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read the certificate for HTTPS: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// openHTTP listens for the REST API, with no more connections at once than it may have.
func (n *Node) openHTTP() error {
	bound, err := n.host.listen(n.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("listen for HTTP on %s: %w: is another node running? choose another --http", n.cfg.HTTP, err)
	}
	n.onClose(func() error { return ignoreClosed(bound.Close()) })
	n.listener = netutil.LimitListener(bound, n.cfg.MaxConnections)
	if n.cfg.HTTPTLSCert == "" {
		return nil
	}
	if n.certificate, err = openCertificate(n.cfg.HTTPTLSCert, n.cfg.HTTPTLSKey); err != nil {
		return err
	}
	n.listener = tls.NewListener(n.listener, n.certificate.config())
	return nil
}

// Reload reads the node's certificates again. SetLogLevel changes the other thing that may change while it runs.
func (n *Node) Reload() {
	reload := func(what string, f func() error) {
		if err := f(); err != nil {
			n.log.Error("a certificate stays as it was", "of", what, "err", err)
			return
		}
		n.log.Info("certificate read again", "of", what)
	}
	if n.certificate != nil {
		reload("HTTPS", n.certificate.reload)
	}
	if n.identity != nil {
		reload("the cluster port", n.identity.Reload)
	}
}

// URL is where the node's REST API is, as others reach it.
func (n *Node) URL() string {
	scheme := "http://"
	if n.certificate != nil {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(n.listener.Addr().String())
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsUnspecified() || n.cluster == nil {
		return scheme + n.listener.Addr().String()
	}
	_, addr := n.cluster.Addrs()
	if advertised, _, err := net.SplitHostPort(addr); err == nil {
		host = advertised
	}
	return scheme + net.JoinHostPort(host, port)
}
