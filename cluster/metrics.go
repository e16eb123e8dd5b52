package cluster

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the package's figures. A nil *metrics counts nothing.
type metrics struct {
	registry   prometheus.Registerer
	all        []prometheus.Collector
	registered []prometheus.Collector

	calls   *prometheus.CounterVec   // by method and code
	serves  *prometheus.HistogramVec // by method
	propose prometheus.Histogram
	store   prometheus.Histogram

	mu    sync.Mutex
	codes map[string]bool // that have series; guarded by mu
}

// maxCodes bounds the codes that have series: they are what other nodes say. Those that come when there are so many are otherCode.
const (
	maxCodes  = 64
	otherCode = "other"
)

// newMetrics makes the figures; register publishes them.
func newMetrics(c *Cluster, registry prometheus.Registerer) *metrics {
	if registry == nil {
		return nil
	}
	buckets := prometheus.ExponentialBuckets(0.0001, 2.5, 14) // 0.1 ms to 15 s
	m := &metrics{
		registry: registry, codes: map[string]bool{},
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pytasks_cluster_calls_total",
			Help: "Calls to other nodes, by method and error code (ok = none)."}, []string{"method", "code"}),
		serves: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "pytasks_cluster_handler_seconds",
			Help: "Time that handlers of node-to-node calls took.", Buckets: buckets}, []string{"method"}),
		propose: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pytasks_raft_propose_seconds",
			Help: "Time from a proposal to its application on the leader.", Buckets: buckets}),
		store: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pytasks_raft_store_seconds",
			Help: "Time that an append to the log on disk took.", Buckets: buckets}),
	}
	m.all = append(c.gauges(), m.calls, m.serves, m.propose, m.store, c.strangers.all,
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "pytasks_raft_elections_won_total",
			Help: "Times that this node became the leader."}, func() float64 { return float64(c.office.terms.Load()) }))
	return m
}

// register publishes the figures; raft runs by then.
func (m *metrics) register() error {
	if m == nil {
		return nil
	}
	for _, collector := range m.all {
		if err := m.registry.Register(collector); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
		m.registered = append(m.registered, collector)
	}
	return nil
}

func (m *metrics) unregister() {
	if m == nil {
		return
	}
	for _, collector := range m.registered {
		m.registry.Unregister(collector)
	}
}

func (m *metrics) called(method string, err error) {
	if m == nil {
		return
	}
	code := "ok"
	if err != nil {
		code = m.known(codeOf(err))
	}
	m.calls.WithLabelValues(method, code).Inc()
}

// known returns a code, or otherCode where there are too many.
func (m *metrics) known(code string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.codes[code] && len(m.codes) >= maxCodes {
		return otherCode
	}
	m.codes[code] = true
	return code
}

func (m *metrics) served(method string, took time.Duration) {
	if m != nil {
		m.serves.WithLabelValues(method).Observe(took.Seconds())
	}
}

func (m *metrics) proposed(took time.Duration) {
	if m != nil {
		m.propose.Observe(took.Seconds())
	}
}

func (m *metrics) stored(took time.Duration) {
	if m != nil {
		m.store.Observe(took.Seconds())
	}
}
