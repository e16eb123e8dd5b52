package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"pytasks/fsm"
)

// TestBuildDiskFull: new tasks wait for room on the disk of every voter; all that makes
// room goes on.
func TestBuildDiskFull(t *testing.T) { synctest.Test(t, testBuildDiskFull) }

func testBuildDiskFull(t *testing.T) {
	d, term := lead(t, Config{}, 1, 1, 1)
	d.cluster.nonvoters = []string{"id3"}
	beat := func(number uint32, low bool) {
		t.Helper()
		if err := d.Heartbeat(&fsm.Heartbeat{Place: &fsm.Place{Node: number, Boot: 1}, DiskLow: low}); err != nil {
			t.Fatal(err)
		}
	}
	submitted := func(want fsm.Code, node uint32) *fsm.New {
		t.Helper()
		n := d.task("p.f")
		r := asked(submit(n))
		term.commit(r)
		if out := r.outs[0]; out.Code != want || out.Node != node {
			t.Errorf("got %v of node %d, want %v of node %d", out.Code, out.Node, want, node)
		}
		return n
	}
	first, second := submitted(fsm.Code_OK, 0), submitted(fsm.Code_OK, 0)

	beat(3, true)
	submitted(fsm.Code_OK, 0) // that node does not vote
	beat(2, true)
	submitted(fsm.Code_DISK_FULL, 2)

	others := asked(finish(fsm.Key(first.Key), 1, time.Second), fail(fsm.Key(second.Key), 1),
		&fsm.Command{Kind: &fsm.Command_Cancel{Cancel: &fsm.Cancel{Id: fsm.Key{14: 1, 15: 3}.String()}}},
		&fsm.Command{Kind: &fsm.Command_Purge{Purge: &fsm.Purge{}}}, nodeUp(4, 1))
	term.commit(others)
	for i, out := range others.outs {
		if out.Code != fsm.Code_OK {
			t.Errorf("command %d beside new tasks: got %v, want OK", i, out.Code)
		}
	}

	beat(2, false)
	submitted(fsm.Code_OK, 0)

	beat(2, true)
	time.Sleep(freshFor) // of the bubble's clock
	beat(1, false)
	submitted(fsm.Code_OK, 0) // it has stopped, perhaps because its disk is full
	beat(2, true)
	submitted(fsm.Code_DISK_FULL, 2)
	d.apply(&fsm.Command{Kind: &fsm.Command_NodeDown{NodeDown: &fsm.NodeDown{Place: &fsm.Place{Node: 2, Boot: 1}}}})
	submitted(fsm.Code_OK, 0)
}
