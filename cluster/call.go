package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Call runs a method on the node with the given id and returns its answer; on this node itself it calls the handler
// directly. ErrUnreachable and ErrRefused are definite; ErrUnknown means that the method may have run. An error of the
// handler comes back as a *RemoteError that matches sentinels with the same code. Body may be reused after the return.
func (c *Cluster) Call(ctx context.Context, id, name string, body []byte) ([]byte, error) {
	result, err := c.call(ctx, id, name, body)
	c.metrics.called(name, err)
	return result, err
}

func (c *Cluster) call(ctx context.Context, id, name string, body []byte) ([]byte, error) {
	if len(body)+len(name)+1 > maxFrame {
		return nil, fmt.Errorf("call %s with %d bytes: %w", name, len(body), ErrTooLarge)
	}
	if c.life.Err() != nil {
		return nil, ErrClosed
	}
	if id == c.cfg.ID {
		m, ok := c.methods[name]
		if !ok {
			return nil, fmt.Errorf("%w: %q", ErrNoMethod, name)
		}
		return c.handle(ctx, m, id, slices.Clone(body))
	}
	l, err := c.link(ctx, id)
	if err != nil {
		return nil, err
	}
	return l.call(ctx, name, body)
}

// CallLeader is Call to whichever node leads. It answers ErrNoLeader at once when none is known. The node called may
// have lost its office meanwhile: that is its handler's to say.
func (c *Cluster) CallLeader(ctx context.Context, name string, body []byte) ([]byte, error) {
	id, known := c.Leader()
	if !known {
		return nil, ErrNoLeader
	}
	return c.Call(ctx, id, name, body)
}

// Probe dials the node afresh and returns the boot number of the process that answers. ErrRefused proves that no process
// listens at its address; ErrReplaced, with the other's boot number, that another node does; a boot number other than
// the one known before proves a restart.
func (c *Cluster) Probe(ctx context.Context, id string) (boot uint64, err error) {
	if id == c.cfg.ID {
		return c.cfg.Boot, nil
	}
	addr, ok := c.book.addr(id)
	if !ok {
		return 0, fmt.Errorf("probe: %w: %s", ErrUnknownMember, id)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	conn, _, h, err := c.dialNode(ctx, protoCall, id, addr)
	if errors.Is(err, ErrReplaced) {
		return h.boot, fmt.Errorf("probe %s at %s: %w", id, addr, ErrReplaced)
	}
	if err != nil {
		return 0, fmt.Errorf("probe %s: %w", id, err)
	}
	conn.Close()
	return h.boot, nil
}

// callShort is an internal call that must not take long.
func (c *Cluster) callShort(ctx context.Context, id, name string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return c.Call(ctx, id, name, body)
}
