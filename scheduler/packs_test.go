package scheduler

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/fsm"
)

func released(release string) func(*fsm.New) { return func(n *fsm.New) { n.Release = release } }

func packPut(name, release string) *fsm.Command {
	return &fsm.Command{Kind: &fsm.Command_PackPut{PackPut: &fsm.PackPut{
		Name: name, Release: release, Digest: bytes.Repeat([]byte{1}, 32), Info: []byte(`{}`),
	}}}
}

// nodePacks says what a node can run: "p,p@1".
func nodePacks(node uint32, packs string) *fsm.Command {
	return &fsm.Command{Kind: &fsm.Command_NodePacks{NodePacks: &fsm.NodePacks{
		Place: &fsm.Place{Node: node, Boot: 1}, Packs: []byte(packs),
	}}}
}

// TestReleasesApart: the tasks of two releases and of what the nodes were built with go to
// nodes that have it, and those for which there is none hold up no others.
func TestReleasesApart(t *testing.T) {
	d, term := lead(t, Config{}, 4, 4)
	d.apply(packPut("p", "1"), packPut("p", "2"), nodePacks(1, "p,p@1"), nodePacks(2, "p@2"))
	waiting := d.task("p.f", released("1"))
	queued := d.queue(waiting, d.task("p.f", released("2")), d.task("p.f"))
	fresh := []*fsm.New{d.task("p.f", released("2")), d.task("p.f", released("1")), d.task("p.f")}
	term.commit()
	term.commit(asked(submit(fresh...)))
	want := map[fsm.Key]uint32{
		queued[0]: 1, queued[1]: 2, queued[2]: 1, fsm.Key(fresh[0].Key): 2, fsm.Key(fresh[1].Key): 1, fsm.Key(fresh[2].Key): 1,
	}
	for k, node := range want {
		if got := d.record(k); got.Status != fsm.Status_STARTED || got.Place.Node != node {
			t.Errorf("task %d of release %q is %v on node %d, want it on node %d", k[15], got.Release, got.Status, got.Place.GetNode(), node)
		}
	}
	told := 0
	for id, nudges := range d.cluster.nudges {
		for _, n := range nudges {
			for _, task := range n.Tasks {
				told++
				if rec := d.record(fsm.Key(task.Key)); task.Release != rec.Release {
					t.Errorf("%s was told release %q of a task of %q", id, task.Release, rec.Release)
				}
			}
		}
	}
	if told != len(want) {
		t.Errorf("the nodes were told of %d tasks, want %d", told, len(want))
	}
}

// TestReleaseWaits: tasks of a release that no node has wait, alone and in order, until a
// node says that it has it.
func TestReleaseWaits(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		r.do(packPut("p", "1"), packPut("p", "2"), nodePacks(1, "p,p@1"))
		first, second := r.task("p.f", released("2")), r.task("p.f", released("2"))
		r.do(submit(first, second))
		other := r.task("p.f", released("1"))
		r.do(submit(other))
		r.is(fsm.Status_PENDING, keysOf(first, second)...)
		r.is(fsm.Status_STARTED, keysOf(other)...)
		r.do(finish(fsm.Key(other.Key), 1, time.Second))
		r.do(nodePacks(1, "p@2"))
		r.is(fsm.Status_STARTED, keysOf(first)...)
		r.is(fsm.Status_PENDING, keysOf(second)...)
	})
}

// TestReleasesBehind: a new task stands behind those that wait for the same release, and
// only those.
func TestReleasesBehind(t *testing.T) {
	d, term := lead(t, Config{}, 1)
	d.apply(packPut("p", "1"), packPut("p", "2"), nodePacks(1, "p@1,p@2"))
	waiting := d.queue(d.task("p.f", released("1")))
	late, other := d.task("p.f", released("1")), d.task("p.f", released("2"))
	e := term.build([]*request{asked(submit(late))})
	if got := e.places(); len(got) != 1 || got[waiting[0][15]] != 1 {
		t.Errorf("placed %v, want the one that waited", got)
	}
	term.flight.settle(e)
	e = term.build([]*request{asked(submit(other))})
	if got := e.places(); len(got) != 1 || got[other.Key[15]] != 1 {
		t.Errorf("placed %v, want the one of the other release", got)
	}
}

