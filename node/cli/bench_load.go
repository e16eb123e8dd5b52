package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"pytasks/node/client"
)

const (
	benchPatience = 20 * time.Second // a request is sent again for so long
	finishTimeout = 2 * time.Minute  // after the last submission, for the last result
)

// benchLoad is one measurement: workers, one per connection, that share the tasks.
type benchLoad struct {
	benchOptions
	workers []*benchWorker
	claimed atomic.Int64 // tasks that a worker took on
	phase   atomic.Pointer[benchPhase]
}

// benchPhase is what the progress line speaks of.
type benchPhase struct {
	name  string
	total int64
	done  atomic.Int64
}

func newBenchLoad(o benchOptions) *benchLoad {
	l := &benchLoad{benchOptions: o}
	l.begin("connecting", o.connections)
	for i := range o.connections {
		l.workers = append(l.workers, newBenchWorker(l, i))
	}
	return l
}

func (l *benchLoad) close() {
	for _, w := range l.workers {
		w.transport.CloseIdleConnections()
	}
}

// progress is what the load is at now.
func (l *benchLoad) progress() (phase string, done, total int64) {
	p := l.phase.Load()
	return p.name, p.done.Load(), p.total
}

func (l *benchLoad) begin(name string, total int) *benchPhase {
	p := &benchPhase{name: name, total: int64(total)}
	l.phase.Store(p)
	return p
}

// run measures. Its error means that there is nothing to report.
func (l *benchLoad) run(ctx context.Context) (*benchReport, error) {
	if err := l.each(ctx, (*benchWorker).connect); err != nil {
		return nil, err
	}
	if l.get {
		return l.runGet(ctx)
	}
	phase := l.begin("accepted", l.tasks)
	start := time.Now()
	err := l.each(ctx, func(w *benchWorker, ctx context.Context) error {
		if err := w.submitAll(ctx, phase); err != nil {
			return err
		}
		w.accepted = time.Now()
		return w.awaitLast(ctx)
	})
	if err != nil {
		return nil, err
	}
	finished := time.Now()
	if err := l.verifyAll(ctx); err != nil {
		return nil, err
	}
	return l.report(start, finished), nil
}

// runGet submits a few tasks and measures how fast they are read once they are finished.
func (l *benchLoad) runGet(ctx context.Context) (*benchReport, error) {
	first := l.workers[0]
	if err := first.prepare(ctx, min(l.tasks, sampleSize)); err != nil {
		return nil, err
	}
	phase := l.begin("read", l.tasks)
	start := time.Now()
	err := l.each(ctx, func(w *benchWorker, ctx context.Context) error { return w.readAll(ctx, &first.ids, phase) })
	if err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()
	report := l.report(start, start)
	report.Seconds, report.GetPerS = seconds, rate(l.tasks, seconds)
	report.Verified = l.tasks
	return report, nil
}

