package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	dialTimeout = 3 * time.Second
	redialMin   = 50 * time.Millisecond
	redialMax   = time.Second
)

// link is the calling side of one connection.
type link struct {
	id      string // node at the other end
	addr    string
	out     *frameWriter
	down    chan struct{} // closed when broken
	answers *sync.Pool    // of channels with capacity one

	mu      sync.Mutex
	next    uint32                 // guarded by mu: last request id
	waiting map[uint32]chan answer // guarded by mu; nil = broken
}

type answer struct {
	body []byte
	err  error
}

// call sends one request and waits for its answer. Errors before the request left are ErrUnreachable, later ones are
// ErrUnknown, those of the handler *RemoteError.
func (l *link) call(ctx context.Context, method string, body []byte) ([]byte, error) {
	ch := l.answers.Get().(chan answer)
	l.mu.Lock()
	if l.waiting == nil {
		l.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, errLinkClosed)
	}
	l.next++
	id := l.next
	l.waiting[id] = ch
	l.mu.Unlock()

	if err := l.out.sendPair(kindRequest, id, method, body); err != nil {
		if l.abandon(id) {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		<-ch
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	select {
	case a := <-ch:
		l.answers.Put(ch)
		return a.body, a.err
	case <-ctx.Done():
	}
	if !l.abandon(id) { // the answer came at the same moment
		a := <-ch
		l.answers.Put(ch)
		return a.body, a.err
	}
	l.answers.Put(ch)
	l.out.send(kindCancel, id, nil)
	return nil, unknown("no answer", context.Cause(ctx))
}

// abandon takes a request off the list; false means that its answer is already on the way to its channel.
func (l *link) abandon(id uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.waiting[id]
	delete(l.waiting, id)
	return ok
}

// read delivers answers until the connection ends, then fails what still waits.
func (l *link) read(in *frameReader) error {
	for {
		kind, id, payload, err := in.next()
		if err != nil {
			return err
		}
		var a answer
		switch kind {
		case kindResponse:
			a.body = payload
		case kindError:
			code, message, err := splitPair(payload)
			if err != nil {
				return err
			}
			a.err = &RemoteError{code: string(code), message: string(message)}
		case kindPing:
			continue
		default:
			return fmt.Errorf("unexpected frame of kind %d", kind)
		}
		l.mu.Lock()
		ch := l.waiting[id]
		delete(l.waiting, id)
		l.mu.Unlock()
		if ch != nil {
			ch <- a
		}
	}
}

func (l *link) fail(err error) {
	close(l.down)
	l.out.fail(err)
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, ch := range waiting {
		ch <- answer{err: unknown("link to node "+l.id+" broke", err)}
	}
}

// linkSlot is what the caller side keeps about one node.
type linkSlot struct {
	link    *link         // nil = none
	dialing chan struct{} // closed when the dial in flight ends; nil = none
	addr    string        // that err is about
	err     error         // of the last dial
	pause   time.Duration // no new dial before retry
	retry   time.Time
}

// linkTable holds one link per node that was called.
type linkTable struct {
	answers sync.Pool // of chan answer, for all links

	mu    sync.Mutex
	slots map[string]*linkSlot // guarded by mu
}

// link returns the open link to a node, dialling it if there is none.
func (c *Cluster) link(ctx context.Context, id string) (*link, error) {
	for {
		addr, ok := c.book.addr(id)
		if !ok {
			return nil, fmt.Errorf("%w: %w: %s", ErrUnreachable, ErrUnknownMember, id)
		}
		t := &c.links
		t.mu.Lock()
		slot := t.slots[id]
		if slot == nil {
			slot = &linkSlot{}
			t.slots[id] = slot
		}
		if slot.link != nil && slot.link.addr == addr {
			l := slot.link
			t.mu.Unlock()
			return l, nil
		}
		if slot.err != nil && slot.addr == addr && time.Now().Before(slot.retry) {
			err := slot.err
			t.mu.Unlock()
			return nil, err
		}
		if slot.dialing == nil {
			if c.life.Err() != nil {
				t.mu.Unlock()
				return nil, ErrClosed
			}
			slot.dialing = make(chan struct{})
			c.wg.Go(func() { c.dial(id, addr, slot) })
		}
		dialing := slot.dialing
		t.mu.Unlock()
		select {
		case <-dialing:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
		}
	}
}

// dial opens the link of a slot and serves it until it breaks. It does not end with the caller that caused it: others
// may wait for it too.
func (c *Cluster) dial(id, addr string, slot *linkSlot) {
	ctx, cancel := context.WithTimeout(c.life, dialTimeout)
	l, in, err := c.dialLink(ctx, id, addr)
	cancel()

	t := &c.links
	t.mu.Lock()
	old := slot.link
	close(slot.dialing)
	slot.dialing, slot.link, slot.addr, slot.err = nil, l, addr, err
	if err != nil {
		slot.pause = min(max(2*slot.pause, redialMin), redialMax)
		slot.retry = time.Now().Add(slot.pause)
	} else {
		slot.pause = 0
	}
	t.mu.Unlock()
	if old != nil {
		old.out.fail(errLinkClosed) // the node moved
	}
	if err != nil {
		c.log.Debug("dial failed", "node", id, "addr", addr, "err", err)
		return
	}

	c.wg.Go(func() { l.out.keepAlive(c.cfg.Timing.Keepalive, l.down) })
	err = l.read(in)
	t.mu.Lock()
	if slot.link == l {
		slot.link = nil
	}
	t.mu.Unlock()
	l.fail(err)
	if c.life.Err() == nil {
		c.log.Debug("link to node ended", "node", id, "addr", addr, "err", err)
		c.linkDown(id)
	}
}

func (c *Cluster) dialLink(ctx context.Context, id, addr string) (*link, *frameReader, error) {
	conn, r, _, err := c.dialNode(ctx, protoCall, id, addr)
	if err != nil {
		return nil, nil, err
	}
	silence := 5 * c.cfg.Timing.Keepalive
	l := &link{id: id, addr: addr, out: newFrameWriter(conn, silence), down: make(chan struct{}),
		answers: &c.links.answers, waiting: make(map[uint32]chan answer)}
	return l, newFrameReader(conn, r, silence), nil
}

// dialNode connects to addr and exchanges hellos. ctx must have a deadline; it bounds both.
func (c *Cluster) dialNode(ctx context.Context, proto byte, expect, addr string) (net.Conn, *bufio.Reader, hello, error) {
	conn, err := c.cfg.Network.Dial(ctx, addr)
	if err != nil {
		kind := ErrUnreachable
		if errors.Is(err, syscall.ECONNREFUSED) {
			kind = ErrRefused
		}
		return nil, nil, hello{}, fmt.Errorf("dial %s: %w: %w", addr, kind, err)
	}
	conn, ok := c.mux.track(conn)
	if !ok {
		return nil, nil, hello{}, ErrClosed
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	conn, err = c.dialled(conn, expect)
	if err != nil {
		conn.Close()
		return nil, nil, hello{}, fmt.Errorf("greet %s: %w: %w", addr, ErrUnreachable, err)
	}
	r, h, err := c.connect(conn, proto, expect, deadline)
	if err != nil {
		conn.Close()
		return nil, nil, h, fmt.Errorf("greet %s: %w: %w", addr, ErrUnreachable, err)
	}
	return conn, r, h, nil
}
