package cluster

import (
	"fmt"
	"strings"

	gometrics "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// libraryMetric is one of raft's or memberlist's own figures that is shown: by its key there, with points between its parts. The
// others are not, nor are any of their labels, which name members by ids.
type libraryMetric struct {
	key, name, help string
	buckets         []float64 // of a sample, nil = it is none
	scale           float64   // times what the library says, 0 = 1; times come in milliseconds
	value           string    // of the label by which several are one; "" = it has none
}

const milliseconds = 0.001

func seconds() []float64 { return prometheus.ExponentialBuckets(0.0001, 4, 9) } // 0.1 ms to 6.5 s

func long() []float64 { return prometheus.ExponentialBuckets(0.01, 4, 8) } // 10 ms to 164 s

// The labels by which several keys are one metric, by name.
var libraryLabels = map[string]string{
	"raft_state_changes_total": "state", "raft_timeouts_total": "what", "raft_thread_saturation_ratio": "thread",
	"memberlist_packet_bytes_total": "direction", "memberlist_connections_total": "direction",
	"memberlist_messages_total": "about", "memberlist_degraded_total": "what",
}

func libraryCounters() []libraryMetric {
	return []libraryMetric{
		{key: "raft.apply", name: "raft_apply_total", help: "Entries given to raft, on the leader."},
		{key: "raft.barrier", name: "raft_barriers_total", help: "Barriers: one for each new leader."},
		{key: "raft.state.follower", name: "raft_state_changes_total", help: "Times that this node entered a state of raft's.", value: "follower"},
		{key: "raft.state.candidate", name: "raft_state_changes_total", value: "candidate"},
		{key: "raft.state.leader", name: "raft_state_changes_total", value: "leader"},
		{key: "raft.transition.heartbeat_timeout", name: "raft_timeouts_total", help: "Times that this node heard no leader, or as the leader no majority.", value: "heartbeat"},
		{key: "raft.transition.leader_lease_timeout", name: "raft_timeouts_total", value: "leader_lease"},
		{key: "raft.replication.appendEntries.logs", name: "raft_replicated_entries_total", help: "Entries sent to members, on the leader; each to each."},
		{key: "memberlist.udp.sent", name: "memberlist_packet_bytes_total", help: "Bytes of gossip in packets.", value: "sent"},
		{key: "memberlist.udp.received", name: "memberlist_packet_bytes_total", value: "received"},
		{key: "memberlist.tcp.connect", name: "memberlist_connections_total", help: "Connections of gossip: whole lists of members, and probes that packets did not answer.", value: "out"},
		{key: "memberlist.tcp.accept", name: "memberlist_connections_total", value: "in"},
		{key: "memberlist.msg.alive", name: "memberlist_messages_total", help: "News about members.", value: "alive"},
		{key: "memberlist.msg.suspect", name: "memberlist_messages_total", value: "suspect"},
		{key: "memberlist.msg.dead", name: "memberlist_messages_total", value: "dead"},
		{key: "memberlist.degraded.probe", name: "memberlist_degraded_total", help: "Probes, and suspicions, in which this node thought itself slow.", value: "probe"},
		{key: "memberlist.degraded.timeout", name: "memberlist_degraded_total", value: "timeout"},
	}
}

func librarySamples() []libraryMetric {
	ratio := prometheus.LinearBuckets(0.1, 0.1, 10)
	ms := milliseconds
	return []libraryMetric{
		{"raft.commitTime", "raft_commit_seconds", "Time from an entry's start on the leader to its commit.", seconds(), ms, ""},
		{"raft.leader.dispatchLog", "raft_leader_store_seconds", "Time that the leader's own write of entries took.", seconds(), ms, ""},
		{"raft.leader.lastContact", "raft_leader_last_contact_seconds", "Time since the leader has heard of the member that is slowest to answer in a majority.", seconds(), ms, ""},
		{"raft.replication.appendEntries.rpc", "raft_replication_seconds", "Time of a call with entries to a member.", seconds(), ms, ""},
		{"raft.replication.heartbeat", "raft_heartbeat_seconds", "Time of a call without entries to a member.", seconds(), ms, ""},
		{"raft.replication.installSnapshot", "raft_snapshot_send_seconds", "Time to send a snapshot to a member.", long(), ms, ""},
		{"raft.rpc.appendEntries", "raft_follower_append_seconds", "Time that a follower took for a call with entries.", seconds(), ms, ""},
		{"raft.rpc.installSnapshot", "raft_snapshot_receive_seconds", "Time to receive a snapshot and take it over.", long(), ms, ""},
		{"raft.rpc.requestVote", "raft_vote_seconds", "Time to answer who wants this node's vote.", seconds(), ms, ""},
		{"raft.fsm.applyBatch", "raft_fsm_apply_seconds", "Time to apply entries to the state, a batch at a time.", seconds(), ms, ""},
		{"raft.fsm.restore", "raft_fsm_restore_seconds", "Time to make the state of a snapshot.", long(), ms, ""},
		{"raft.snapshot.takeSnapshot", "raft_snapshot_take_seconds", "Time to take a snapshot, the log's cut included.", long(), ms, ""},
		{"raft.compactLogs", "raft_log_compact_seconds", "Time to cut the log behind a snapshot.", seconds(), ms, ""},
		{"raft.thread.main.saturation", "raft_thread_saturation_ratio", "Part of the time that a goroutine of raft's was busy, seen once a second.", ratio, 1, "main"},
		{"raft.thread.fsm.saturation", "raft_thread_saturation_ratio", "", ratio, 1, "fsm"},
		{"memberlist.probeNode", "memberlist_probe_seconds", "Time to probe a member.", seconds(), ms, ""},
		{"memberlist.gossip", "memberlist_gossip_seconds", "Time of a round of gossip.", seconds(), ms, ""},
		{"memberlist.pushPullNode", "memberlist_push_pull_seconds", "Time to exchange whole lists of members with one.", seconds(), ms, ""},
		{"memberlist.queue.broadcasts", "memberlist_queued_broadcasts", "News that wait to be passed on, seen at each round.", prometheus.ExponentialBuckets(1, 4, 7), 1, ""},
	}
}

// Libraries is where raft and memberlist tell their own figures: those that are worth showing, with names and units as Prometheus wants
// them. It keeps what is said in metrics that are there from the start, so that being told costs no allocation.
type Libraries struct {
	counters map[string]prometheus.Counter  // by key
	samples  map[string]prometheus.Observer // by key; scaled
	health   prometheus.Gauge
}

// NewLibraries registers the libraries' metrics. Use has them told.
func NewLibraries(r prometheus.Registerer) (*Libraries, error) {
	l := &Libraries{counters: map[string]prometheus.Counter{}, samples: map[string]prometheus.Observer{}}
	l.health = prometheus.NewGauge(prometheus.GaugeOpts{Name: "memberlist_health_score", Help: "How slow this node thinks it is itself; 0 = not at all."})
	all := []prometheus.Collector{l.health}
	counters := map[string]*prometheus.CounterVec{}
	for _, m := range libraryCounters() {
		vec := counters[m.name]
		if vec == nil {
			vec = prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.name, Help: m.help}, m.labels())
			counters[m.name] = vec
			all = append(all, vec)
		}
		l.counters[m.key] = vec.WithLabelValues(m.values()...)
	}
	histograms := map[string]*prometheus.HistogramVec{}
	for _, m := range librarySamples() {
		vec := histograms[m.name]
		if vec == nil {
			vec = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.name, Help: m.help, Buckets: m.buckets}, m.labels())
			histograms[m.name] = vec
			all = append(all, vec)
		}
		l.samples[m.key] = scaled{vec.WithLabelValues(m.values()...), m.scale}
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of raft and memberlist: %w", err)
		}
	}
	return l, nil
}

