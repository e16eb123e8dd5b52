package fsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

func hashed(h string) func(*UserPut)         { return func(u *UserPut) { u.PasswordHash = h } }
func scopes(s ...string) func(*UserPut)      { return func(u *UserPut) { u.Scopes = s } }
func allowed(types ...string) func(*UserPut) { return func(u *UserPut) { u.AllowedTasks = types } }
func create(u *UserPut)                      { u.Create = true }
func keepRights(u *UserPut)                  { u.KeepRights = true }

// TestUserPut tells the life of a user.
func TestUserPut(t *testing.T) {
	m := newMachine(t)
	is := func(want *User) {
		t.Helper()
		m.mustFlush()
		if got := m.User("ann"); !proto.Equal(got, want) {
			t.Fatalf("entry %d: the user is\n  %v, want\n  %v", m.index, got, want)
		}
	}
	m.gives(Code_NOT_FOUND, userPut("ann", hashed(""), scopes("audit:read")))
	m.gives(Code_NOT_FOUND, userPut("ann", keepRights)) // who was removed does not come back by a new password
	m.gives(Code_MISFIT, userPut("ann", create, hashed("")))
	if m.User("ann") != nil {
		t.Fatal("there is a user without a password")
	}
	made := userPut("ann", create, allowed("p.*"), scopes("tasks:read", "tasks:write"))
	m.ok(made)
	want := &User{
		Name: "ann", PasswordHash: "h1", AllowedTasks: []string{"p.*"}, Scopes: []string{"tasks:read", "tasks:write"},
		Epoch: m.index, CreatedMs: m.clock, ChangedMs: m.clock,
	}
	is(want)

	m.clock += 1000
	m.changes = nil
	m.ok(made, userPut("ann", hashed(""), keepRights)) // a second try, and a change of nothing
	is(want)
	for _, c := range m.changes {
		if c.Users {
			t.Errorf("the observer was told %+v", c)
		}
	}
	m.gives(Code_CONFLICT, userPut("ann", create, hashed("h2"), allowed("p.*"), scopes("tasks:read", "tasks:write")))
	m.gives(Code_CONFLICT, userPut("ann", create, allowed("p.*")))
	is(want)

	m.ok(userPut("ann", hashed("h2"), keepRights))
	want.PasswordHash, want.Epoch, want.ChangedMs = "h2", m.index, m.clock
	is(want)
	if !m.changes[len(m.changes)-1].Users {
		t.Error("the observer was not told")
	}
	m.clock += 1000
	m.ok(userPut("ann", hashed(""), scopes("packs:write")))
	want.Scopes, want.AllowedTasks, want.ChangedMs = []string{"packs:write"}, nil, m.clock
	is(want)
	m.ok(userRemove("ann"))
	is(nil)
	m.gives(Code_NOT_FOUND, userRemove("ann"))
}

// TestUserTwiceInAnEntry checks that the second change in one log entry is one, though both
// have its index.
func TestUserTwiceInAnEntry(t *testing.T) {
	m := newMachine(t)
	m.do(userPut("ann", create), userPut("ann", hashed("h2")), userPut("bob"), userRemove("bob"))
	if got := m.User("ann"); got.PasswordHash != "h2" || got.Epoch != m.index || len(m.Users()) != 1 {
		t.Errorf("the users are %v", m.Users())
	}
}

// TestUserMisfits checks the bounds of what a user may be.
func TestUserMisfits(t *testing.T) {
	many := func(n, size int) []string { return slices.Repeat([]string{strings.Repeat("a", size)}, n) }
	for name, tt := range map[string]struct {
		cmd  *Command
		want Code
	}{
		"longest name":      {userPut("a.B-9_@" + strings.Repeat("x", 57)), Code_OK},
		"long name":         {userPut(strings.Repeat("x", 65)), Code_MISFIT},
		"no name":           {userPut(""), Code_MISFIT},
		"a space":           {userPut("a b"), Code_MISFIT},
		"a slash":           {userPut("a/b"), Code_MISFIT},
		"zero":              {userPut("a\x00b"), Code_MISFIT},
		"letters of others": {userPut("ä"), Code_MISFIT},
		"no UTF-8":          {userPut("a\xff"), Code_MISFIT},
		"longest hash":      {userPut("a", hashed(strings.Repeat("h", 512))), Code_OK},
		"long hash":         {userPut("a", hashed(strings.Repeat("h", 513))), Code_MISFIT},
		"most patterns":     {userPut("a", allowed(many(1000, 255)...)), Code_OK},
		"many patterns":     {userPut("a", allowed(many(1001, 1)...)), Code_MISFIT},
		"long pattern":      {userPut("a", allowed(many(1, 256)...)), Code_MISFIT},
		"empty pattern":     {userPut("a", allowed("")), Code_MISFIT},
		"most scopes":       {userPut("a", scopes(many(32, 64)...)), Code_OK},
		"many scopes":       {userPut("a", scopes(many(33, 1)...)), Code_MISFIT},
		"long scope":        {userPut("a", scopes(many(1, 65)...)), Code_MISFIT},
		"empty scope":       {userPut("a", scopes("")), Code_MISFIT},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.gives(tt.want, tt.cmd)
			if got := len(m.Users()); got != map[Code]int{Code_OK: 1}[tt.want] {
				t.Errorf("%d users", got)
			}
			m.mustFlush()
		})
	}
}

