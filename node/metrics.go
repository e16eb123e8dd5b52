package node

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/cluster"
	"pytasks/fsm"
	"pytasks/httpapi"
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
	gauge("pytasks_disk_free_bytes", "Space that this node may still use on the disk of its data directory.", func() float64 { return float64(n.disk.free.Load()) })
	gauge("pytasks_disk_total_bytes", "Size of the disk of this node's data directory; 0 = unknown.", func() float64 { return float64(totalSpace(n.cfg.DataDir)) })
	gauge("pytasks_disk_floor_bytes", "Free space below which this node is short of it and no new tasks are taken (--min-free-disk).", func() float64 { return float64(n.disk.floor) })
	gauge("pytasks_blobs", "Blobs on this node's disk, counted once a minute.", func() float64 { return float64(n.blobs.found.Load()) })
	gauge("pytasks_blob_bytes", "Size of the blobs on this node's disk, counted once a minute.", func() float64 { return float64(n.blobs.bytes.Load()) })
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pytasks_build_info", Help: "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": buildVersion(), "node": n.cfg.Name, "goversion": runtime.Version(), "snapshot_format": fsm.SnapshotFormat},
	})
	build.Set(1)
	r.MustRegister(build, n.blobs.failures, &packCollector{n.packs})
}

// ShowLibraries shows raft's and memberlist's own metrics among the node's. These tell one listener per process: of several nodes in
// one process the last that asked shows those of all.
func (n *Node) ShowLibraries() error {
	l, err := cluster.NewLibraries(n.registry)
	if err != nil {
		return err
	}
	return l.Use()
}

var (
	packsDesc   = prometheus.NewDesc("pytasks_node_packs", "Releases of installed packs, by how far this node is with them.", []string{"status"}, nil)
	workersDesc = prometheus.NewDesc("pytasks_node_workers", "Processes of this node that are kept for the calls of a pack: idle ones, and those that run a call.", []string{"pack", "state"}, nil)
)

// packCollector looks at the installed packs. It shows those that are there: with a pack goes its label.
type packCollector struct{ packs *packs }

// Describe implements prometheus.Collector.
func (c *packCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- packsDesc
	ch <- workersDesc
}

// Collect implements prometheus.Collector.
func (c *packCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	statuses := map[string]int{httpapi.PackReady: 0, httpapi.PackPreparing: 0, httpapi.PackFailed: 0, httpapi.PackIneligible: 0}
	for _, pack := range c.packs.state.Packs() {
		for _, named := range pack.Releases {
			statuses[c.packs.status(pack.Name, named).Status]++
		}
	}
	for status, n := range statuses {
		gauge(packsDesc, n, status)
	}
	for pack, n := range c.packs.workers() {
		gauge(workersDesc, n.idle, pack, "idle")
		gauge(workersDesc, n.busy, pack, "busy")
	}
}

// workerCount is how many processes a pack has.
type workerCount struct{ idle, busy int }

// workers counts the processes of each pack, of all its releases together. Packs that keep none are left out.
func (p *packs) workers() map[string]workerCount {
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := map[string]workerCount{}
	for _, r := range p.releases {
		if r.opened == nil || r.opened.Workers == nil {
			continue
		}
		idle, busy := r.opened.Workers()
		all := out[r.name]
		out[r.name] = workerCount{all.idle + idle, all.busy + busy}
	}
	return out
}
