package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// hasPack checks the releases of pack p, "1 2 3", and which are current and previous.
func (m *machine) hasPack(releases, current, previous string) {
	m.t.Helper()
	var got []string
	for _, r := range m.Pack("p").GetReleases() {
		got = append(got, r.Release)
	}
	if p := m.Pack("p"); strings.Join(got, " ") != releases || p.GetCurrent() != current || p.GetPrevious() != previous {
		m.t.Errorf("pack p has releases %q, current %q, previous %q; want %q, %q, %q",
			got, p.GetCurrent(), p.GetPrevious(), releases, current, previous)
	}
}

// TestPackPutRecord checks the record of a release, and that a command that is applied
// twice has its effect once.
func TestPackPutRecord(t *testing.T) {
	m := openMachine(t, t.TempDir())
	still(m.State)
	cmd := &PackPut{
		Name: "p", Release: "1.0+3fa9c1e2b4d5", Version: "1.0", Digest: digestOf("x"), Size: 4096, Kind: "python", Info: []byte(`{"a":1}`),
	}
	m.ok(&Command{Kind: &Command_PackPut{cmd}})
	want := []*Pack{{
		Name: "p", Current: "1.0+3fa9c1e2b4d5", Releases: []*PackRelease{{
			Release: "1.0+3fa9c1e2b4d5", Version: "1.0", Digest: digestOf("x"), Size: 4096, Kind: "python", Info: []byte(`{"a":1}`),
			InstalledMs: startClock, InstalledIndex: 1,
		}},
	}}
	check := func() {
		t.Helper()
		if got := m.Packs(); !slices.EqualFunc(got, want, func(a, b *Pack) bool { return proto.Equal(a, b) }) {
			t.Errorf("packs are %v, want %v", got, want)
		}
	}
	check()
	if m.active.size() == 0 || m.active.bytes < len(cmd.Info) {
		t.Error("a pack alone does not count in the memtable: it would not be written")
	}
	if c := m.changes[0]; !c.Packs || c.Nodes || len(c.Tasks) != 0 {
		t.Errorf("the observer was told %+v, want that packs changed", c)
	}
	m.clock += 1000
	m.ok(&Command{Kind: &Command_PackPut{cmd}})
	check()
	m.mustFlush()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openMachine(t, m.cfg.Dir)
	defer m.Close()
	check()
}

// TestPackUse checks which release is current and which was, after installing, using and
// removing some.
func TestPackUse(t *testing.T) {
	remove := func(release string) *Command { return packRemove(&PackRemove{Name: "p", Release: release}) }
	m := newMachine(t)
	for _, tt := range []struct {
		cmd                         *Command
		code                        Code
		releases, current, previous string
	}{
		{packUse("p", "1"), Code_NOT_FOUND, "", "", ""},
		{packPut("p", "1"), Code_OK, "1", "1", ""},
		{packPut("p", "2"), Code_OK, "1 2", "2", "1"},
		{packPut("p", "3"), Code_OK, "1 2 3", "3", "2"},
		{packUse("p", "2"), Code_OK, "1 2 3", "2", "3"},
		{packUse("p", "2"), Code_OK, "1 2 3", "2", "3"},
		{packUse("p", "none"), Code_NOT_FOUND, "1 2 3", "2", "3"},
		{packUse("p", ""), Code_NOT_FOUND, "1 2 3", "2", "3"},
		{packPut("p", "1"), Code_OK, "1 2 3", "1", "2"}, // again: it is current again
		{packPut("p", "1", func(p *PackPut) { p.Digest = digestOf("else") }), Code_MISFIT, "1 2 3", "1", "2"},
		{remove("1"), Code_OK, "2 3", "3", "2"}, // the newest that is left
		{remove("1"), Code_NOT_FOUND, "2 3", "3", "2"},
		{remove("2"), Code_OK, "3", "3", ""},
		{packPut("p", "4"), Code_OK, "3 4", "4", "3"},
		{remove("4"), Code_OK, "3", "3", ""}, // the previous one is the newest: there is no other to go back to
		{remove(""), Code_OK, "", "", ""},
		{remove(""), Code_NOT_FOUND, "", "", ""},
	} {
		m.gives(tt.code, tt.cmd)
		m.hasPack(tt.releases, tt.current, tt.previous)
	}
	if got := m.Packs(); len(got) != 0 {
		t.Errorf("packs are %v, want none", got)
	}
}

