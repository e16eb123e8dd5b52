package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"

	"pytasks/cluster/secret"
)

// logBuffer keeps what a node logs.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func logged(cfg *Config) *logBuffer {
	l := &logBuffer{}
	cfg.Logger = slog.New(slog.NewTextHandler(l, nil))
	return l
}

// TestTrustStrangers: nodes with another secret, or none, find nobody; both sides say so, and not for each packet.
func TestTrustStrangers(t *testing.T) {
	for name, ring := range map[string]*secret.Ring{"another": secret.NewRing(secret.New()), "none": nil} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, "a")
			inside := logged(&cfg)
			a := open(t, cfg)
			leader(t, []*testNode{a})
			other := config(t, "stranger")
			other.Join, other.Secrets = gossipAddrs([]*testNode{a}), ring
			outside := logged(&other)
			stranger := open(t, other)
			eventually(t, "both say so", func() bool {
				return inside.count("another secret, or with none, tries to reach this one") > 0 && outside.count("has it another secret, or none?") > 0
			})
			_, addr := a.Addrs()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if conn, _, _, err := stranger.dialNode(ctx, protoCall, "", addr); err == nil {
				conn.Close()
				t.Error("the stranger can call")
			}
			if n := len(a.Members()); n != 1 {
				t.Errorf("a knows %d members, want itself", n)
			}
			if n := len(stranger.Members()); n != 1 {
				t.Errorf("the stranger knows %d members, want itself", n)
			}
			if n := inside.count("tries to reach this one"); n > 2 {
				t.Errorf("a said it %d times, want once for each port", n)
			}
		})
	}
}

// TestTrustBlame: only who speaks, and not as a member does, is called a stranger.
func TestTrustBlame(t *testing.T) {
	cfg := config(t, "a")
	log := logged(&cfg)
	a := open(t, cfg)
	leader(t, []*testNode{a})
	_, addr := a.Addrs()
	const calls = "tries to reach this one"
	for name, sent := range map[string]string{"a health check": "", "half a record": "\x16\x03\x01"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, sent)
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn) // until a has hung up
		conn.Close()
		if n := log.count(calls); n != 0 {
			t.Errorf("%s: a said %d times that a stranger knocks, want never", name, n)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var servers sync.WaitGroup
	defer servers.Wait()
	servers.Go(func() { // a member that stops: it takes the connection and hangs up
		if conn, err := l.Accept(); err == nil {
			conn.Close()
		}
		stranger := secret.NewIdentity(secret.NewRing(secret.New()), "x", time.Now).Server()
		if conn, err := l.Accept(); err == nil {
			tls.Server(conn, stranger).Handshake()
			conn.Close()
		}
	})
	for _, test := range []struct {
		name string
		want int
	}{{"a member that stops", 0}, {"a stranger", 1}} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if conn, _, _, err := a.dialNode(ctx, protoCall, "", l.Addr().String()); err == nil {
			conn.Close()
			t.Errorf("%s was taken for a member", test.name)
		}
		cancel()
		if n := log.count("at the address of a node is one with another secret"); n != test.want {
			t.Errorf("%s: said %d times, want %d", test.name, n, test.want)
		}
	}
	if n := log.count(calls); n != 0 {
		t.Errorf("a called those whom it dialled %d times strangers that knock", n)
	}
}

// TestTrustIdentity: a node that is of the cluster, but is not who it says, is refused on either side.
func TestTrustIdentity(t *testing.T) {
	a := open(t, config(t, "a"))
	leader(t, []*testNode{a})
	_, addr := a.Addrs()
	dial := func(change func(*Config), expect string) error {
		cfg := config(t, "b"+uuid.NewString()[:8])
		cfg.Join = gossipAddrs([]*testNode{a})
		change(&cfg)
		b := open(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		conn, _, _, err := b.dialNode(ctx, protoCall, expect, addr)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dial(func(cfg *Config) {}, a.cfg.ID); err != nil {
		t.Errorf("itself: %v", err)
	}
	if err := dial(func(cfg *Config) {}, uuid.NewString()); err == nil {
		t.Error("another node than the expected one answered, and was taken")
	}
	as := func(id string) func(*Config) {
		return func(cfg *Config) { cfg.Identity = secret.NewIdentity(cfg.Secrets, id, time.Now) }
	}
	if err := dial(as(uuid.NewString()), a.cfg.ID); err == nil {
		t.Error("a node with another one's certificate was let in")
	}
	if err := dial(func(cfg *Config) {
		cfg.Identity = secret.NewIdentity(cfg.Secrets, cfg.ID, func() time.Time { return time.Now().Add(-100 * time.Hour) })
	}, a.cfg.ID); err == nil {
		t.Error("an expired certificate was let in")
	}
}

// TestKeysFollow: keys are dropped wherever they stand, and while memberlist reads them (for -race to see).
func TestKeysFollow(t *testing.T) {
	a, b, c, d := secret.New(), secret.New(), secret.New(), secret.New()
	keyring, err := memberlist.NewKeyring(nil, a.GossipKey())
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				for _, key := range keyring.GetKeys() {
					_ = key[0]
				}
			}
		}
	}()
	for _, all := range [][]secret.Secret{{a, b, c, d}, {a, d}, {d, a, b}, {d, b}, {b}, {b, a, c}, {c}} {
		followKeys(keyring, all)
		keys := keyring.GetKeys()
		if len(keys) != len(all) {
			t.Errorf("%d keys for %d secrets", len(keys), len(all))
			continue
		}
		for i, s := range all {
			if !slices.ContainsFunc(keys, func(key []byte) bool { return bytes.Equal(key, s.GossipKey()) }) {
				t.Errorf("the key of secret %d of %d is missing", i, len(all))
			}
		}
		if !bytes.Equal(keys[0], all[0].GossipKey()) {
			t.Error("another key than that of the first secret is used")
		}
	}
	close(stop)
	<-stopped
}

