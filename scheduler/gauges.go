package scheduler

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/fsm"
)

const ofLeader = " Shown by the leader alone, so that a sum over all nodes counts everything once."

var (
	tasksDesc   = prometheus.NewDesc("pytasks_tasks", "Tasks by status, finished ones that are still kept included."+ofLeader, []string{"status"}, nil)
	bytesDesc   = prometheus.NewDesc("pytasks_tasks_unfinished_bytes", "Size of the arguments and logs of tasks that are not finished."+ofLeader, nil, nil)
	waitingDesc = prometheus.NewDesc("pytasks_tasks_oldest_waiting_seconds",
		"Time since the pending task that has been in the queue for longest was queued, or due; 0 if none is pending."+ofLeader, nil, nil)
)

// queueCollector looks at the queue when it is asked, on the leader.
type queueCollector struct{ *Scheduler }

// Describe implements prometheus.Collector.
func (c *queueCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- tasksDesc
	ch <- bytesDesc
	ch <- waitingDesc
}

// Collect implements prometheus.Collector.
func (c *queueCollector) Collect(ch chan<- prometheus.Metric) {
	t := c.term.Load()
	if t == nil {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	counts := c.cfg.State.Counts()
	for s := fsm.Status_SCHEDULED; s <= fsm.Status_REVOKED; s++ {
		gauge(tasksDesc, float64(counts.Tasks[s]), s.String())
	}
	gauge(bytesDesc, float64(counts.LiveBytes))
	if since, err := c.cfg.State.WaitingSince(); err != nil {
		t.log.Warn("the oldest waiting task is unknown", "err", err)
	} else {
		gauge(waitingDesc, waited(since, t.clock.now()).Seconds())
	}
}

// waited is the time between two of the cluster's clock, in ms since 1970; 0 since never.
func waited(since, now int64) time.Duration {
	if since == 0 {
		return 0
	}
	return time.Duration(max(0, now-since)) * time.Millisecond
}
