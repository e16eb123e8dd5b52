package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestGauges: a voter that dies is one less alive, and a follower tells how long it hears no leader.
func TestGauges(t *testing.T) {
	nodes := trio(t)
	lead := leader(t, nodes)
	propose(t, lead, "x")
	waitEntry(t, nodes, "x")
	gauges := func(n *testNode) map[string]float64 {
		r := prometheus.NewRegistry()
		r.MustRegister(n.gauges()...)
		return shown(t, r)
	}
	sum := map[string]float64{}
	for _, n := range nodes {
		g := gauges(n)
		for _, name := range []string{"pytasks_raft_leader", "pytasks_raft_leader_known", "pytasks_raft_state"} {
			sum[name] += g[name]
		}
		if g["pytasks_cluster_voters"] != 3 || g["pytasks_cluster_voters_alive"] != 3 || g["pytasks_cluster_members alive"] != 3 {
			t.Errorf("%s sees %v", n.cfg.Name, g)
		}
		if g["pytasks_raft_term"] < 1 || g["pytasks_raft_commit_index"] < 1 || g["pytasks_raft_applied_index"] < 1 || g["pytasks_raft_log_bytes"] < 1 {
			t.Errorf("%s shows %v", n.cfg.Name, g)
		}
	}
	if sum["pytasks_raft_leader"] != 1 || sum["pytasks_raft_leader_known"] != 3 || sum["pytasks_raft_state"] != 2 {
		t.Errorf("one leads, two follow, all know it; shown are %v", sum)
	}
	if got := gauges(lead)["pytasks_raft_last_contact_seconds"]; got != 0 {
		t.Errorf("the leader has not heard itself for %v s", got)
	}

	rest := followers(nodes, lead)
	rest[0].Close()
	eventually(t, "a voter less is alive", func() bool {
		g := gauges(lead)
		return g["pytasks_cluster_voters"] == 3 && g["pytasks_cluster_voters_alive"] == 2 && g["pytasks_cluster_members alive"] == 2
	})
	lead.Close()
	eventually(t, "no leader is known", func() bool { return gauges(rest[1])["pytasks_raft_leader_known"] == 0 })
	before := gauges(rest[1])["pytasks_raft_last_contact_seconds"]
	eventually(t, "the silence grows", func() bool { return gauges(rest[1])["pytasks_raft_last_contact_seconds"] > before })
}

func TestSizeOf(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"a": 10, "sub/b": 5} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int64{dir: 15, filepath.Join(dir, "a"): 10, filepath.Join(dir, "none"): 0} {
		if got := sizeOf(path); got != want {
			t.Errorf("sizeOf(%s) = %d, want %d", path, got, want)
		}
	}
}

// TestCodesBounded: what other nodes answer makes no series without end.
func TestCodesBounded(t *testing.T) {
	r := prometheus.NewRegistry()
	a := open(t, config(t, "a"))
	m := newMetrics(a.Cluster, r)
	if err := r.Register(m.calls); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxCodes {
		m.called("m", &RemoteError{code: fmt.Sprint("code ", i)})
		m.called("m", nil)
		m.called("m", ErrNoLeader)
	}
	got := shown(t, r)
	for name, want := range map[string]float64{"ok m": 3 * maxCodes, "no_leader m": 3 * maxCodes, "code 0 m": 1, "other m": 2*maxCodes + 1} {
		if v := got["pytasks_cluster_calls_total "+name]; v != want {
			t.Errorf("%s counts %v, want %v", name, v, want)
		}
	}
	if len(got) != maxCodes+2 { // ok, and other
		t.Errorf("%d series, want %d", len(got), maxCodes+2)
	}
}
