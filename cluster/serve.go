package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// method is a handler and its name, so that serving a request needs no string of its own.
type method struct {
	name string
	run  Handler
}

// server is one accepted connection and the requests that run on it.
type server struct {
	c    *Cluster
	from string // node id from the hello
	out  *frameWriter

	mu      sync.Mutex
	running map[uint32]context.CancelFunc // guarded by mu
	used    bool                          // read loop only: a frame arrived, so this was no probe
}

// serve answers the calls of one connection until it ends, then ends their contexts and waits for them.
func (c *Cluster) serve(ctx context.Context, conn net.Conn, r *bufio.Reader, from string) {
	silence := 5 * c.cfg.Timing.Keepalive
	s := &server{c: c, from: from, out: newFrameWriter(conn, silence), running: make(map[uint32]context.CancelFunc)}
	ctx, cancel := context.WithCancel(ctx)
	var handlers sync.WaitGroup
	handlers.Go(func() { s.out.keepAlive(c.cfg.Timing.Keepalive, ctx.Done()) })

	err := s.read(ctx, newFrameReader(conn, r, silence), &handlers)
	cancel()
	s.out.fail(err)
	handlers.Wait()
	if s.used && c.life.Err() == nil {
		c.log.Debug("link from node ended", "node", from, "err", err)
		c.linkDown(from)
	}
}

func (s *server) read(ctx context.Context, in *frameReader, handlers *sync.WaitGroup) error {
	for {
		kind, id, payload, err := in.next()
		if err != nil {
			return err
		}
		s.used = true
		switch kind {
		case kindRequest:
			name, body, err := splitPair(payload)
			if err != nil {
				return err
			}
			m, ok := s.c.methods[string(name)]
			if !ok {
				err := fmt.Errorf("%w: %q", ErrNoMethod, name)
				s.out.sendPair(kindError, id, ErrNoMethod.code, []byte(err.Error()))
				continue
			}
			ctx, ok := s.begin(ctx, id)
			if !ok { // no node of ours does that
				return fmt.Errorf("request %d came again while it ran", id)
			}
			handlers.Go(func() { s.answer(ctx, m, id, body) })
		case kindCancel:
			s.mu.Lock()
			cancel := s.running[id]
			s.mu.Unlock()
			if cancel != nil {
				cancel()
			}
		case kindPing:
		default:
			return fmt.Errorf("unexpected frame of kind %d", kind)
		}
	}
}

// begin notes a request as running; false = one with its id does already.
func (s *server) begin(ctx context.Context, id uint32) (context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[id] != nil {
		return nil, false
	}
	ctx, s.running[id] = context.WithCancel(ctx)
	return ctx, true
}

func (s *server) answer(ctx context.Context, m *method, id uint32, body []byte) {
	result, err := s.c.handle(ctx, m, s.from, body)
	s.mu.Lock()
	cancel := s.running[id]
	delete(s.running, id)
	s.mu.Unlock()
	cancel()
	if s.c.life.Err() != nil {
		return // the handler was cut short: the broken connection says that the outcome is unknown
	}
	if err == nil && len(result) > maxFrame {
		err = fmt.Errorf("answer to %s has %d bytes: %w", m.name, len(result), ErrTooLarge)
	}
	if err != nil {
		message := err.Error()
		s.out.sendPair(kindError, id, codeOf(err), []byte(message[:min(len(message), maxMessage)]))
		return
	}
	s.out.send(kindResponse, id, result)
}

const maxMessage = 16 << 10 // bytes of an error message that cross the wire

// handle runs one handler, here or for another node. A panic in it becomes an error: one bad request must not take the
// node with it.
func (c *Cluster) handle(ctx context.Context, m *method, from string, body []byte) (result []byte, err error) {
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("handler panicked", "method", m.name, "node", from, "err", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: handler of %s panicked", ErrInternal, m.name)
		}
		c.metrics.served(m.name, time.Since(start))
	}()
	return m.run(ctx, from, body)
}

// linkDown tells the owner that a connection with the node broke.
func (c *Cluster) linkDown(id string) {
	if c.cfg.OnLinkDown != nil && id != "" && id != c.cfg.ID {
		c.wg.Go(func() { c.cfg.OnLinkDown(id) })
	}
}

var errLinkClosed = errors.New("the connection was closed")
