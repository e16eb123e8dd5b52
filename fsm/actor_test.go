package fsm

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// TestOwner checks that tasks belong to who asked for them, whatever becomes of them, and
// that who asks again under the same key does not become the owner.
func TestOwner(t *testing.T) {
	m := newCluster(t)
	m.ok(
		by("ann", submit(task(1, at(place(1, 1)), attempts(2)), task(2))),
		submit(task(3)),
		by("ann", keyed("once", "h", 1e6, task(4))),
		by("", submit(task(5))),
	)
	owners := func(want ...string) {
		t.Helper()
		for i, owner := range want {
			if got := m.get(k(i + 1).String()); got.Owner != owner {
				t.Errorf("task %d belongs to %q, want %q", i+1, got.Owner, owner)
			}
		}
	}
	owners("ann", "ann", "", "ann", "")
	m.ok(fail(k(1), 1), by("bob", cancel(k(2).String())))
	m.ok(by("bob", submit(task(1))), by("bob", submit(task(3))), by("ann", keyed("once", "h", 1e6, task(6))))
	m.mustFlush()
	owners("ann", "ann", "", "ann", "")
	m.clock += 10
	m.ok(tick(10), assign(k(1), 2, place(2, 1)), finish(k(1), 2, `1`))
	owners("ann", "ann", "", "ann", "")
	if page, err := m.List(Filter{Owned: true, Owner: "ann"}); err != nil || len(page.Tasks) != 3 {
		t.Errorf("the tasks of ann are %v, %v; want three", page.Tasks, err)
	}
	if page, err := m.List(Filter{Owned: true}); err != nil || len(page.Tasks) != 2 {
		t.Errorf("the tasks of nobody are %v, %v; want two", page.Tasks, err)
	}
	if page, err := m.List(Filter{Owner: "ann"}); err != nil || len(page.Tasks) != 5 {
		t.Errorf("all tasks are %v, %v; want five", page.Tasks, err)
	}
}

// TestIdempotencyKeysOfOwners checks that users who choose the same Idempotency-Key do not
// meet, and that keys of nobody, as they were before there were users, stay what they were.
func TestIdempotencyKeysOfOwners(t *testing.T) {
	m := newMachine(t)
	for i, sub := range []string{"", "ann", "bob"} {
		out := m.gives(Code_OK, by(sub, keyed("once", sub, 1000, task(i+1))))
		if want := []string{k(i + 1).String()}; !slices.Equal(out.Ids, want) {
			t.Errorf("the first of %q gave %v, want %v", sub, out.Ids, want)
		}
	}
	m.mustFlush()
	for i, sub := range []string{"", "ann", "bob"} {
		out := m.gives(Code_OK, by(sub, keyed("once", sub, 1000, task(i+11))))
		if want := []string{k(i + 1).String()}; !slices.Equal(out.Ids, want) {
			t.Errorf("the second of %q gave %v, want %v", sub, out.Ids, want)
		}
		m.gives(Code_KEY_REUSED, by(sub, keyed("once", "else", 1000, task(i+21))))
	}
	m.gives(Code_KEY_REUSED, keyed("once", "else", 1000, task(31)))
	if r, err := m.remembered("once"); err != nil || r == nil || r.Ids[0] != k(1).String() {
		t.Errorf("nobody's key is %v, %v", r, err)
	}
	m.clock += 2000
	m.ok(purge(forgetNothing()))
	if got := storeRecords(t, m.State); len(got[string(bucketKeys)])+len(got[string(bucketKeyUntil)]) != 0 {
		t.Errorf("after their time there are %q", got[string(bucketKeys)])
	}
}

// TestNamesOfOwners checks that an id of the caller's choice is one for all: who does not own
// the task that has it is not answered as if.
func TestNamesOfOwners(t *testing.T) {
	m := newMachine(t)
	m.ok(by("ann", submit(task(1, named("nightly")))), by("ann", submit(task(2, named("nightly")))))
	m.gives(Code_ID_TAKEN, by("bob", submit(task(3, named("nightly")))))
	m.gives(Code_ID_TAKEN, submit(task(4, named("nightly"))))
}

