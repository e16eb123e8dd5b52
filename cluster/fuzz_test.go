package cluster

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
)

// bare is as much of a node as judges what comes from outside.
func bare() *Cluster {
	c := &Cluster{cfg: Config{ID: "self", Name: "self"}, log: slog.New(slog.DiscardHandler), book: newBook("self")}
	c.strangers = newStrangers(c.log)
	c.metrics = newMetrics(c, nil)
	c.gossip.changed = make(chan struct{}, 1)
	own := uuid.MustParse("00000000-0000-4000-8000-000000000001")
	c.cluster.Store(&own)
	c.life = context.Background()
	return c
}

// serveBytes has a server read raw while no handler returns, then lets them return.
func serveBytes(c *Cluster, raw []byte) error {
	gate := make(chan struct{})
	wait := func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		<-gate
		return body, ctx.Err()
	}
	c.methods = map[string]*method{"wait": {"wait", wait}}
	s := &server{c: c, from: "other", out: newFrameWriter(recorder{io.Discard}, time.Second),
		running: make(map[uint32]context.CancelFunc)}
	var handlers sync.WaitGroup
	ctx, cancel := context.WithCancel(c.life)
	err := s.read(ctx, newFrameReader(recorder{io.Discard}, bufio.NewReader(bytes.NewReader(raw)), time.Second), &handlers)
	cancel()
	close(gate)
	handlers.Wait()
	return err
}

// A request whose id is that of one that still runs ends the connection, and not the process.
func TestRequestThatComesTwice(t *testing.T) {
	twice := appendPair(appendPair(nil, kindRequest, 7, "wait", nil), kindRequest, 7, "wait", nil)
	if err := serveBytes(bare(), twice); err == nil || err == io.EOF {
		t.Errorf("got %v, want an error that says so", err)
	}
}

func FuzzServe(f *testing.F) {
	f.Add(appendPair(appendPair(nil, kindRequest, 7, "wait", []byte("x")), kindRequest, 8, "none", nil))
	f.Add(appendPair(appendPair(nil, kindRequest, 7, "wait", nil), kindRequest, 7, "wait", nil))
	f.Add(appendFrame(appendPair(nil, kindRequest, 7, "wait", nil), kindCancel, 7, nil))
	f.Add(appendFrame(appendFrame(nil, kindPing, 0, nil), 99, 1, []byte("x")))
	c := bare()
	f.Fuzz(func(t *testing.T, raw []byte) { serveBytes(c, raw) })
}

// FuzzDelegate: whatever members say of others, memberlist's delegate takes it, and the book keeps what was true of this
// node.
func FuzzDelegate(f *testing.F) {
	m := meta{cluster: uuid.MustParse("00000000-0000-4000-8000-000000000001"), boot: 3, name: "b", addr: "127.0.0.1:1"}
	f.Add("other.3", []byte{127, 0, 0, 1}, m.encode())
	f.Add("self.3", []byte{127, 0, 0, 1}, m.encode())
	f.Add("other.4", []byte{1}, m.encode())
	f.Add(".", []byte(nil), []byte{metaVersion})
	m.cluster = uuid.MustParse("00000000-0000-4000-8000-000000000002")
	f.Add("other.3", []byte{127, 0, 0, 1}, m.encode())
	f.Fuzz(func(t *testing.T, name string, addr, raw []byte) {
		c := bare()
		c.book.put("self", "127.0.0.1:9", meta{name: "self"}, true)
		d := delegate{c}
		n := &memberlist.Node{Name: name, Addr: net.IP(addr), Port: 1, Meta: raw}
		if d.NotifyAlive(n) == nil && d.NotifyMerge([]*memberlist.Node{n}) == nil {
			d.NotifyJoin(n)
			d.NotifyUpdate(n)
		}
		d.NotifyLeave(n)
		d.NotifyMsg(raw)
		d.MergeRemoteState(raw, true)
		for _, n := range c.book.all() {
			if n.id == "self" && (n.name != "self" || !n.alive || n.gossip != "127.0.0.1:9") {
				t.Errorf("%q with %x made this node %+v", name, raw, n)
			}
		}
		founders(c.book.all(), 1)
	})
}
