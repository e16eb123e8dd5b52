package cluster

import (
	"fmt"
	"testing"
	"time"

	gometrics "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
)

func newLibraries(t testing.TB) (*Libraries, *prometheus.Registry) {
	t.Helper()
	r := prometheus.NewRegistry()
	l, err := NewLibraries(r)
	if err != nil {
		t.Fatal(err)
	}
	return l, r
}

// shown returns the values of gauges and counters, and the counts of histograms, by name and labels.
func shown(t testing.TB, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range all {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			switch {
			case m.Histogram != nil:
				out[name], out[name+" sum"] = float64(m.Histogram.GetSampleCount()), m.Histogram.GetSampleSum()
			case m.Counter != nil:
				out[name] = m.Counter.GetValue()
			default:
				out[name] = m.Gauge.GetValue()
			}
		}
	}
	return out
}

// TestLibraries: what the libraries say is shown in base units and without the labels, and what is not in the list makes no series.
func TestLibraries(t *testing.T) {
	l, r := newLibraries(t)
	before := len(shown(t, r))
	id := func(i int) []gometrics.Label { return []gometrics.Label{{Name: "peer_id", Value: fmt.Sprint(i)}} }
	for i := range 10 {
		l.AddSampleWithLabels([]string{"raft", "replication", "appendEntries", "rpc"}, 250, id(i))
		l.IncrCounterWithLabels([]string{"raft", "replication", "appendEntries", "logs"}, 3, id(i))
		l.IncrCounter([]string{"raft", "made", "up", fmt.Sprint(i)}, 1)
		l.AddSample([]string{"raft", "replication", "heartbeat", fmt.Sprint(i)}, 1)
		l.SetGaugeWithLabels([]string{"memberlist", "node", "instances"}, 1, id(i))
		l.SetGaugeWithLabels([]string{"memberlist", "health", "score"}, 2, id(i))
	}
	l.IncrCounter([]string{"raft", "apply"}, -1) // which a counter of Prometheus panics at
	l.IncrCounter(nil, 1)
	l.AddSample([]string{"raft", "thread", "fsm", "saturation"}, 0.25)
	got := shown(t, r)
	if len(got) != before {
		t.Errorf("%d series became %d", before, len(got))
	}
	for name, want := range map[string]float64{
		"raft_replication_seconds": 10, "raft_replication_seconds sum": 2.5, "raft_replicated_entries_total": 30, "memberlist_health_score": 2,
		"raft_apply_total": 0, "raft_thread_saturation_ratio fsm sum": 0.25, "raft_heartbeat_seconds": 0,
	} {
		if v, ok := got[name]; v != want || !ok {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
	key := []string{"raft", "replication", "appendEntries", "rpc"}
	if n := testing.AllocsPerRun(100, func() { l.AddSample(key, 1); l.IncrCounter(key, 1) }); n != 0 {
		t.Errorf("being told takes %v allocations, want none", n)
	}
}

// TestLibrariesTell: the names in the list are those that the libraries use.
func TestLibrariesTell(t *testing.T) {
	l, r := newLibraries(t)
	if err := l.Use(); err != nil {
		t.Fatal(err)
	}
	defer gometrics.NewGlobal(&gometrics.Config{}, &gometrics.BlackholeSink{})
	nodes := trio(t)
	propose(t, leader(t, nodes), "x")
	waitEntry(t, nodes, "x")
	for _, name := range []string{
		"raft_apply_total", "raft_barriers_total", "raft_state_changes_total leader", "raft_state_changes_total candidate", "raft_state_changes_total follower",
		"raft_replicated_entries_total", "raft_commit_seconds", "raft_leader_store_seconds", "raft_replication_seconds", "raft_follower_append_seconds",
		"raft_thread_saturation_ratio main", "raft_heartbeat_seconds",
		"memberlist_packet_bytes_total sent", "memberlist_packet_bytes_total received", "memberlist_connections_total in",
		"memberlist_connections_total out", "memberlist_messages_total alive", "memberlist_push_pull_seconds", "memberlist_gossip_seconds", "memberlist_probe_seconds",
	} {
		eventually(t, name+" counts", func() bool { return shown(t, r)[name] > 0 })
	}
}

func BenchmarkLibraries(b *testing.B) {
	measure := func(b *testing.B) {
		for b.Loop() {
			gometrics.MeasureSince([]string{"raft", "commitTime"}, time.Now())
		}
	}
	b.Run("nobody listens", measure)
	l, _ := newLibraries(b)
	if err := l.Use(); err != nil {
		b.Fatal(err)
	}
	defer gometrics.NewGlobal(&gometrics.Config{}, &gometrics.BlackholeSink{})
	b.Run("shown", measure)
}
