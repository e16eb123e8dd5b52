package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"pytasks/cluster/secret"
)

const (
	// maxShaking is how many connections may be in their handshake at once: strangers are to cost little.
	maxShaking = 256
	// strangersEvery is how often it is said that strangers knock.
	strangersEvery = time.Minute
)

// accepted secures a connection that was accepted, and returns who is at the other end, "" if that is not certified. Without
// secrets it leaves the connection as it is.
func (c *Cluster) accepted(conn net.Conn) (net.Conn, string, error) {
	if c.cfg.Identity == nil {
		return conn, "", nil
	}
	secure := tls.Server(conn, c.cfg.Identity.Server())
	if err := secure.Handshake(); err != nil { // the connection has a deadline
		return nil, "", err
	}
	id, _ := secret.PeerID(secure.ConnectionState())
	return secure, id, nil
}

// dialled secures a connection to the node that is expected, "" = whoever answers. After an error the connection is what it was.
func (c *Cluster) dialled(conn net.Conn, expect string) (net.Conn, error) {
	if c.cfg.Identity == nil {
		return conn, nil
	}
	secure := tls.Client(conn, c.cfg.Identity.Client())
	if err := secure.Handshake(); err != nil { // the connection has a deadline
		if foreign(err) {
			c.strangers.note("dials", conn.RemoteAddr().String()+": "+err.Error())
		}
		return conn, err
	}
	if id, ok := secret.PeerID(secure.ConnectionState()); ok && expect != "" && id != expect {
		return conn, fmt.Errorf("%w: node %s has answered", ErrReplaced, id)
	}
	return secure, nil
}

// foreign says whether a handshake failed as the other side is none of ours: not because the connection ended or was slow,
// as those of members that stop are and do, and those of health checks.
func foreign(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	var op *net.OpError
	return !errors.As(err, &op) || op.Op == "remote error" // that is the other side's judgement
}

// lockGossip has gossip encrypted, with the keys of all secrets, of which the first is used. They are followed.
func (c *Cluster) lockGossip(conf *memberlist.Config) error {
	if c.cfg.Secrets == nil {
		return nil
	}
	keyring, err := memberlist.NewKeyring(nil, c.cfg.Secrets.Current().GossipKey())
	if err != nil {
		return fmt.Errorf("encrypt gossip: %w", err)
	}
	conf.Keyring, conf.GossipVerifyIncoming, conf.GossipVerifyOutgoing = keyring, true, true
	c.cfg.Secrets.Watch(func(all []secret.Secret) { followKeys(keyring, all) })
	return nil
}

// followKeys makes the keys of secrets those of a keyring: a key is added before it is used, and used before another is dropped.
func followKeys(keyring *memberlist.Keyring, all []secret.Secret) {
	for _, s := range all {
		_ = keyring.AddKey(s.GossipKey()) // its length is right
	}
	_ = keyring.UseKey(all[0].GossipKey())
	if len(keyring.GetKeys()) == len(all) {
		return
	}
	// memberlist closes the gap of a removed key in the slice that it is reading elsewhere: there must be none. A key that
	// is used goes to the front, so that at last those that are not wanted are at the end.
	for _, s := range slices.Backward(all) {
		_ = keyring.UseKey(s.GossipKey())
	}
	for _, key := range slices.Backward(keyring.GetKeys()[len(all):]) {
		_ = keyring.RemoveKey(key)
	}
}

// otherSecret says whether a line of memberlist's is about somebody whose key is another, or who has none.
func otherSecret(line string) bool {
	return strings.Contains(line, "decrypt") || strings.Contains(line, "Decrypt") || strings.Contains(line, "not encrypted") || strings.Contains(line, "is encrypted and")
}

// noteJoinFailed tells why a node that was asked did not take this one in. Who has another secret hangs up without a word.
func (c *Cluster) noteJoinFailed(err error) {
	text := err.Error()
	hungUp := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || strings.HasSuffix(strings.TrimSpace(text), "EOF") ||
		strings.Contains(text, "connection reset")
	if hungUp || otherSecret(text) {
		c.strangers.note("join", text)
	}
	c.log.Debug("join failed", "err", err)
}

// strangers tells now and then of those who have another secret: not of each of their packets.
type strangers struct {
	log *slog.Logger

	mu   sync.Mutex
	said map[string]time.Time // when, by what they tried; guarded by mu
	more map[string]int       // of what since then; guarded by mu
	all  *prometheus.CounterVec
}

func newStrangers(log *slog.Logger) *strangers {
	all := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pytasks_cluster_strangers_total",
		Help: "What failed as one side has another secret, or none: gossip and calls of others with this node; dials and join, of this node with others.",
	}, []string{"what"})
	for _, what := range []string{"gossip", "calls", "dials", "join"} {
		all.WithLabelValues(what)
	}
	return &strangers{log: log, said: map[string]time.Time{}, more: map[string]int{}, all: all}
}

// due says whether something is to be said again, and notes that it was.
func (s *strangers) due(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	due := now.Sub(s.said[what]) >= strangersEvery
	if due {
		s.said[what] = now
	}
	return due
}

// note is told that somebody tried something: "gossip" or "calls" with this node; that one which
// this node has dialled is none of ours, "dials"; or that this node was not taken in, "join".
func (s *strangers) note(what, text string) {
	s.all.WithLabelValues(what).Inc()
	s.mu.Lock()
	left, now := s.more[what], time.Now()
	due := now.Sub(s.said[what]) >= strangersEvery
	if due {
		s.said[what], s.more[what] = now, 0
	} else {
		s.more[what]++
	}
	s.mu.Unlock()
	if !due {
		s.log.Debug("a stranger", "what", what, "err", text)
		return
	}
	message := "a node with another secret, or with none, tries to reach this one"
	switch what {
	case "dials":
		message = "at the address of a node is one with another secret, or with none"
	case "join":
		message = "a node that this one asked to be taken in hung up: has it another secret, or none? Give all nodes the same --secret-file"
	}
	s.log.Warn(message, "what", what, "err", text, "left_out", left)
}
