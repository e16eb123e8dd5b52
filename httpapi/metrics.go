package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec   // by route, method, code
	duration *prometheus.HistogramVec // by route
	logins   *prometheus.CounterVec   // by outcome
}

// The outcomes of attempts to log in.
const (
	loginOK        = "ok"
	loginWrong     = "wrong"
	loginThrottled = "throttled"
)

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pytasks_http_requests_total",
			Help: "Requests that were answered.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pytasks_http_request_duration_seconds",
			Help:    "Time from a request's headers to the end of its answer, what ?wait= asked for included.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600},
		}, []string{"route"}),
	}
	m.logins = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pytasks_http_logins_total",
		Help: "Attempts to log in at this node, by outcome: ok, wrong, or throttled, which were not looked at.",
	}, []string{"outcome"})
	for _, outcome := range []string{loginOK, loginWrong, loginThrottled} {
		m.logins.WithLabelValues(outcome)
	}
	r.MustRegister(m.requests, m.duration, m.logins)
	return m
}

// routeMetrics are the metrics of one route, found once: looking them up by
// their labels costs more than counting.
type routeMetrics struct {
	codes    *prometheus.CounterVec
	ok       prometheus.Counter // code 200
	duration prometheus.Observer
}

func (m *metrics) route(pattern, method string) *routeMetrics {
	codes := m.requests.MustCurryWith(prometheus.Labels{"route": pattern, "method": method})
	return &routeMetrics{
		codes:    codes,
		ok:       codes.WithLabelValues("200"),
		duration: m.duration.WithLabelValues(pattern),
	}
}

func (m *routeMetrics) done(status int, d time.Duration) {
	if status == http.StatusOK {
		m.ok.Inc()
	} else {
		m.codes.WithLabelValues(strconv.Itoa(status)).Inc()
	}
	m.duration.Observe(d.Seconds())
}
