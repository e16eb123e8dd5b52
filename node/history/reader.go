package history

import (
	"context"
	"time"
)

// look reads a task, fresh or not.
func (k *worker) look(ctx context.Context) {
	id := k.load.book.pick(k.rng)
	if id == "" {
		return
	}
	n := k.node()
	var a answer
	switch p := k.rng.IntN(10); {
	case p < 3:
		_, a = k.read(ctx, n, id, Stale, 0)
	case p < 5:
		_, a = k.read(ctx, n, id, Default, 0)
	case p < 9:
		_, a = k.read(ctx, n, id, Linearizable, 0)
	default:
		_, a = k.read(ctx, n, id, "", time.Duration(1+k.rng.IntN(2000))*time.Millisecond)
	}
	if a.pause > 0 {
		pause(ctx, a.pause)
	}
}

// revoke cancels a task that others submitted, or one of its own that takes its time.
func (k *worker) revoke(ctx context.Context) {
	id := k.load.book.pick(k.rng)
	if k.rng.IntN(3) > 0 {
		id = k.lasting(ctx)
		pause(ctx, time.Duration(k.rng.IntN(1000))*time.Millisecond)
	}
	if id == "" {
		return
	}
	if _, a := k.cancel(ctx, k.node(), id); a.pause > 0 {
		pause(ctx, a.pause)
	}
}

// lasting submits a task that takes its time, or waits for it, and returns its id; "" if
// it has none.
func (k *worker) lasting(ctx context.Context) string {
	numbers := k.load.book.take(1)
	r := newRequest(k.rng, k.load.cfg.Name, numbers, "", "")
	for !r.lasts {
		r = newRequest(k.rng, k.load.cfg.Name, numbers, "", "")
	}
	op, _ := k.send(ctx, k.node(), r, 0)
	return op.Tasks[0].ID
}
