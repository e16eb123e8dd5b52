package scheduler

import (
	"fmt"
	"testing"

	"pytasks/fsm"
)

func where(text string) func(*fsm.New) { return func(n *fsm.New) { n.Where = text } }

// label gives a node labels; "-" as the value takes one away.
func label(node uint32, key, value string) *fsm.Command {
	return &fsm.Command{Kind: &fsm.Command_NodeLabel{NodeLabel: &fsm.NodeLabel{
		Place: &fsm.Place{Node: node}, Labels: []*fsm.Label{{Key: key, Value: value, Removed: value == "-"}},
	}}}
}

// TestWhere: tasks that ask for labels go to nodes that have all of them, and those for which there is none wait and hold
// up no others, until a node is given what they ask for.
func TestWhere(t *testing.T) {
	d, term := lead(t, Config{}, 8, 8)
	d.apply(label(1, "zone", "eu"), label(2, "zone", "us"), label(2, "gpu", "yes"))
	eu, us, both, none := d.task("p.f", where("zone=eu")), d.task("q.f", where("zone=us")), d.task("p.f", where("gpu=yes,zone=us")), d.task("p.f", where("gpu=yes,zone=eu"))
	waiting := d.queue(none, eu, us, both, d.task("p.f"))
	fresh := []*fsm.New{d.task("p.f", where("zone=us")), d.task("p.f", where("gpu=no")), d.task("p.f", where("gpu=yes,zone=eu")), d.task("p.f")}
	term.commit()
	term.commit(asked(submit(fresh...)))
	is := func(k fsm.Key, nodes ...uint32) {
		t.Helper()
		got := d.record(k)
		for _, n := range nodes {
			if got.Status == fsm.Status_STARTED && got.Place.Node == n {
				return
			}
		}
		if len(nodes) > 0 || got.Status != fsm.Status_PENDING {
			t.Errorf("task %d for %q is %v on node %d, want it on %v", k[15], got.Where, got.Status, got.Place.GetNode(), nodes)
		}
	}
	is(waiting[0])
	is(waiting[1], 1)
	is(waiting[2], 2)
	is(waiting[3], 2)
	is(waiting[4], 1, 2)
	is(fsm.Key(fresh[0].Key), 2)
	is(fsm.Key(fresh[1].Key))
	is(fsm.Key(fresh[2].Key))
	is(fsm.Key(fresh[3].Key), 1, 2)

	d.apply(label(1, "gpu", "yes"), label(2, "zone", "-"))
	term.commit()
	is(waiting[0], 1)
	is(fsm.Key(fresh[2].Key), 1)
	is(fsm.Key(fresh[1].Key))
	late := d.task("p.f", where("zone=us"))
	term.commit(asked(submit(late)))
	is(fsm.Key(late.Key))
}

// TestWhereScattered: where tasks wait by very many different places, no more that ask for one are taken; others are.
func TestWhereScattered(t *testing.T) {
	d, term := lead(t, Config{}, 4)
	for i := range maxPlaces / 50 {
		var tasks []*fsm.New
		for k := range 50 {
			n := d.task("p.f", where(fmt.Sprintf("k=%d.%d", i, k)))
			n.Key[0], n.Key[1] = byte(i), byte(k)
			tasks = append(tasks, n)
		}
		d.queue(tasks...)
	}
	one, other := submit(d.task("p.f", where("k=v"))), submit(d.task("p.f"))
	requests := asked(one, other)
	term.commit(requests)
	if got := requests.outs; got[0].GetCode() != fsm.Code_QUEUE_FULL || got[1].GetCode() != fsm.Code_OK {
		t.Errorf("got %v, want %v and %v", got, fsm.Code_QUEUE_FULL, fsm.Code_OK)
	}
}

// TestFits compares the labels of a worker with what tasks wait by.
func TestFits(t *testing.T) {
	w := &Worker{Packs: map[string]bool{"p": true, "p@1": true}, Labels: map[string]string{"zone": "eu", "gpu": "yes"}}
	for key, want := range map[string]bool{
		"p": true, "p@1": true, "q": false, "p zone=eu": true, "p@1 gpu=yes,zone=eu": true, "p zone=us": false, "p gpu=yes,zone=us": false,
		"q zone=eu": false, "p rack=1": false, "p gpu=ye": false, "p zone=eu2": false,
	} {
		if got := w.fits(key); got != want {
			t.Errorf("fits(%q) = %v, want %v", key, got, want)
		}
	}
}