// each runs a step on every worker at once. The first error stops the others.
func (l *benchLoad) each(ctx context.Context, step func(*benchWorker, context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, w := range l.workers {
		wg.Go(func() {
			if err := step(w, ctx); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// claim takes on up to batch tasks of the load; 0 when there are none left.
func (l *benchLoad) claim() int {
	end := l.claimed.Add(int64(l.batch))
	over := max(end-int64(l.tasks), 0)
	return max(l.batch-int(over), 0)
}

// verifyAll reads what was asked to be read again.
func (l *benchLoad) verifyAll(ctx context.Context) error {
	share := l.tasks // per worker
	switch l.verify {
	case "none":
		return nil
	case "sample":
		share = (sampleSize + l.connections - 1) / l.connections
	}
	total := 0
	for _, w := range l.workers {
		total += min(share, w.ids.len())
	}
	phase := l.begin("read again", total)
	return l.each(ctx, func(w *benchWorker, ctx context.Context) error { return w.verify(ctx, share, phase) })
}

// report sums the workers up. The measurement ends when every worker's last task was
// seen finished. Where others finished still later, as the nodes' own clock has it, the
// end is that much later.
func (l *benchLoad) report(start, finished time.Time) *benchReport {
	r := &benchReport{Tasks: l.tasks, Connections: l.connections, Batch: l.batch, Mode: l.mode(), Type: l.taskType}
	accepted := start
	var last, latest time.Time
	var latencies []time.Duration
	taken := 0
	for _, w := range l.workers {
		latencies = append(latencies, w.latencies...)
		r.Retries += w.retries
		r.Verified += w.verified
		r.Failed += w.failed
		taken += w.ids.len()
		accepted = later(accepted, w.accepted)
		last = later(last, w.lastFinished)
		latest = later(latest, later(w.lastFinished, w.latestFinished))
	}
	if !last.IsZero() {
		finished = finished.Add(latest.Sub(last))
	}
	r.Latency = newBenchLatency(latencies)
	for _, w := range l.workers { // those behind it may have taken all of a few tasks
		if len(w.latencies) > 0 {
			r.Latency.First = milliseconds(w.latencies[0])
			break
		}
	}
	r.Seconds = finished.Sub(start).Seconds()
	r.AcceptPerS = rate(taken, accepted.Sub(start).Seconds())
	r.EndToEndPerS = rate(taken, r.Seconds)
	return r
}

// rate is n per second, to one place; 0 where no time passed.
func rate(n int, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return math.Round(float64(n)/seconds*10) / 10
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// connect opens the worker's connection, so that it is no part of the measurement.
func (w *benchWorker) connect(ctx context.Context) error {
	status, err := w.send(ctx, http.MethodGet, "/ping", nil)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return &client.UnreachableError{Addrs: []string{w.addr()}, Err: err}
	}
	if status != http.StatusOK {
		return fmt.Errorf("bench: %s/ping answered %d: is it a pytasks node?", w.addr(), status)
	}
	w.load.phase.Load().done.Add(1)
	return nil
}

// submitAll submits the worker's share of the tasks.
func (w *benchWorker) submitAll(ctx context.Context, phase *benchPhase) error {
	for n := w.load.claim(); n > 0; n = w.load.claim() {
		w.writeTasks(n)
		begin := time.Now()
		err := w.call(ctx, http.MethodPost, w.path, w.body)
		if err != nil {
			return err
		}
		w.latencies = append(w.latencies, time.Since(begin))
		if got := w.ids.addAll(w.answer, w.load.batch > 1); got != n {
			return fmt.Errorf("bench: %s%s was sent %d tasks and answered with %d ids: %s", w.addr(), w.path, n, got, abbreviate(string(w.answer)))
		}
		phase.done.Add(int64(n))
	}
	return nil
}

// awaitLast waits until the worker's newest task is finished; most others are by then.
func (w *benchWorker) awaitLast(ctx context.Context) error {
	if w.ids.len() == 0 {
		return nil
	}
	state, err := w.await(ctx, w.ids.at(w.ids.len()-1))
	if state != nil {
		w.lastFinished = state.FinishedAt
	}
	return err
}

// prepare submits n tasks and waits until all are finished.
func (w *benchWorker) prepare(ctx context.Context, n int) error {
	phase := w.load.begin("preparing", n)
	for range n {
		w.writeTasks(1)
		if err := w.call(ctx, http.MethodPost, w.path, w.body); err != nil {
			return err
		}
		w.ids.addAll(w.answer, false)
		phase.done.Add(1)
	}
	for i := range w.ids.len() {
		state, err := w.await(ctx, w.ids.at(i))
		if err != nil {
			return err
		}
		if state == nil || state.Status != "SUCCESS" {
			return fmt.Errorf("bench: task %s, submitted to be read, did not succeed", w.ids.at(i))
		}
	}
	return nil
}

// readAll reads finished tasks in turn.
func (w *benchWorker) readAll(ctx context.Context, ids *idList, phase *benchPhase) error {
	for w.load.claim() > 0 {
		path := "/task/" + ids.at((w.number+len(w.latencies))%ids.len())
		begin := time.Now()
		if err := w.call(ctx, http.MethodGet, path, nil); err != nil {
			return fmt.Errorf("bench: read a finished task, %s%s: %w", w.addr(), path, err)
		}
		w.latencies = append(w.latencies, time.Since(begin))
		if field(w.answer, "status") != "SUCCESS" {
			w.failed++
		}
		phase.done.Add(1)
	}
	return nil
}

// verify reads up to share of the worker's tasks again, evenly spread, and counts those
// without the right result.
func (w *benchWorker) verify(ctx context.Context, share int, phase *benchPhase) error {
	total := w.ids.len()
	for k := range min(share, total) {
		i := k
		if share < total {
			i = k * total / share
		}
		state, err := w.await(ctx, w.ids.at(i))
		if err != nil {
			return err
		}
		w.verified++
		if state == nil || state.Status != "SUCCESS" || w.load.sums() && string(state.Result) != sumOf(i) {
			w.failed++
		} else {
			w.latestFinished = later(w.latestFinished, state.FinishedAt)
		}
		phase.done.Add(1)
	}
	return nil
}

// errGone says that a task that was accepted is not there.
var errGone = errors.New("no such task")
