package history

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Config says what a workload does. Two workloads of one cluster need two names.
type Config struct {
	Name  string // begins the ids, keys and tags of its tasks; "" = "load"
	Nodes []Node // at least one
	// Transport returns what carries a client's requests; the numbers of clients begin
	// with 0. nil = http.DefaultTransport for all.
	Transport func(client int) http.RoundTripper
	Recorder  *Recorder
	Seed      uint64

	Writers    int // clients that submit; 0 = 4
	Readers    int // clients that read; 0 = 2
	Cancellers int // clients that cancel, now and then; 0 = 1
	// Rate is how many requests a client begins in a second, at most; cancellers ask a
	// tenth as often. 0 = 20.
	Rate float64
	// For is how long Run goes on. 0 = 10 s.
	For time.Duration
	// Timeout bounds one request. 0 = 10 s.
	Timeout time.Duration
	// SettleIn bounds Settle. 0 = 60 s.
	SettleIn time.Duration
}

func (c *Config) validate() error {
	switch {
	case len(c.Nodes) == 0:
		return errors.New("name at least one node")
	case c.Recorder == nil:
		return errors.New("give a recorder")
	}
	c.Name = orElse(c.Name, "load")
	c.Writers = orElse(c.Writers, 4)
	c.Readers = orElse(c.Readers, 2)
	c.Cancellers = orElse(c.Cancellers, 1)
	c.Rate = orElse(c.Rate, 20)
	c.For = orElse(c.For, 10*time.Second)
	c.Timeout = orElse(c.Timeout, 10*time.Second)
	c.SettleIn = orElse(c.SettleIn, time.Minute)
	if c.Transport == nil {
		c.Transport = func(int) http.RoundTripper { return http.DefaultTransport }
	}
	return nil
}

func orElse[T comparable](v, instead T) T {
	var zero T
	if v == zero {
		return instead
	}
	return v
}

// Workload is clients that keep a cluster busy, and remember what they heard. Call Run,
// mend the cluster, call Settle.
type Workload struct {
	cfg     Config
	book    book
	clients int // given a number so far
}

// NewWorkload returns a workload that has not begun.
func NewWorkload(cfg Config) (*Workload, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("workload: %w", err)
	}
	return &Workload{cfg: cfg}, nil
}

// Run drives all clients until the time is up or ctx ends, and waits for them.
func (w *Workload) Run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.For)
	defer cancel()
	var wg sync.WaitGroup
	drive := func(count int, rate float64, step func(context.Context, *worker)) {
		for range count {
			k := w.newWorker()
			wg.Go(func() { k.run(ctx, rate, step) })
		}
	}
	drive(w.cfg.Writers, w.cfg.Rate, func(ctx context.Context, k *worker) { k.write(ctx) })
	drive(w.cfg.Readers, w.cfg.Rate, func(ctx context.Context, k *worker) { k.look(ctx) })
	drive(w.cfg.Cancellers, w.cfg.Rate/10, func(ctx context.Context, k *worker) { k.revoke(ctx) })
	wg.Wait()
}

// worker is a client with a mind of its own.
type worker struct {
	client
	load *Workload
	rng  *rand.Rand
}

func (w *Workload) newWorker() *worker {
	k := &worker{
		client: client{
			number:  w.clients,
			http:    &http.Client{Transport: w.cfg.Transport(w.clients)},
			timeout: w.cfg.Timeout,
			rec:     w.cfg.Recorder,
		},
		load: w,
		rng:  rand.New(rand.NewPCG(w.cfg.Seed, uint64(w.clients))),
	}
	w.clients++
	return k
}

// run takes one step after another, none sooner than the rate allows.
func (k *worker) run(ctx context.Context, rate float64, step func(context.Context, *worker)) {
	pace := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer pace.Stop()
	for {
		select {
		case <-pace.C:
		case <-ctx.Done():
			return
		}
		if ctx.Err() != nil {
			return
		}
		step(ctx, k)
	}
}

// node draws a node to ask.
func (k *worker) node() Node { return k.load.cfg.Nodes[k.rng.IntN(len(k.load.cfg.Nodes))] }

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
