package fsm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// rehome is Rehome told a second time; see model.
func (m *model) rehome() (requeued int) {
	m.index++
	for _, t := range m.inOrder(func(t *Task) bool { return t.Status == Status_STARTED }) {
		m.change(t, func(t *Task) {
			t.Status = Status_PENDING
			m.past(t, "restored", "")
		})
		requeued++
	}
	for i, n := range m.nodes {
		m.nodes[i] = proto.CloneOf(n)
		m.nodes[i].Down, m.nodes[i].Gone = true, true
	}
	m.signing, m.rotation = nil, nil
	return requeued
}

// TestRehomeModel restores snapshots of drawn states into others, takes them out of their cluster and goes on
// drawing: all the time the state is the model's.
func TestRehomeModel(t *testing.T) {
	dir, n, requeued := fastDir(t), 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		r := &replay{t: rt, dir: filepath.Join(dir, fmt.Sprint(n)), model: newModel(), reached: new(coverage)}
		defer func() { _ = os.RemoveAll(r.dir) }()
		old := openMachine(rt, r.folder())
		still(old.State)
		r.draw(old, &comparison{t: rt, same: map[Key][2]*Task{}}, 40)
		snap := snapshotBytes(rt, old.State)
		r.close(old.State)

		m := openMachine(rt, r.folder())
		still(m.State)
		defer r.close(m.State)
		if err := m.Restore(bytes.NewReader(snap)); err != nil {
			rt.Fatalf("Restore: %v", err)
		}
		m.changes = nil
		out, err := m.Rehome()
		if err != nil {
			rt.Fatalf("Rehome: %v", err)
		}
		if want := r.model.rehome(); out.Requeued != want || out.Index != old.index+1 || m.Applied() != out.Index {
			rt.Fatalf("Rehome = %+v at index %d, want %d tasks requeued at index %d", out, m.Applied(), want, old.index+1)
		}
		requeued += out.Requeued
		c := &comparison{t: rt, same: map[Key][2]*Task{}}
		c.steps(m.changes)
		c.check(m.State, r.model)
		c.auditLog(m.State, r.model)
		checkStore(rt, m.State, r.model)
		m.index, m.clock = out.Index, old.clock
		r.draw(m, c, 20)
	})
	if requeued == 0 {
		t.Errorf("in %d sequences nothing was running", n)
	}
}

// TestRehome: what is lost with the nodes of a cluster is requeued and costs nothing; all else stays, and the new
// cluster's nodes do not get the numbers of the old ones.
func TestRehome(t *testing.T) {
	from := newCluster(t) // nodes alpha, beta
	from.ok(packPut("p", "1"), by("root", userPut("ann", scopes(ScopeAdmin))), keysPut(0, "k1"), secretPut(0, &Rotation{To: "s2", Phase: 1}),
		submit(task(1, at(place(1, 1))), task(2, at(place(2, 1)), attempts(2)), task(3), task(4, at(place(1, 1)))),
		finish(k(4), 1, `"done"`), keyed("once", "h", 1e6, task(5)))
	m := newMachine(t)
	if err := m.Restore(bytes.NewReader(snapshotBytes(t, from.State))); err != nil {
		t.Fatal(err)
	}
	before := m.get(k(1).String())
	out, err := m.Rehome()
	if err != nil || *out != (Rehomed{Index: from.index + 1, Requeued: 2, Nodes: 2}) {
		t.Fatalf("Rehome = %+v, %v; want two tasks requeued, two nodes gone, at index %d", out, err, from.index+1)
	}
	m.is(Status_PENDING, 1, k(1), k(2))
	m.is(Status_SUCCESS, 1, k(4))
	if got := m.get(k(1).String()); got.Lost != 0 || got.Failures != 0 || got.Order != before.Order || len(got.Past) != 1 || got.Past[0].Reason != ReasonRestored {
		t.Errorf("a task that ran is now %v, want it in its place, with a note of its attempt and nothing counted", got)
	}
	if got, want := m.pending(), []Key{k(1), k(2), k(3), k(5)}; !slices.Equal(got, want) {
		t.Errorf("pending are %v, want %v", got, want)
	}
	if m.Keys() != nil || m.Rotation() != nil || m.User("ann") == nil || m.Pack("p") == nil || m.Now() != from.Now() {
		t.Errorf("keys %v, rotation %v, user %v, pack %v, time %d", m.Keys(), m.Rotation(), m.User("ann"), m.Pack("p"), m.Now())
	}
	if len(m.Nodes()) != 0 || m.Node(1).GetName() != "alpha" || !m.Node(1).Gone {
		t.Errorf("nodes are %v, the first %v; want none, and the first kept by its number", m.Nodes(), m.Node(1))
	}

	m.index, m.clock = m.Applied(), from.clock
	if got := m.do(up("new", "alpha", 1))[0]; got.Code != Code_OK || got.Node != 3 {
		t.Errorf("a new node of an old name got %v, want the number 3", got)
	}
	m.gives(Code_STALE, finish(k(1), 1, `"late"`))
	m.gives(Code_KEY_REUSED, keyed("once", "other", 1e6, task(6)))
	m.ok(assign(k(2), 2, place(3, 1)), fail(k(2), 2), keysPut(0, "k2"))
	m.is(Status_RETRY, 2, k(2)) // of two attempts one has failed
}

// TestExport: what is exported is the state's snapshot, with its index and all that it names; Summarize tells what is in it.
func TestExport(t *testing.T) {
	m := newCluster(t)
	m.ok(packPut("p", "1"), by("root", userPut("ann", scopes(ScopeAdmin))), submit(task(1, large("a", 70_000)), task(2, at(place(1, 1)))),
		finish(k(2), 1, "", func(f *Finish) { f.Result, f.ResultBlob = nil, blobOf("b", 80_000) }), keyed("once", "h", 1e6, task(5)), drain(place(2, 1), true))
	var out bytes.Buffer
	e, err := m.Export(&out)
	if err != nil {
		t.Fatal(err)
	}
	want := map[[digestLen]byte]int64{
		[digestLen]byte(blobOf("a", 0).Digest): 70_000, [digestLen]byte(blobOf("b", 0).Digest): 80_000, [digestLen]byte(digestOf("1")): 100,
	}
	if e.Index != m.index || e.TimeMs != m.Now() || fmt.Sprint(e.Blobs) != fmt.Sprint(want) {
		t.Errorf("Export = %+v, want index %d, time %d, blobs %v", e, m.index, m.Now(), want)
	}
	if !bytes.Equal(out.Bytes(), snapshotBytes(t, m.State)) {
		t.Error("the exported state is not its snapshot")
	}
	sum, err := Summarize(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if sum.Index != m.index || sum.TimeMs != m.Now() || sum.Tasks[Status_PENDING] != 2 || sum.Tasks[Status_SUCCESS] != 1 ||
		len(sum.Packs) != 1 || !slices.Equal(sum.Users, []string{"ann"}) || sum.Nodes != 2 || sum.Keys != 1 {
		t.Errorf("Summarize = %+v", sum)
	}
	for i := range out.Len() {
		bad := bytes.Clone(out.Bytes())
		bad[i] ^= 0x20
		if got, err := Summarize(bytes.NewReader(bad)); err == nil && fmt.Sprint(got) != fmt.Sprint(sum) { // it may unpack to the same
			t.Fatalf("byte %d is flipped, and Summarize reads %+v", i, got)
		}
		if _, err := Summarize(bytes.NewReader(out.Bytes()[:i])); err == nil {
			t.Fatalf("cut after %d bytes, and Summarize does not say so", i)
		}
	}
}