// TestTrustRotation: while the nodes go over to another secret, one after the other, nothing that is proposed fails and nobody is
// lost; then the old one is void.
func TestTrustRotation(t *testing.T) {
	nodes := trio(t)
	old, next := testSecret(), secret.New()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	count := 0
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := nodes[1].CallLeader(t.Context(), "propose", []byte(fmt.Sprint("during ", count))); err != nil {
				t.Errorf("proposal %d: %v", count, err)
				return
			}
			count++
		}
	})
	steps := []func(*testNode){
		func(n *testNode) { n.cfg.Secrets.Add(next) },
		func(n *testNode) { n.cfg.Secrets.Use(next.ID()) },
		func(n *testNode) { n.cfg.Secrets.Drop(old.ID()) },
	}
	for _, step := range steps {
		for _, n := range nodes {
			step(n)
			n.breakLinks() // so that every connection is made anew with what is honoured now
			if _, err := n.CallLeader(t.Context(), "propose", []byte("between")); err != nil {
				t.Errorf("between: %v", err)
			}
		}
	}
	eventually(t, "all are alive to all", func() bool {
		for _, n := range nodes {
			for _, m := range n.Members() {
				if m.Status != Alive {
					return false
				}
			}
		}
		return true
	})
	close(stop)
	wg.Wait()
	if count == 0 {
		t.Error("nothing was proposed meanwhile")
	}
	late := config(t, "late")
	late.Join, late.Secrets = gossipAddrs(nodes), secret.NewRing(old)
	if n := open(t, late); len(n.Members()) != 1 {
		t.Error("the old secret still opens")
	}
	fresh := config(t, "fresh")
	fresh.Join, fresh.Secrets = gossipAddrs(nodes), secret.NewRing(next)
	waitVoters(t, append(nodes, open(t, fresh)), 3)
}

// breakLinks closes the connections that this node has opened for calls while none is under way.
func (n *testNode) breakLinks() {
	n.links.mu.Lock()
	defer n.links.mu.Unlock()
	for _, slot := range n.links.slots {
		if slot.link == nil {
			continue
		}
		slot.link.mu.Lock()
		idle := len(slot.link.waiting) == 0
		slot.link.mu.Unlock()
		if idle {
			slot.link.out.fail(errLinkClosed)
			slot.link = nil
		}
	}
}

// TestTrustGarbage: what makes no sense ends its connection and nothing else, with secrets and without.
func TestTrustGarbage(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint("plain ", plain), func(t *testing.T) {
			cfg := config(t, "a")
			if plain {
				cfg.Secrets = nil
			}
			a := open(t, cfg)
			leader(t, []*testNode{a})
			_, addr := a.Addrs()
			noise := make([]byte, 200_000)
			_, _ = rand.Read(noise)
			hello := func(id string, proto byte) []byte {
				var b recorded
				_ = writeHello(&b, proto, hello{cluster: a.clusterID(), id: id, boot: 1, expect: a.cfg.ID})
				return b.Bytes()
			}
			me := uuid.NewString()
			member := secret.NewIdentity(secret.NewRing(testSecret()), me, time.Now).Client()
			for name, sent := range map[string][]byte{
				"noise": noise, "nothing": nil, "a byte": {'C'}, "an unknown protocol": []byte("GET / HTTP/1.1\r\n\r\n"),
				"a hello of its full length": append([]byte{'C', 0xFF, 0xFF}, noise...), "an empty hello": {'R', 0, 0},
				"calls of noise":      append(hello(me, protoCall), noise...),
				"an enormous frame":   append(hello(me, protoCall), 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 1),
				"raft of noise":       append(hello(me, protoRaft), noise...),
				"another node's name": append(hello(a.cfg.ID, protoCall), noise...),
			} {
				for _, inside := range []bool{false, true} {
					if plain && inside {
						continue
					}
					conn, err := net.Dial("tcp", addr)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
					var to net.Conn = conn
					if inside {
						to = tls.Client(conn, member)
					}
					_, _ = to.Write(sent)
					if half, ok := conn.(*net.TCPConn); ok && !inside {
						_ = half.CloseWrite()
					}
					if name != "nothing" && name != "a byte" || !inside { // those wait for more
						_, _ = io.Copy(io.Discard, to)
					}
					conn.Close()
				}
			}
			if _, _, err := a.Propose(t.Context(), []byte("after")); err != nil {
				t.Errorf("after it all: %v", err)
			}
		})
	}
}

// recorded is a connection that keeps what is written.
type recorded struct {
	net.Conn
	bytes.Buffer
}

func (r *recorded) Write(p []byte) (int, error) { return r.Buffer.Write(p) }
func (r *recorded) Read(p []byte) (int, error)  { return r.Buffer.Read(p) }