// TestPackPutKeeps checks which releases make way for a new one, and that those which
// tasks refer to do not, up to a bound.
func TestPackPutKeeps(t *testing.T) {
	m := newCluster(t)
	for i := 1; i <= 5; i++ {
		m.ok(packPut("p", fmt.Sprint(i)))
	}
	m.ok(submit(task(1, released("1"), at(place(1, 1))), task(2, typed("q.f"))), packUse("p", "2"))
	m.ok(packPut("p", "6"))
	m.hasPack("1 2 4 5 6", "6", "2") // 1 has a task, 2 was current
	m.ok(finish(k(1), 1, `1`), packPut("p", "7"))
	m.hasPack("2 4 5 6 7", "7", "6")

	for i := 8; len(m.Pack("p").Releases) < maxReleases; i++ {
		m.ok(packPut("p", fmt.Sprint(i)))
		for j, r := range m.Pack("p").Releases {
			m.ok(submit(task(100*i+j, released(r.Release), delayed(1e6))))
		}
	}
	before := m.Pack("p")
	m.gives(Code_PACK_BUSY, packPut("p", "one more"))
	if m.Pack("p") != before {
		t.Error("a refused release changed the pack")
	}
	m.ok(packPut("p", "8"))
	if got := m.Pack("p").Current; got != "8" {
		t.Errorf("release %q is current, want one that is there already", got)
	}
}

// TestPackPutRefuses checks what would not fit the state.
func TestPackPutRefuses(t *testing.T) {
	m := newMachine(t)
	for name, change := range map[string]func(*PackPut){
		"no name":           func(p *PackPut) { p.Name = "" },
		"a point":           func(p *PackPut) { p.Name = "p.f" },
		"an at":             func(p *PackPut) { p.Name = "p@1" },
		"a long name":       func(p *PackPut) { p.Name = strings.Repeat("n", maxNameLen+1) },
		"no release":        func(p *PackPut) { p.Release = "" },
		"a long release":    func(p *PackPut) { p.Release = strings.Repeat("n", maxNameLen+1) },
		"half a digest":     func(p *PackPut) { p.Digest = p.Digest[:16] },
		"too much to say":   func(p *PackPut) { p.Info = make([]byte, maxPackInfo+1) },
		"nothing but names": func(p *PackPut) { *p = PackPut{Name: "p", Release: "1"} },
	} {
		t.Run(name, func(t *testing.T) { m.gives(Code_MISFIT, packPut("p", "1", change)) })
	}
	m.ok(packPut("p", "1", func(p *PackPut) { p.Info = make([]byte, maxPackInfo) }))
}

// TestPackRemoveByForce removes a release with tasks in every state, some at a time.
func TestPackRemoveByForce(t *testing.T) {
	m := newCluster(t)
	m.ok(packPut("p", "1"), packPut("p", "2"),
		submit(task(1, released("2"), named("mine")), task(2, released("2"), at(place(1, 1))), task(3, released("2"), delayed(1e6)),
			task(4, released("2"), attempts(2), at(place(2, 1))), task(5, released("2"), priority(9)), task(6, released("2"))),
		submit(task(7), task(8, released("1"))),
		fail(k(4), 1, retryIn(2e6)), cancel(k(6).String()))
	all := &PackRemove{Name: "p", Release: "2", Limit: 2}
	if out := m.gives(Code_PACK_BUSY, packRemove(all)); out.Count != 5 {
		t.Errorf("%d tasks are in the way, want 5", out.Count)
	}
	m.is(Status_PENDING, 0, k(1), k(5))

	all.Force = true
	for _, step := range []struct {
		left  uint64
		ended []int
	}{{3, []int{5, 1}}, {1, []int{2, 3}}} { // what is ready, what runs, what is due first
		m.changes = nil
		if out := m.gives(Code_OK, packRemove(all)); out.Count != step.left {
			t.Errorf("%d tasks are left, want %d", out.Count, step.left)
		}
		var ended []Key
		for _, c := range m.changes[0].Tasks {
			ended = append(ended, Key(c.New.Key))
		}
		if want := []Key{k(step.ended[0]), k(step.ended[1])}; !slices.Equal(ended, want) || !m.changes[0].Packs {
			t.Errorf("tasks %v ended, want %v", ended, want)
		}
		m.hasPack("1 2", "1", "")
		if p := m.Pack("p"); p.Removing || p.Releases[0].Removing || !p.Releases[1].Removing {
			t.Errorf("the pack is %v, want release 2 being removed", p)
		}
		m.gives(Code_NO_PACK, submit(task(20), task(21, released("2"))))
		m.gives(Code_NOT_FOUND, packUse("p", "2"))
		m.gives(Code_PACK_BUSY, packPut("p", "2"))
	}
	all.Resume = true
	if out := m.gives(Code_OK, packRemove(all)); out.Count != 0 {
		t.Errorf("%d tasks are left, want none", out.Count)
	}
	m.hasPack("1", "1", "")
	m.is(Status_FAILURE, 1, k(2), k(4))
	m.is(Status_PENDING, 0, k(7), k(8))
	if out := m.gives(Code_STALE, finish(k(2), 1, `1`)); out.Status != Status_FAILURE {
		t.Errorf("a result after the removal met %v", out.Status)
	}
	if got := m.get("mine"); got.Reason != ReasonPackRemoved || got.Error.GetType() != "PackRemoved" || got.FinishedMs != m.clock || got.Release != "2" {
		t.Errorf("the task became %v", got)
	}
	if rec, err := m.TaskByKey(k(20)); rec != nil || err != nil {
		t.Errorf("a task of a refused Submit is there: %v, %v", rec, err)
	}

	m.ok(packPut("p", "2"), submit(task(22, released("2"))))
	m.gives(Code_NOT_FOUND, packRemove(all)) // to resume; that was installed since
	m.is(Status_PENDING, 0, k(22))
}

