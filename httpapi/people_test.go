package httpapi

import (
	"context"
	"sync"
	"testing"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

const localToken = "local-token-of-the-tests"

// testKey is one for all tests: making one takes long.
var testKey = sync.OnceValue(func() *auth.Key {
	key, err := auth.NewKey()
	if err != nil {
		panic(err)
	}
	return key
})

// fakePeople are the users, keys, secrets and the audit log of a cluster of one.
type fakePeople struct {
	users   map[string]*fsm.User
	puts    []*fsm.UserPut
	keys    *auth.KeySet
	newer   *auth.KeySet // that this node has not heard of yet
	rotated int
	secret  string
	records []fsm.AuditRecord
	err     error
}

func newPeople() *fakePeople {
	return &fakePeople{users: map[string]*fsm.User{}, keys: auth.NewKeySet(auth.Rules{Issuer: "test"}, testKey())}
}

func (f *fakePeople) User(name string) *fsm.User { return f.users[name] }

func (f *fakePeople) Find(_ context.Context, name string) (*fsm.User, error) {
	return f.users[name], nil
}

func (f *fakePeople) Users() (all []*fsm.User) {
	for _, name := range []string{"admin", "ann", "bob", "eve"} {
		if u := f.users[name]; u != nil {
			all = append(all, u)
		}
	}
	return all
}

func (f *fakePeople) UserPut(ctx context.Context, u *fsm.UserPut) error {
	f.puts = append(f.puts, u)
	if f.err != nil {
		return f.err
	}
	old := f.users[u.Name]
	next := &fsm.User{Name: u.Name, PasswordHash: u.PasswordHash, Scopes: u.Scopes, AllowedTasks: u.AllowedTasks, Epoch: old.GetEpoch()}
	if u.PasswordHash == "" {
		next.PasswordHash = old.GetPasswordHash()
	} else {
		next.Epoch++
	}
	f.users[u.Name] = next
	return nil
}

func (f *fakePeople) UserRemove(_ context.Context, name string) error {
	if f.err == nil {
		delete(f.users, name)
	}
	return f.err
}

func (f *fakePeople) CatchUp(context.Context) error {
	if f.newer != nil {
		f.keys, f.newer = f.newer, nil
	}
	return nil
}

func (f *fakePeople) Set() *auth.KeySet { return f.keys }
func (f *fakePeople) List() []KeyView   { return []KeyView{{ID: "k", Algorithm: "RS256", Signs: true}} }

func (f *fakePeople) Rotate(_ context.Context, text string) error { f.secret = text; return f.err }

func (f *fakePeople) Rotation(context.Context) RotationView { return RotationView{} }

func (f *fakePeople) EachAudit(after uint64, out func(fsm.AuditRecord) error) error {
	for _, r := range f.records {
		if r.Index > after {
			if err := out(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// add makes a user and returns a token of theirs.
func (f *fakePeople) add(t *testing.T, name string, scopes, allowed []string) string {
	t.Helper()
	f.users[name] = &fsm.User{Name: name, Scopes: scopes, AllowedTasks: allowed, Epoch: 5}
	return f.sign(t, &auth.Claims{Sub: name, Scopes: scopes, Allowed: allowed, Epoch: 5})
}

func (f *fakePeople) sign(t *testing.T, c *auth.Claims) string {
	t.Helper()
	token, err := f.keys.Sign(c, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + token
}

func (f *fakePeople) Renew(context.Context) error { f.rotated++; return f.err }
