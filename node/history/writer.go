package history

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// maxTries is how often a client sends one request, at most.
	maxTries = 4
	// maxBatch is how many tasks a batch holds, at most.
	maxBatch = 8
)

// write submits something new, in one of the ways that clients have.
func (k *worker) write(ctx context.Context) {
	book := &k.load.book
	name := k.load.cfg.Name
	number := func(count int) []int { return book.take(count) }
	single := func(id, key bool) *request {
		numbers := number(1)
		own := fmt.Sprintf("%s-%d", name, numbers[0])
		r := []string{"", ""}
		if id {
			r[0] = own
		}
		if key {
			r[1] = own + "-key"
		}
		return newRequest(k.rng, name, numbers, r[0], r[1])
	}
	switch p := k.rng.IntN(100); {
	case p < 25:
		k.insist(ctx, single(false, false), 0)
	case p < 37:
		k.insist(ctx, single(k.rng.IntN(2) == 0, false), time.Duration(1+k.rng.IntN(3000))*time.Millisecond)
	case p < 52:
		k.insist(ctx, single(true, false), 0)
	case p < 62:
		k.insist(ctx, single(false, true), 0)
	case p < 70: // the answer was lost on the way, as far as this client knows
		r := single(p%2 == 0, p%2 == 1)
		k.insist(ctx, r, 0)
		k.insist(ctx, r, 0)
	case p < 80:
		k.twice(ctx, single(p%2 == 0, p%2 == 1))
	case p < 85: // a key, and later the same key with something else
		r := single(false, true)
		k.insist(ctx, r, 0)
		other := newRequest(k.rng, name, number(1), "", r.key)
		k.insist(ctx, other, 0)
	default:
		numbers := number(2 + k.rng.IntN(maxBatch-1))
		key := ""
		if k.rng.IntN(2) == 0 {
			key = fmt.Sprintf("%s-%d-batch", name, numbers[0])
		}
		r := newRequest(k.rng, name, numbers, "", key)
		k.insist(ctx, r, 0)
		if key != "" && k.rng.IntN(3) == 0 {
			k.insist(ctx, r, 0)
		}
	}
}

// insist sends a request as a good client does: a refusal that may pass is sent again when
// the node says so; an unknown outcome at times, if that cannot make a second task, and
// is left open otherwise.
func (k *worker) insist(ctx context.Context, r *request, wait time.Duration) {
	for range maxTries {
		op, a := k.send(ctx, k.node(), r, wait)
		switch {
		case op.Outcome == Refused && (a.pause > 0 || a.code == "io"):
		case op.Outcome == Unknown && r.again() && k.rng.IntN(3) > 0:
		default:
			return
		}
		if pause(ctx, max(a.pause, 100*time.Millisecond)); ctx.Err() != nil {
			return
		}
	}
}

// twice sends a request to two nodes at once.
func (k *worker) twice(ctx context.Context, r *request) {
	one, two := k.node(), k.node()
	var wg sync.WaitGroup
	wg.Go(func() { k.send(ctx, one, r, 0) })
	k.send(ctx, two, r, 0)
	wg.Wait()
}

// send sends a request once.
func (k *worker) send(ctx context.Context, n Node, r *request, wait time.Duration) (op Op, a answer) {
	if len(r.tasks) > 1 {
		op, a = k.batch(ctx, n, r)
	} else {
		op, a = k.submit(ctx, n, r, wait)
	}
	k.load.book.heard(&op)
	return op, a
}
