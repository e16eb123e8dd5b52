package cluster

import (
	"io/fs"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

// gauges returns what is looked at when it is asked for.
func (c *Cluster) gauges() (all []prometheus.Collector) {
	gauge := func(name, help string, value func() float64) {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	index := func(name, help string, value func(*raft.Raft) uint64) {
		gauge(name, help, func() float64 { return float64(value(c.raft)) })
	}
	gauge("pytasks_raft_leader", "1 while this node leads and serves as the leader.", func() float64 { return float(c.IsLeader()) })
	gauge("pytasks_raft_leader_known", "1 while this node knows who leads.", func() float64 {
		_, known := c.Leader()
		return float(known)
	})
	index("pytasks_raft_state", "0 follower, 1 candidate, 2 leader, 3 shut down.",
		func(r *raft.Raft) uint64 { return uint64(r.State()) })
	index("pytasks_raft_term", "Raft's term.", (*raft.Raft).CurrentTerm)
	index("pytasks_raft_commit_index", "Index of the last committed entry.", (*raft.Raft).CommitIndex)
	index("pytasks_raft_last_index", "Index of the last entry in the log.", (*raft.Raft).LastIndex)
	gauge("pytasks_raft_applied_index", "Index that the state machine has applied.",
		func() float64 { return float64(c.cfg.Applied()) })
	gauge("pytasks_raft_lag_entries", "Entries that are committed, as far as this node has heard, and not applied here.", func() float64 {
		return max(0, float64(c.raft.CommitIndex())-float64(c.cfg.Applied()))
	})
	gauge("pytasks_raft_last_contact_seconds", "Time since this node has heard the leader, or was started; 0 on the leader.", func() float64 {
		if c.raft.State() == raft.Leader {
			return 0
		}
		last := c.raft.LastContact()
		if last.IsZero() {
			last = c.opened
		}
		return time.Since(last).Seconds()
	})
	gauge("pytasks_raft_log_bytes", "Size of the log on this node's disk.", func() float64 { return float64(sizeOf(c.stores.log.path)) })
	gauge("pytasks_raft_snapshot_bytes", "Size of the snapshots on this node's disk.", func() float64 { return float64(sizeOf(c.stores.snapshots.dir)) })
	return append(all, &memberCollector{c})
}

func float(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// sizeOf returns the bytes of a file, or of all files below a folder; 0 where there are none.
func sizeOf(path string) (bytes int64) {
	_ = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // what is being removed counts no more
		}
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return bytes
}

// memberCollector counts members when asked.
type memberCollector struct{ c *Cluster }

var (
	memberDesc = prometheus.NewDesc("pytasks_cluster_members", "Members that this node knows, by status.", []string{"status"}, nil)
	voterDesc  = prometheus.NewDesc("pytasks_cluster_voters", "Members that vote, as this node sees it: the cluster works while more than half of them do.", nil, nil)
	aliveDesc  = prometheus.NewDesc("pytasks_cluster_voters_alive", "Members that vote and are alive, as this node sees it.", nil, nil)
)

// Describe implements prometheus.Collector.
func (*memberCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- memberDesc
	ch <- voterDesc
	ch <- aliveDesc
}

// Collect implements prometheus.Collector.
func (m *memberCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
	}
	count := map[MemberStatus]int{Alive: 0, Failed: 0, Left: 0}
	voters, alive := 0, 0
	for _, member := range m.c.Members() {
		count[member.Status]++
		if member.Role != Voter {
			continue
		}
		voters++
		if member.Status == Alive {
			alive++
		}
	}
	for status, n := range count {
		gauge(memberDesc, n, string(status))
	}
	gauge(voterDesc, voters)
	gauge(aliveDesc, alive)
}
