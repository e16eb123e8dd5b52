package simnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"
)

// wait passes virtual time until ok, at most limit.
func wait(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// bad makes a network on which nothing is perfect.
func bad(n *Network) {
	n.SetDelay(time.Millisecond, 20*time.Millisecond)
	n.SetLoss(0.02)
	n.SetDuplicate(0.05)
}

func TestMemberlist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(7)
		bad(n)
		var ips []string
		lists := make(map[string]*memberlist.Memberlist)
		start := func(ip string) {
			transport, err := n.Host(ip).Gossip(ip+":7946", nil)
			if err != nil {
				t.Fatal(err)
			}
			conf := memberlist.DefaultLANConfig()
			conf.Name, conf.BindAddr, conf.Transport = ip, ip, transport
			conf.Logger = log.New(io.Discard, "", 0)
			conf.DeadNodeReclaimTime = time.Second
			if lists[ip], err = memberlist.Create(conf); err != nil {
				t.Fatal(err)
			}
		}
		// see reports whether each of these hosts sees exactly these.
		see := func(ips ...string) func() bool {
			return func() bool {
				for _, ip := range ips {
					var seen []string
					for _, m := range lists[ip].Members() {
						seen = append(seen, m.Name)
					}
					slices.Sort(seen)
					if !slices.Equal(seen, ips) {
						return false
					}
				}
				return true
			}
		}
		join := func(ip, to string) {
			wait(t, ip+" joins", time.Minute, func() bool {
				_, err := lists[ip].Join([]string{to + ":7946"})
				return err == nil
			})
		}
		for i := range 5 {
			ips = append(ips, fmt.Sprintf("10.0.0.%d", i+1))
			start(ips[i])
			join(ips[i], ips[0])
		}
		wait(t, "all see all", time.Minute, see(ips...))

		n.Host(ips[4]).Crash()
		lists[ips[4]].Shutdown()
		wait(t, "the crash is noticed", time.Minute, see(ips[:4]...))
		start(ips[4])
		join(ips[4], ips[1])
		wait(t, "the restarted one is seen", time.Minute, see(ips...))

		n.Partition(ips[:2], ips[2:])
		wait(t, "the larger part is alone", time.Minute, see(ips[2:]...))
		wait(t, "the smaller part is alone", time.Minute, see(ips[:2]...))
		n.HealAll()
		join(ips[0], ips[4])
		wait(t, "the parts are one again", time.Minute, see(ips...))

		if s := n.Stats(); s.PacketsLost == 0 || s.PacketsCut == 0 || s.PacketsDuplicated == 0 {
			t.Errorf("faults without effect: %+v", s)
		}
		for _, list := range lists {
			list.Shutdown()
		}
		time.Sleep(time.Minute) // its goroutines end within its timeouts
	})
}

// layer is a raft.StreamLayer.
type layer struct {
	net.Listener
	host *Host
}

func (l layer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return l.host.Dial(ctx, string(addr))
}

func ipOf(s raft.Server) string { return strings.TrimSuffix(string(s.Address), ":8300") }

// count is a state machine.
type count struct {
	raft.MockFSM
	applied atomic.Int64
}

func (c *count) Apply(entry *raft.Log) any {
	c.applied.Add(1)
	return c.MockFSM.Apply(entry)
}

func TestRaft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(3)
		bad(n)
		var servers []raft.Server
		for i := range 3 {
			addr := fmt.Sprintf("10.0.0.%d:8300", i+1)
			servers = append(servers, raft.Server{ID: raft.ServerID(addr), Address: raft.ServerAddress(addr)})
		}
		var nodes []*raft.Raft
		var states []*count
		var transports []*raft.NetworkTransport
		logger := hclog.NewNullLogger()
		for _, s := range servers {
			host := n.Host(ipOf(s))
			l, err := host.Listen(string(s.Address))
			if err != nil {
				t.Fatal(err)
			}
			transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
				Stream: layer{l, host}, MaxPool: 3, Timeout: 10 * time.Second, Logger: logger,
				MaxRPCsInFlight: 1, // raft's pipelines can hang when a follower refuses entries, and Shutdown with them
			})
			conf := raft.DefaultConfig()
			conf.LocalID, conf.Logger = s.ID, logger
			store, state := raft.NewInmemStore(), &count{}
			node, err := raft.NewRaft(conf, state, store, store, raft.NewInmemSnapshotStore(), transport)
			if err != nil {
				t.Fatal(err)
			}
			if err := node.BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
				t.Fatal(err)
			}
			nodes, states, transports = append(nodes, node), append(states, state), append(transports, transport)
		}
		leader := func(among ...int) (at int) {
			at = -1
			wait(t, "election", time.Minute, func() bool {
				for _, i := range among {
					if nodes[i].State() == raft.Leader && nodes[i].VerifyLeader().Error() == nil {
						at = i
					}
				}
				return at >= 0
			})
			return at
		}
		commit := func(at int) {
			if err := nodes[at].Apply([]byte("x"), time.Minute).Error(); err != nil {
				t.Fatalf("apply: %v", err)
			}
		}

		first := leader(0, 1, 2)
		for range 100 {
			commit(first)
		}
		n.Isolate(ipOf(servers[first]))
		second := leader(slices.DeleteFunc([]int{0, 1, 2}, func(i int) bool { return i == first })...)
		commit(second)
		if err := nodes[first].Apply([]byte("y"), time.Minute).Error(); err == nil {
			t.Error("the isolated leader commits")
		}
		n.HealAll()
		wait(t, "all apply all", 2*time.Minute, func() bool {
			return !slices.ContainsFunc(states, func(s *count) bool { return s.applied.Load() != 101 })
		})
		for i, node := range nodes {
			if err := node.Shutdown().Error(); err != nil {
				t.Errorf("shutdown: %v", err)
			}
			transports[i].Close()
			n.Host(ipOf(servers[i])).Crash() // the transport leaves its connections open
		}
	})
}

func TestHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(5)
		bad(n)
		host := n.Host("10.0.0.1")
		l := listen(t, host, ":8080")
		release := make(chan struct{})
		server := &http.Server{ReadTimeout: 30 * time.Second, Handler: http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hang" {
					w.(http.Flusher).Flush()
					<-release
					return
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Errorf("read the request: %v", err)
				}
				w.Write(body)
			})}
		served := make(chan error)
		go func() { served <- server.Serve(l) }()
		dialer := n.Host("10.0.0.9")
		transport := &http.Transport{DialContext: dialer.DialContext}
		client := &http.Client{Transport: transport, Timeout: 10 * time.Minute}

		for _, size := range []int{0, 1, 100_000, 3 << 20} {
			body := bytes.Repeat([]byte("x"), size)
			answer, err := client.Post("http://10.0.0.1:8080/", "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("got %d bytes, %v, want %d", len(got), err, size)
			}
		}

		answer, err := client.Get("http://10.0.0.1:8080/hang")
		if err != nil {
			t.Fatal(err)
		}
		host.Crash()
		if _, err := io.ReadAll(answer.Body); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("crash during an answer: got %v, want %v", err, syscall.ECONNRESET)
		}
		answer.Body.Close()
		if _, err := client.Get("http://10.0.0.1:8080/"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("after the crash: got %v, want %v", err, syscall.ECONNREFUSED)
		}
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: got %v, want %v", err, net.ErrClosed)
		}
		close(release)
		server.Close()
		transport.CloseIdleConnections()
	})
}
