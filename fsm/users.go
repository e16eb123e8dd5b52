package fsm

import (
	"cmp"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// ScopeAdmin is the scope of a user who may do everything.
const ScopeAdmin = "admin"

// These are rules of Apply: builds that differ in one of them would drift apart.
const (
	maxUsers   = 10_000
	maxHash    = 512   // of a password, in bytes
	maxAllowed = 1_000 // patterns of a user
	maxPattern = 255   // bytes
	maxScopes  = 32    // of a user
	maxScope   = 64    // bytes
)

// fits says whether a user's record may be made of it.
func (c *UserPut) fits() bool {
	return userName(c.Name) && len(c.PasswordHash) <= maxHash &&
		eachFits(c.AllowedTasks, maxAllowed, maxPattern) && eachFits(c.Scopes, maxScopes, maxScope)
}

// userName says whether a user may have that name: 1 to 64 letters, digits and ._-@
func userName(name string) bool {
	other := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@", r))
	}
	return name != "" && len(name) <= maxUserName && !strings.ContainsFunc(name, other)
}

// eachFits says whether there are at most n strings, none empty and none longer than size.
func eachFits(list []string, n, size int) bool {
	return len(list) <= n && !slices.ContainsFunc(list, func(s string) bool { return s == "" || len(s) > size })
}

// admin says whether a user may do everything. Nil may do nothing.
func (u *User) admin() bool { return slices.Contains(u.GetScopes(), ScopeAdmin) }

// lastAdmin says whether nobody else may do what this user may: everything.
func (a *applier) lastAdmin(u *User) bool {
	if !u.admin() {
		return false
	}
	for _, other := range a.users {
		if other != u && other.admin() {
			return false
		}
	}
	return true
}

// userPut makes a user or changes one. What is as it was already is answered again, so that
// the second try of a creation is none of another user.
func (a *applier) userPut(c *UserPut) (*Outcome, error) {
	old := a.users[c.Name]
	switch {
	case !c.fits(), c.Create && c.PasswordHash == "", old == nil && len(a.users) >= maxUsers:
		return &Outcome{Code: Code_MISFIT}, nil
	case old == nil && !c.Create && (c.PasswordHash == "" || c.KeepRights):
		return &Outcome{Code: Code_NOT_FOUND}, nil // there is nothing that could stay as it was
	}
	u := a.changed(old, c)
	a.what = u.unlike(old)
	switch {
	case a.what == "":
		return &Outcome{}, nil
	case old != nil && c.Create:
		return &Outcome{Code: Code_CONFLICT}, nil
	case a.lastAdmin(old) && !u.admin():
		return &Outcome{Code: Code_LAST_ADMIN}, nil
	}
	a.putUser(u.Name, u)
	return &Outcome{}, nil
}

// changed returns the record that a user has after a change, or gets. It shares no memory
// with the log entry.
func (a *applier) changed(old *User, c *UserPut) *User {
	u := &User{Name: strings.Clone(c.Name), CreatedMs: a.now, ChangedMs: a.now}
	if old != nil {
		u.Name, u.PasswordHash, u.Epoch, u.CreatedMs = old.Name, old.PasswordHash, old.Epoch, old.CreatedMs
		u.AllowedTasks, u.Scopes = old.AllowedTasks, old.Scopes
	}
	if c.PasswordHash != "" && c.PasswordHash != u.PasswordHash {
		u.PasswordHash, u.Epoch = strings.Clone(c.PasswordHash), a.changes.Index
	}
	if !c.KeepRights {
		u.AllowedTasks, u.Scopes = cloned(c.AllowedTasks), cloned(c.Scopes)
	}
	return u
}

// unlike says in what a record differs from the one before.
func (u *User) unlike(old *User) string {
	switch {
	case old == nil:
		return "created"
	case u.PasswordHash == old.PasswordHash && u.sameRights(old):
		return ""
	case u.PasswordHash == old.PasswordHash:
		return "rights"
	case u.sameRights(old):
		return "password"
	}
	return "password, rights"
}

func (u *User) sameRights(other *User) bool {
	return slices.Equal(u.AllowedTasks, other.AllowedTasks) && slices.Equal(u.Scopes, other.Scopes)
}

func cloned(list []string) []string {
	var out []string
	for _, s := range list {
		out = append(out, strings.Clone(s))
	}
	return out
}

func (a *applier) userRemove(c *UserRemove) (*Outcome, error) {
	u := a.users[c.Name]
	switch {
	case u == nil:
		return &Outcome{Code: Code_NOT_FOUND}, nil
	case a.lastAdmin(u):
		return &Outcome{Code: Code_LAST_ADMIN}, nil
	}
	a.putUser(u.Name, nil)
	return &Outcome{}, nil
}

// putUser makes u the record of a user; nil removes it.
func (a *applier) putUser(name string, u *User) {
	a.changes.Users = true
	a.active.users[name] = u
	if u == nil {
		delete(a.users, name)
		return
	}
	a.users[name] = u
	a.active.bytes += u.SizeVT()
}

func (m *memtable) writeUsers(tx *bolt.Tx) error {
	users := writeBucket(tx, bucketUsers)
	for name, u := range m.users {
		if u == nil {
			if err := users.delete([]byte(name)); err != nil {
				return err
			}
			continue
		}
		val, err := u.MarshalVT()
		if err != nil {
			return err
		}
		if err := users.put([]byte(name), val); err != nil {
			return err
		}
	}
	return users.done()
}

func loadUsers(tx *bolt.Tx) (map[string]*User, error) {
	users := map[string]*User{}
	err := readBucket(tx, bucketUsers).each(func(k, v []byte) error {
		u := new(User)
		users[string(k)] = u
		return u.UnmarshalVT(v)
	})
	return users, err
}

// User returns the record of a user, nil if there is none.
func (s *State) User(name string) *User {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.users[name]
}

// Users returns the records of the users, by name.
func (s *State) Users() []*User {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*User, 0, len(s.users))
	for _, u := range s.users {
		out = append(out, u)
	}
	slices.SortFunc(out, func(a, b *User) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