// TestPackKeys: the keys are those of the state, made once for a release, and bounded.
func TestPackKeys(t *testing.T) {
	p := packKeys{}
	for range 2 {
		for _, of := range [][2]string{{"p.f", ""}, {"p.f", "1"}, {"p.g", "1"}, {"p.f", "2"}, {"q.f", "1"}} {
			if got, want := p.key(of[0], of[1], ""), fsm.PackKey(of[0], of[1]); got != want {
				t.Errorf("key(%q, %q) = %q, want %q", of[0], of[1], got, want)
			}
		}
	}
	if len(p) != 3 {
		t.Errorf("%d keys are kept, want those of 3 releases", len(p))
	}
	if n := testing.AllocsPerRun(10, func() { p.key("p.f", "1", "") }); n != 0 {
		t.Errorf("a key that is known takes %v allocations", n)
	}
	for i := range 2 * maxPackKeys {
		p.key("p.f", fmt.Sprint(i), "")
	}
	if len(p) > maxPackKeys {
		t.Errorf("%d keys are kept, want %d at most", len(p), maxPackKeys)
	}
}

// TestSizeAndReports: what may be large counts for an entry, and only a node's words of
// itself go before new work.
func TestSizeAndReports(t *testing.T) {
	kb := make([]byte, 1<<10)
	for name, tt := range map[string]struct {
		cmd     *fsm.Command
		size    int
		reports bool
	}{
		"a log":        {&fsm.Command{Kind: &fsm.Command_Finish{Finish: &fsm.Finish{Log: kb, Result: kb}}}, 2 << 10, true},
		"a pack":       {&fsm.Command{Kind: &fsm.Command_PackPut{PackPut: &fsm.PackPut{Info: kb}}}, 1 << 10, false},
		"a use":        {&fsm.Command{Kind: &fsm.Command_PackUse{PackUse: &fsm.PackUse{}}}, 0, false},
		"a removal":    {&fsm.Command{Kind: &fsm.Command_PackRemove{PackRemove: &fsm.PackRemove{}}}, 0, false},
		"a user":       {&fsm.Command{Kind: &fsm.Command_UserPut{UserPut: &fsm.UserPut{AllowedTasks: []string{string(kb)}}}}, 1 << 10, false},
		"a user goes":  {&fsm.Command{Kind: &fsm.Command_UserRemove{UserRemove: &fsm.UserRemove{}}}, 0, false},
		"keys":         {&fsm.Command{Kind: &fsm.Command_KeysPut{KeysPut: &fsm.KeysPut{Keys: []*fsm.SigningKey{{Sealed: kb}}}}}, 1 << 10, false},
		"a secret":     {&fsm.Command{Kind: &fsm.Command_SecretPut{SecretPut: &fsm.SecretPut{Rotation: &fsm.Rotation{Sealed: kb}}}}, 1 << 10, false},
		"node's packs": {&fsm.Command{Kind: &fsm.Command_NodePacks{NodePacks: &fsm.NodePacks{Packs: kb}}}, 1 << 10, true},
	} {
		if got := size(tt.cmd); got < tt.size || got > tt.size+100 {
			t.Errorf("%s takes %d bytes, want about %d", name, got, tt.size)
		}
		if got := reports(tt.cmd); got != tt.reports {
			t.Errorf("%s reports: %v, want %v", name, got, tt.reports)
		}
	}
}

// TestRemovalGoesOn: a removal by force whose caller is gone goes on, and what was not
// meant stays.
func TestRemovalGoesOn(t *testing.T) {
	serve(t, Config{}, []uint32{1}, func(t *testing.T, r *reign) {
		r.do(packPut("p", "1"), packPut("p", "2"))
		first, second, other := r.task("p.f", released("1")), r.task("p.f", released("1")), r.task("p.f", released("2"))
		r.do(submit(first, second, other))
		outs := r.do(&fsm.Command{Kind: &fsm.Command_PackRemove{PackRemove: &fsm.PackRemove{Name: "p", Release: "1", Force: true, Limit: 1}}})
		if outs[0].Count != 1 {
			t.Fatalf("%d tasks are left after the first step, want 1", outs[0].Count)
		}
		time.Sleep(upkeepEvery)
		synctest.Wait()
		r.is(fsm.Status_FAILURE, keysOf(first, second)...)
		r.is(fsm.Status_PENDING, keysOf(other)...)
		if p := r.state.Pack("p"); len(p.Releases) != 1 || p.Current != "2" {
			t.Errorf("the pack is %v, want release 2 alone", p)
		}
		for i, c := range r.cluster.commands() {
			if rm := c.GetPackRemove(); rm != nil && rm.Limit != 1 && (!rm.Resume || rm.Limit != fsm.RemoveLimit) {
				t.Errorf("command %d is %v, want one that only resumes", i, rm)
			}
		}
		isRemove := func(c *fsm.Command) bool { return c.GetPackRemove() != nil }
		before := r.cluster.count(isRemove)
		time.Sleep(10 * upkeepEvery)
		synctest.Wait()
		if got := r.cluster.count(isRemove); got != before {
			t.Errorf("%d more removals where nothing is being removed", got-before)
		}
	})
}