// TestActorThatDoesNotFit checks that nothing is done for an actor whom no user can be.
func TestActorThatDoesNotFit(t *testing.T) {
	m := newMachine(t)
	m.gives(Code_MISFIT, by(strings.Repeat("a", 65), keyed("once", "h", 1e6, task(1))))
	m.ok(by(strings.Repeat("a", 64), keyed(strings.Repeat("k", maxNameLen), "h", 1e6, task(2))))
	m.mustFlush() // the longest key that there can be
	if got := m.Counts().Live; got != 1 {
		t.Errorf("%d tasks, want 1", got)
	}
}

// TestOwnerIsNotOfTheEntry checks that a task's record does not keep the memory of its log
// entry: the owner of many tasks is one text, where that is a user.
func TestOwnerIsNotOfTheEntry(t *testing.T) {
	m := newMachine(t)
	m.ok(userPut("ann"))
	data := encoded(t, m.index+1, m.clock, by("ann", submit(task(1))), by("bob", submit(task(2))))
	m.FSM().Apply(data)
	for i := range data.Data {
		data.Data[i] = 'x'
	}
	if a, b := m.get(k(1).String()), m.get(k(2).String()); a.Owner != "ann" || b.Owner != "bob" {
		t.Errorf("the owners became %q and %q", a.Owner, b.Owner)
	}
}

// TestQueueActor checks that every command tells who asked for it, and that a removal which
// goes on by itself does so for nobody.
func TestQueueActor(t *testing.T) {
	var sent []*Command
	do := func(_ context.Context, _ int, cmds []*Command) ([]*Outcome, error) {
		sent = append(sent, cmds...)
		if r := cmds[0].GetPackRemove(); r != nil && !r.Resume {
			return []*Outcome{{Count: 5}}, nil
		}
		return done(cmds), nil
	}
	ann := &Actor{Sub: "ann", Addr: "10.0.0.1"}
	for name, send := range map[string]func(ctx context.Context, q *Queue) error{
		"UserPut":    func(ctx context.Context, q *Queue) error { return q.UserPut(ctx, &UserPut{Name: "x"}) },
		"UserRemove": func(ctx context.Context, q *Queue) error { return q.UserRemove(ctx, "x") },
		"KeysPut":    func(ctx context.Context, q *Queue) error { return q.KeysPut(ctx, &KeysPut{}) },
		"SecretPut":  func(ctx context.Context, q *Queue) error { return q.SecretPut(ctx, &SecretPut{}) },
		"Submit":     func(ctx context.Context, q *Queue) error { _, err := q.Submit(ctx, &Submit{}); return err },
		"Cancel":     func(ctx context.Context, q *Queue) error { _, err := q.Cancel(ctx, "x"); return err },
		"NodeDrain":  func(ctx context.Context, q *Queue) error { return q.NodeDrain(ctx, &NodeDrain{}) },
		"NodeLabel":  func(ctx context.Context, q *Queue) error { return q.NodeLabel(ctx, &NodeLabel{}) },
		"PackRemove": func(ctx context.Context, q *Queue) error {
			_, err := q.PackRemove(ctx, &PackRemove{Name: "p", Force: true})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, actor := range []*Actor{ann, nil} {
				sent = nil
				inQueue(t, do, func(t *testing.T, q *Queue, _ *fakeLog) {
					if err := send(WithActor(t.Context(), actor), q); err != nil {
						t.Fatal(err)
					}
				})
				for i, c := range sent {
					if want := actor; i == 0 && !proto.Equal(c.Actor, want) || i > 0 && c.Actor != nil {
						t.Errorf("command %d of %d has the actor %v", i, len(sent), c.Actor)
					}
				}
				if kind := c0(sent); kind != name {
					t.Errorf("%s was sent", kind)
				}
			}
		})
	}
}

// c0 names the kind of the first command.
func c0(cmds []*Command) string {
	if len(cmds) == 0 {
		return ""
	}
	m := cmds[0].ProtoReflect()
	return string(m.Get(m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))).Message().Descriptor().Name())
}