// TestPackRemoveOrder checks that what ends first follows from the records alone, however
// the tasks came to run and whatever was restarted.
func TestPackRemoveOrder(t *testing.T) {
	m := openMachine(t, t.TempDir())
	m.ok(up("id1", "alpha", 1), up("id2", "beta", 1), packPut("p", "1"))
	const tasks = 6
	for i := range tasks {
		m.ok(submit(task(i+1, released("1"))))
	}
	for _, i := range []int{4, 1, 6, 3, 2, 5} {
		m.ok(assign(k(i), 1, place(uint32(1+i%2), 1)))
	}
	for i := range tasks {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		clock := m.clock
		m = openMachine(t, m.cfg.Dir)
		m.clock = clock
		before := m.Pack("p")
		marked := before.Releases[0].Removing
		m.gives(Code_OK, packRemove(&PackRemove{Name: "p", Release: "1", Force: true, Limit: 1}))
		m.is(Status_FAILURE, 1, k(i+1))
		if before.Releases[0].Removing != marked {
			t.Error("a record that was handed out changed")
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPackRemoveWhole removes a pack with all its releases, which takes nothing new
// meanwhile.
func TestPackRemoveWhole(t *testing.T) {
	m := newCluster(t)
	m.ok(packPut("p", "1"), packPut("p", "2"), submit(task(1, released("1")), task(2, released("2")), task(3)))
	m.gives(Code_OK, packRemove(&PackRemove{Name: "p", Force: true, Limit: 1}))
	m.hasPack("1 2", "", "")
	if !m.Pack("p").Removing {
		t.Errorf("the pack is %v, want it being removed", m.Pack("p"))
	}
	m.gives(Code_PACK_BUSY, packPut("p", "3"))
	if out := m.gives(Code_PACK_BUSY, packRemove(&PackRemove{Name: "p"})); out.Count != 1 {
		t.Errorf("%d tasks are in the way, want 1", out.Count)
	}
	m.gives(Code_OK, packRemove(&PackRemove{Name: "p", Force: true, Limit: 1}))
	m.hasPack("", "", "")
	m.is(Status_PENDING, 0, k(3)) // it needs what the nodes were built with
	m.ok(packPut("p", "3"))
}

// TestPackRemoveBytes checks that one command does not end more than it may, in bytes.
func TestPackRemoveBytes(t *testing.T) {
	m := newCluster(t)
	m.ok(packPut("p", "1"))
	large := strings.Repeat("x", removeBytes/4)
	for i := range 6 {
		m.ok(submit(task(i+1, released("1"), args(large))))
	}
	for _, left := range []uint64{2, 0} {
		if out := m.gives(Code_OK, packRemove(&PackRemove{Name: "p", Force: true, Limit: RemoveLimit})); out.Count != left {
			t.Errorf("%d tasks are left, want %d", out.Count, left)
		}
	}
}

// TestNodePacks checks that a node tells only of its own start what it can run.
func TestNodePacks(t *testing.T) {
	m := newCluster(t)
	m.ok(drain(place(2, 1), true))
	m.changes = nil
	m.ok(nodePacks(place(2, 1), "p,p@1"))
	if n := m.Node(2); string(n.Packs) != "p,p@1" || !n.Draining || n.Name != "beta" {
		t.Errorf("the node is %v", n)
	}
	if c := m.changes[0]; !c.Nodes || c.Packs {
		t.Errorf("the observer was told %+v, want that nodes changed", c)
	}
	m.gives(Code_STALE, nodePacks(place(2, 9), "q"))
	m.gives(Code_NOT_FOUND, nodePacks(place(9, 1), "q"))
	if got := m.Node(2).Packs; !bytes.Equal(got, []byte("p,p@1")) {
		t.Errorf("another start told %q", got)
	}
}
