//go:build linux

package chaos

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestSmoke is the matrix in short: the most important faults, one after another, to one cluster under load. Other
// packages' tests run beside it, so that it allows for twice the times.
func TestSmoke(t *testing.T) {
	needsRoot(t)
	newRun(t, row{name: "smoke", patience: 2, failpoints: true, lease: true, fault: func(r *run) {
		r.killLeaders(1)
		r.more(enough)

		known, leader := r.known(), r.all.leader()
		start := time.Now()
		r.split(leader)
		r.measured("next write, a node silent", r.all.without(leader).nextWrite(start), silentWrite)
		r.minority(nodes{leader}, known)
		r.heal()
		r.more(enough)

		r.freeze(r.all.follower(), 3*time.Second)
		r.all.whole(healIn)
		r.more(enough)

		n := r.all.leader()
		r.crash(n, "scheduler.commit.after", 20, func() {})
		r.restart(n)
		r.more(enough)

		n = r.all.follower()
		r.recorder.Note("restart", n.name)
		n.signal(syscall.SIGTERM)
		if code := n.ends(45 * time.Second); code != 0 {
			r.Errorf("%s stopped with exit status %d, want 0", n.name, code)
		}
		r.restart(n)
	}}, 3, 0).do()
}

// TestMatrix runs every fault of the matrix and writes the table.
func TestMatrix(t *testing.T) {
	if !flags.chaos {
		t.Skip("the whole matrix takes half an hour: make chaos")
	}
	needsRoot(t)
	table := newTable()
	for _, row := range slices.Concat(rows(), diskRows(), corruptRows(), failpointRows()) {
		for _, size := range row.sizes {
			for number := range flags.runs {
				name := fmt.Sprintf("%s/%d/%d", row.name, size, number+1)
				t.Run(name, func(t *testing.T) {
					r := newRun(t, row, size, number+1)
					t.Cleanup(func() { check(t, table.add(r, size)) })
					r.do()
				})
			}
		}
	}
}