func (m *libraryMetric) labels() []string {
	if m.value == "" {
		return nil
	}
	return []string{libraryLabels[m.name]}
}

func (m *libraryMetric) values() []string {
	if m.value == "" {
		return nil
	}
	return []string{m.value}
}

// scaled observes what it is told in another unit.
type scaled struct {
	prometheus.Observer
	by float64
}

func (s scaled) Observe(v float64) { s.Observer.Observe(v * s.by) }

// Use has raft and memberlist tell l what they count, instead of whom they told before: there is one such for the whole process, and
// all its nodes.
func (l *Libraries) Use() error {
	conf := gometrics.DefaultConfig("")
	conf.EnableHostname, conf.EnableRuntimeMetrics = false, false
	_, err := gometrics.NewGlobal(conf, l)
	return err
}

// find looks a key up without making a string of it.
func find[V any](in map[string]V, key []string) (v V, ok bool) {
	if len(key) == 0 {
		return v, false
	}
	var buf [64]byte
	text := append(buf[:0], key[0]...)
	for _, part := range key[1:] {
		text = append(append(text, '.'), part...)
	}
	v, ok = in[string(text)]
	return v, ok
}

// IncrCounter and the others make Libraries go-metrics' MetricSink.
func (l *Libraries) IncrCounter(key []string, val float32) {
	if c, ok := find(l.counters, key); ok && val >= 0 {
		c.Add(float64(val))
	}
}

// IncrCounterWithLabels counts without the labels.
func (l *Libraries) IncrCounterWithLabels(key []string, val float32, _ []gometrics.Label) {
	l.IncrCounter(key, val)
}

// AddSample observes a value.
func (l *Libraries) AddSample(key []string, val float32) {
	if s, ok := find(l.samples, key); ok {
		s.Observe(float64(val))
	}
}

// AddSampleWithLabels observes a value without the labels.
func (l *Libraries) AddSampleWithLabels(key []string, val float32, _ []gometrics.Label) {
	l.AddSample(key, val)
}

// SetGauge takes the health score alone: the other gauges say what the package's own metrics say better.
func (l *Libraries) SetGauge(key []string, val float32) {
	if strings.Join(key, ".") == "memberlist.health.score" {
		l.health.Set(float64(val))
	}
}

// SetGaugeWithLabels is SetGauge without the labels.
func (l *Libraries) SetGaugeWithLabels(key []string, val float32, _ []gometrics.Label) {
	l.SetGauge(key, val)
}

// EmitKey does nothing: neither library does.
func (*Libraries) EmitKey([]string, float32) {}
