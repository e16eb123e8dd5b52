package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"pytasks/fsm"
)

// registerMetrics adds the node's gauges, read when they are asked for.
func registerMetrics(r prometheus.Registerer, n *Node) {
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("pytasks_node_slots", "Tasks that this node can run at once.", func() float64 { return float64(n.cfg.Slots) })
	gauge("pytasks_node_slots_busy", "Slots of this node that are running a task.", func() float64 {
		busy, _ := n.exec.counts()
		return float64(busy)
	})
	gauge("pytasks_node_attempts_queued", "Attempts given to this node that wait for a slot.", func() float64 {
		_, queued := n.exec.counts()
		return float64(queued)
	})
	gauge("pytasks_node_draining", "1 while this node takes no new tasks: until it is resumed, or as it stops.", func() float64 {
		if r := n.link.record(n.dir.ID); r != nil && (r.Draining || r.Drain != nil) {
			return 1
		}
		return 0
	})
	gauge("pytasks_state_bytes", "Size of this node's state file.", func() float64 { return float64(n.state.Size()) })
	gauge("pytasks_state_applied_index", "Log index that this node's state has applied.", func() float64 { return float64(n.state.Applied()) })
	gauge("pytasks_disk_free_bytes", "Free space on the disk of this node's data directory.", func() float64 { return float64(n.disk.free.Load()) })
	gauge("pytasks_blobs", "Blobs on this node's disk, counted once a minute.", func() float64 { return float64(n.blobs.found.Load()) })
	gauge("pytasks_blob_bytes", "Size of the blobs on this node's disk, counted once a minute.", func() float64 { return float64(n.blobs.bytes.Load()) })
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pytasks_build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": buildVersion()},
	})
	build.Set(1)
	r.MustRegister(build, n.blobs.failures, &taskCollector{n})
}
