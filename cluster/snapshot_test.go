package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/cluster/secret"
)

func TestSnapshotByEntriesAndBytes(t *testing.T) {
	for _, test := range []struct {
		name  string
		alter func(*Config)
	}{
		{"entries", func(cfg *Config) { cfg.SnapshotEntries = 20 }},
		{"bytes", func(cfg *Config) { cfg.SnapshotBytes = 2000 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(t, "a")
			cfg.TrailingLogs = 5
			test.alter(&cfg)
			a := open(t, cfg)
			leader(t, []*testNode{a})
			if s := a.Status(); s.SnapshotIndex != 0 {
				t.Fatalf("a snapshot at %d before anything happened", s.SnapshotIndex)
			}
			for i := range 30 {
				propose(t, a, fmt.Sprintf("%d %s", i, strings.Repeat("x", 100)))
			}
			eventually(t, "a snapshot", func() bool { return a.Status().SnapshotIndex >= 20 })
			eventually(t, "a shorter log", func() bool { first, _, _ := a.stores.span(); return first > 1 })
		})
	}
}

// A state machine without a store of its own is restored from the snapshot and the log after it.
func TestRestartFromSnapshot(t *testing.T) {
	cfg := config(t, "a")
	cfg.TrailingLogs, cfg.SnapshotEntries = 5, 20
	a := open(t, cfg)
	leader(t, []*testNode{a})
	for i := range 30 {
		propose(t, a, fmt.Sprint("entry ", i))
	}
	eventually(t, "a snapshot", func() bool { return a.Status().SnapshotIndex > 0 })
	propose(t, a, "last")
	a.Close()
	cfg.Boot = 2
	again := open(t, cfg)
	leader(t, []*testNode{again})
	for _, entry := range []string{"entry 0", "entry 29", "last"} {
		if !again.fsm.has(entry) {
			t.Errorf("%q is gone after the restart", entry)
		}
	}
	if got := len(again.fsm.entries); got != 31 {
		t.Errorf("%d entries after the restart, want 31, each once", got)
	}
}

// A state machine that has its own store newer than the snapshot is not restored; it sees later entries again.
func TestRestartWithDurableState(t *testing.T) {
	cfg := config(t, "a")
	cfg.TrailingLogs, cfg.SnapshotEntries = 5, 20
	a := open(t, cfg)
	leader(t, []*testNode{a})
	for i := range 30 {
		propose(t, a, fmt.Sprint("entry ", i))
	}
	eventually(t, "a snapshot", func() bool { return a.Status().SnapshotIndex > 0 })
	a.Close()
	kept := &memory{durable: a.fsm.applied()} // stands for a store that has it all, with nothing in memory
	cfg.Boot, cfg.FSM = 2, kept
	again := open(t, cfg)
	leader(t, []*testNode{again})
	if kept.has("entry 0") {
		t.Error("the state was restored from a snapshot that it did not need")
	}
}

func TestLostLogIsNoticed(t *testing.T) {
	cfg := config(t, "a")
	a := open(t, cfg)
	leader(t, []*testNode{a})
	a.Close()
	cfg.FSM = &memory{durable: 1000}
	if _, err := tryOpen(t, cfg); err == nil || !strings.Contains(err.Error(), "the log was lost") {
		t.Errorf("a state ahead of its log: got %v", err)
	}
	cfg.FSM = nil
	if err := os.Remove(filepath.Join(cfg.Dir, identityFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, cfg); err == nil || !strings.Contains(err.Error(), "cluster.json is missing") {
		t.Errorf("raft data without the cluster's id: got %v", err)
	}
}

func TestSecondOpenOfOneDirectory(t *testing.T) {
	cfg := config(t, "a")
	open(t, cfg)
	if _, err := tryOpen(t, cfg); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("got %v", err)
	}
}

func TestSnapshotReachesANewNode(t *testing.T) {
	cfg := config(t, "a")
	cfg.TrailingLogs, cfg.SnapshotEntries = 5, 20
	a := open(t, cfg)
	leader(t, []*testNode{a})
	for i := range 60 {
		propose(t, a, fmt.Sprint("entry ", i))
	}
	eventually(t, "a short log", func() bool { first, _, _ := a.stores.span(); return first > 10 })
	b := joining(t, []*testNode{a}, "b")
	waitEntry(t, []*testNode{b}, "entry 0")
	waitEntry(t, []*testNode{b}, "entry 59")
}

func TestConfigIsValidated(t *testing.T) {
	for want, alter := range map[string]func(*Config){
		"node id":      func(cfg *Config) { cfg.ID = "" },
		"node name":    func(cfg *Config) { cfg.Name = strings.Repeat("x", 65) },
		"node info":    func(cfg *Config) { cfg.Info = make([]byte, 201) },
		"odd number":   func(cfg *Config) { cfg.MaxVoters = 4 },
		"host:port":    func(cfg *Config) { cfg.Join = []string{"somewhere"} },
		"join address": func(cfg *Config) { cfg.BootstrapExpect = 3 },
		"reserved":     func(cfg *Config) { cfg.Handlers = map[string]Handler{"cluster.x": echo} },
		"identity without": func(cfg *Config) {
			cfg.Secrets, cfg.Identity = nil, secret.NewIdentity(secret.NewRing(secret.New()), "x", time.Now)
		},
		"bind cluster":     func(cfg *Config) { cfg.Addr = "192.0.2.1:1" },
		"bind gossip":      func(cfg *Config) { cfg.GossipAddr = "192.0.2.1:1" },
		"max voters":       func(cfg *Config) { cfg.MaxVoters = -1 },
		"bootstrap expect": func(cfg *Config) { cfg.BootstrapExpect = -1 },
	} {
		cfg := config(t, "a")
		alter(&cfg)
		if _, err := tryOpen(t, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestMetricsAreServed(t *testing.T) {
	registry := prometheus.NewRegistry()
	cfg := config(t, "a")
	cfg.Registry = registry
	a := open(t, cfg)
	leader(t, []*testNode{a})
	propose(t, a, "x")
	a.Call(t.Context(), cfg.ID, "missing", nil)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]bool)
	for _, family := range families {
		got[family.GetName()] = true
	}
	for _, want := range []string{"pytasks_raft_leader", "pytasks_raft_state", "pytasks_raft_term",
		"pytasks_raft_commit_index", "pytasks_raft_applied_index", "pytasks_raft_last_index", "pytasks_cluster_members",
		"pytasks_raft_leader_known", "pytasks_raft_lag_entries", "pytasks_raft_last_contact_seconds", "pytasks_raft_log_bytes",
		"pytasks_raft_snapshot_bytes", "pytasks_cluster_voters", "pytasks_cluster_voters_alive", "pytasks_raft_elections_won_total", "pytasks_cluster_calls_total", "pytasks_raft_propose_seconds",
		"pytasks_raft_store_seconds"} {
		if !got[want] {
			t.Errorf("metric %s is missing", want)
		}
	}
	a.Close()
	if families, err := registry.Gather(); err != nil || len(families) != 0 {
		t.Errorf("%d metrics are left after Close, %v", len(families), err)
	}
	if err := a.Close(); errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}
