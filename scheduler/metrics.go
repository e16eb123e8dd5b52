package scheduler

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/fsm"
)

// metrics are those of the leader. Followers leave them as they are, so that a
// sum over all nodes counts everything once.
type metrics struct {
	types map[string]*typeMetrics // by task type; observe and forget only, which the log's applier calls

	enqueued *prometheus.CounterVec // type
	finished *prometheus.CounterVec // type, status
	retries  *prometheus.CounterVec // type
	requeued *prometheus.CounterVec // reason
	wait     *prometheus.HistogramVec
	run      *prometheus.HistogramVec
	total    *prometheus.HistogramVec
	stale    prometheus.Counter
	refused  prometheus.Counter
	commit   prometheus.Histogram
	batch    prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	seconds := prometheus.ExponentialBuckets(0.001, 4, 9) // 1 ms to 65 s
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help + " Counted by the leader."}, labels)
		r.MustRegister(c)
		return c
	}
	hist := func(name, help string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help + " Observed by the leader.", Buckets: seconds}, []string{"type"})
		r.MustRegister(h)
		return h
	}
	m := &metrics{
		types:    map[string]*typeMetrics{},
		enqueued: counter("pytasks_tasks_enqueued_total", "Tasks queued.", "type"),
		finished: counter("pytasks_tasks_finished_total", "Tasks finished.", "type", "status"),
		retries:  counter("pytasks_task_retries_total", "Attempts that failed and are tried again.", "type"),
		requeued: counter("pytasks_task_requeues_total", "Attempts handed back or lost, whose tasks were queued again.", "reason"),
		wait:     hist("pytasks_task_wait_seconds", "Time from when a task was queued, or due, to its first assignment."),
		run:      hist("pytasks_task_run_seconds", "Time that the last attempt of a finished task ran."),
		total:    hist("pytasks_task_total_seconds", "Time from when a task was queued to when it finished."),
		stale:    prometheus.NewCounter(prometheus.CounterOpts{Name: "pytasks_stale_results_total", Help: "Results refused because another attempt had taken over, or the task was finished. Counted by the leader."}),
		refused:  prometheus.NewCounter(prometheus.CounterOpts{Name: "pytasks_tasks_refused_total", Help: "Tasks refused because the queue was full, or a voter short of disk space. Counted by the leader."}),
		commit:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pytasks_entry_commit_seconds", Help: "Time to bring one log entry to a majority and apply it. Observed by the leader.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		batch:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pytasks_entry_commands", Help: "Commands in one log entry. Observed by the leader.", Buckets: prometheus.ExponentialBuckets(1, 2, 11)}),
	}
	for _, reason := range requeueReasons() {
		m.requeued.WithLabelValues(reason)
	}
	r.MustRegister(m.stale, m.refused, m.commit, m.batch)
	return m
}

// typeMetrics are those of one task type, so that a step need not look each up.
type typeMetrics struct {
	enqueued, retries prometheus.Counter
	finished          [fsm.Status_REVOKED + 1]prometheus.Counter // final ones only
	wait, run, total  prometheus.Observer

	installed bool // its pack is not compiled in
}

// maxTypes bounds the types that have series of their own, some 50 each. Those that come when there are so many share those of otherType.
const (
	maxTypes  = 500
	otherType = "other"
)

// of returns the metrics of a type; installed says that its pack is one that can be removed.
func (m *metrics) of(kind string, installed bool) *typeMetrics {
	t := m.types[kind]
	if t == nil && len(m.types) >= maxTypes {
		kind = otherType
		t = m.types[kind]
	}
	if t == nil {
		t = m.add(kind)
	}
	t.installed = installed
	return t
}

func (m *metrics) add(kind string) *typeMetrics {
	t := &typeMetrics{
		enqueued: m.enqueued.WithLabelValues(kind), retries: m.retries.WithLabelValues(kind),
		wait: m.wait.WithLabelValues(kind), run: m.run.WithLabelValues(kind), total: m.total.WithLabelValues(kind),
	}
	for s := fsm.Status_SUCCESS; s <= fsm.Status_REVOKED; s++ {
		t.finished[s] = m.finished.WithLabelValues(kind, s.String())
	}
	m.types[strings.Clone(kind)] = t
	return t
}

// observe counts one task's step.
func (m *metrics) observe(c fsm.Change) {
	t := c.New
	of := m.of(t.Type, t.Release != "")
	if c.Old == nil {
		of.enqueued.Inc()
	}
	if t.Status == fsm.Status_STARTED && t.Attempt == 1 {
		of.wait.Observe(seconds(max(t.CreatedMs, t.DueMs), t.AssignedMs))
	}
	switch {
	case t.Status.Final():
		of.finished[t.Status].Inc()
		of.total.Observe(seconds(t.CreatedMs, t.FinishedMs))
		if t.StartedMs > 0 {
			of.run.Observe(seconds(t.StartedMs, t.FinishedMs))
		}
	case t.Status == fsm.Status_RETRY:
		of.retries.Inc()
	case t.Status == fsm.Status_PENDING && c.Old != nil && c.Old.Status == fsm.Status_STARTED:
		reason := fsm.ReasonNotStarted
		if len(t.Past) > 0 && t.Past[len(t.Past)-1].Attempt == t.Attempt {
			reason = t.Past[len(t.Past)-1].Reason
		}
		if !slices.Contains(requeueReasons(), reason) {
			reason = otherType
		}
		m.requeued.WithLabelValues(reason).Inc()
	}
}

// requeueReasons are the reasons for which an attempt ends and its task is queued again at once.
func requeueReasons() []string {
	return []string{fsm.ReasonWorkerLost, fsm.ReasonCutOff, fsm.ReasonDrain, fsm.ReasonNotStarted}
}

// forget drops the series of types whose packs are not installed any more. Those that still have tasks get new ones.
func (m *metrics) forget(packs []*fsm.Pack) {
	there := map[string]bool{}
	for _, p := range packs {
		there[p.Name] = true
	}
	for kind, t := range m.types {
		if !t.installed || there[fsm.PackOf(kind)] {
			continue
		}
		delete(m.types, kind)
		for _, of := range []interface{ DeletePartialMatch(prometheus.Labels) int }{m.enqueued, m.finished, m.retries, m.wait, m.run, m.total} {
			of.DeletePartialMatch(prometheus.Labels{"type": kind})
		}
	}
}

func seconds(from, to int64) float64 { return float64(max(0, to-from)) / 1000 }
