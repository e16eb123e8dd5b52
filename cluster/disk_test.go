package cluster

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// faultyDisk lies between a log and its file.
type faultyDisk struct {
	LogStore
	damaged atomic.Uint64 // index of an entry that is read with a changed byte
	slow    atomic.Int64  // how long an append takes, ns
	appends atomic.Int64
}

// under puts the faulty disk into a configuration.
func (d *faultyDisk) under(cfg Config) Config {
	cfg.OpenLog = func(dir string) (LogStore, error) {
		var err error
		d.LogStore, err = openBolt(dir)
		return d, err
	}
	return cfg
}

func (d *faultyDisk) GetLog(index uint64, entry *raft.Log) error {
	err := d.LogStore.GetLog(index, entry)
	if err == nil && index == d.damaged.Load() {
		entry.Data[0] ^= 1
	}
	return err
}

func (d *faultyDisk) StoreLogs(logs []*raft.Log) error {
	d.appends.Add(1)
	time.Sleep(time.Duration(d.slow.Load()))
	return d.LogStore.StoreLogs(logs)
}

// faultyTrio is trio with a faulty disk under each node, and times of raft twice the usual: a busy machine is not what is
// tested.
func faultyTrio(t *testing.T) (nodes []*testNode, disks map[*testNode]*faultyDisk) {
	t.Helper()
	disks = map[*testNode]*faultyDisk{}
	for _, name := range []string{"a", "b", "c"} {
		d := new(faultyDisk)
		cfg := d.under(config(t, name))
		cfg.Join = gossipAddrs(nodes)
		cfg.Timing.Heartbeat, cfg.Timing.Lease = 2*time.Second, time.Second
		n := open(t, cfg)
		nodes, disks[n] = append(nodes, n), d
	}
	waitVoters(t, nodes, 3)
	return nodes, disks
}

// TestDamagedEntryOnline: an entry that is damaged on the leader's disk is met when a newcomer needs it. The leader has to
// stop, and the others go on.
func TestDamagedEntryOnline(t *testing.T) {
	nodes, disks := faultyTrio(t)
	bad := leader(t, nodes)
	index := propose(t, bad, "damaged later")
	for i := range 200 { // beyond what is kept in memory
		propose(t, bad, fmt.Sprint("entry ", i))
	}
	waitEntry(t, nodes, "entry 199")
	disks[bad].damaged.Store(index)
	joining(t, nodes, "d")
	select {
	case err := <-bad.fatal:
		if !strings.Contains(err.Error(), fmt.Sprintf("raft.db is damaged: entry %d", index)) || !strings.Contains(err.Error(), advice) {
			t.Errorf("got %v, want the damaged entry and what to do", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the leader goes on with a damaged entry")
	}
	bad.Close() // what its owner does
	rest := followers(nodes, bad)
	propose(t, leader(t, rest), "without it")
	waitEntry(t, rest, "without it")
}

// TestSlowDisk: appends that take 100 ms, on the leader or on a follower, cause no election, and commits go on.
func TestSlowDisk(t *testing.T) {
	const slow = 100 * time.Millisecond
	for _, where := range []string{"leader", "follower", "all"} {
		t.Run(where, func(t *testing.T) {
			nodes, disks := faultyTrio(t)
			first := leader(t, nodes)
			term := first.Status().Term
			for n, d := range disks {
				if where == "all" || (n == first) == (where == "leader") {
					d.slow.Store(int64(slow))
				}
			}
			const entries = 20
			for i := range entries {
				propose(t, first, fmt.Sprint("entry ", i))
			}
			waitEntry(t, nodes, fmt.Sprint("entry ", entries-1))
			if now := leader(t, nodes); now != first || now.Status().Term != term {
				t.Errorf("the leader is %s in term %d, want %s in %d", now.cfg.Name, now.Status().Term, first.cfg.Name, term)
			}
			for n := range disks {
				select {
				case err := <-n.fatal:
					t.Errorf("%s has to stop: %v", n.cfg.Name, err)
				default:
				}
			}
		})
	}
}