// TestUserLimit checks that there are only so many users, and that those stay to be changed.
func TestUserLimit(t *testing.T) {
	m := newMachine(t)
	var cmds []*Command
	for i := range maxUsers {
		cmds = append(cmds, userPut(fmt.Sprint("u", i)))
	}
	m.do(cmds...)
	m.gives(Code_MISFIT, userPut("more"))
	m.ok(userPut("u7", hashed("h2")), userRemove("u8"), userPut("more"))
	if got := len(m.Users()); got != maxUsers {
		t.Errorf("%d users, want %d", got, maxUsers)
	}
}

// TestLastAdmin checks that somebody is left who may do everything, once there is.
func TestLastAdmin(t *testing.T) {
	m := newMachine(t)
	m.ok(userPut("ann", scopes("tasks:read")), userPut("ann", scopes()), userRemove("ann")) // there was none
	m.ok(userPut("ann", scopes("tasks:read", ScopeAdmin)), userPut("bob"))
	m.gives(Code_LAST_ADMIN, userRemove("ann"))
	m.gives(Code_LAST_ADMIN, userPut("ann", hashed(""), scopes("tasks:read")))
	m.ok(userRemove("bob"), userPut("ann", hashed("h2"), keepRights), userPut("ann", hashed(""), scopes(ScopeAdmin)))
	m.ok(userPut("bob", scopes(ScopeAdmin)), userRemove("ann"))
	m.gives(Code_LAST_ADMIN, userRemove("bob"))
	outs := m.do(userPut("ann", scopes(ScopeAdmin)), userRemove("bob"), userRemove("ann"))
	if outs[1].Code != Code_OK || outs[2].Code != Code_LAST_ADMIN {
		t.Errorf("two admins removed in one entry: %v", outs)
	}
}

// TestUsersReload checks that users, keys and rotation are there after a start, whether they
// were written or come again from the log, and that records do not keep a log entry's memory.
func TestUsersReload(t *testing.T) {
	dir := t.TempDir()
	m := openMachine(t, dir)
	m.index++
	data := encoded(t, m.index, m.clock, userPut("ann", allowed("p.*"), scopes(ScopeAdmin)), keysPut(0, "k1"),
		secretPut(0, &Rotation{From: "s1", To: "s2", Sealed: []byte("x"), Phase: 1}))
	m.FSM().Apply(data)
	user := &User{Name: "ann", PasswordHash: "h1", AllowedTasks: []string{"p.*"}, Scopes: []string{"admin"}, Epoch: 1, CreatedMs: m.clock, ChangedMs: m.clock}
	keys := &Keys{Keys: []*SigningKey{{Id: "k1", Algorithm: "EdDSA", Sealed: []byte("k1")}}, Version: 1}
	rotation := &Rotation{From: "s1", To: "s2", Sealed: []byte("x"), Phase: 1, Version: 1, StartedMs: m.clock}
	clear(data.Data)
	check := func() {
		t.Helper()
		if !proto.Equal(m.User("ann"), user) || !proto.Equal(m.Keys(), keys) || !proto.Equal(m.Rotation(), rotation) {
			t.Fatalf("there are %v, %v, %v; want %v, %v, %v", m.User("ann"), m.Keys(), m.Rotation(), user, keys, rotation)
		}
	}
	check()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openMachine(t, dir)
	defer m.Close()
	check()
	other := newMachine(t)
	other.ok(userPut("bob"), keysPut(0, "k9"), secretPut(0, &Rotation{To: "s9", Phase: 1}))
	if err := other.FSM().Restore(readCloser{strings.NewReader(string(snapshotBytes(t, m.State)))}); err != nil {
		t.Fatal(err)
	}
	m = other
	check()
	if m.User("bob") != nil {
		t.Error("a user outlived a restore")
	}
	if c := m.changes[len(m.changes)-1]; !c.Reset || !c.Users || !c.Keys || !c.Rotation {
		t.Errorf("the observer was told %+v", c)
	}
}
