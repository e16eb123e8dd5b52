package fsm

import (
	"cmp"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"
)

// users compares the users, the signing keys and the rotation.
func (c *comparison) users(s *State, want *model) {
	c.t.Helper()
	there := slices.SortedFunc(maps.Values(want.users), func(a, b *User) int { return cmp.Compare(a.Name, b.Name) })
	if got := s.Users(); !slices.EqualFunc(got, there, func(a, b *User) bool { return proto.Equal(a, b) && s.User(a.Name) == a }) {
		c.t.Fatalf("users are %v, want %v", got, there)
	}
	if got := s.Keys(); (got == nil) != (want.signing == nil) || !proto.Equal(got, want.signing) {
		c.t.Fatalf("keys are %v, want %v", got, want.signing)
	}
	if got := s.Rotation(); (got == nil) != (want.rotation == nil) || !proto.Equal(got, want.rotation) {
		c.t.Fatalf("the rotation is %v, want %v", got, want.rotation)
	}
}

// audits compares the audit log. What is in memory is not written for it, as for blobs.
func (c *comparison) audits(s *State, want *model) {
	c.t.Helper()
	var got []AuditRecord
	add := func(k, v []byte) error {
		var err error
		got, err = appendAudits(got, readU64(k[1:]), v)
		return err
	}
	dropped := map[string]bool{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	tables := []*memtable{s.active}
	if s.sealed != nil {
		tables = []*memtable{s.sealed, s.active}
	}
	for _, m := range tables {
		for _, k := range slices.Concat(m.dropped[0], m.dropped[1]) {
			dropped[string(k)] = true
		}
	}
	err := s.view(func(tx *bolt.Tx) error {
		return readBucket(tx, bucketAudit).each(func(k, v []byte) error {
			if dropped[string(k)] {
				return nil
			}
			return add(k, v)
		})
	})
	for _, m := range tables {
		for _, e := range m.audits {
			if !dropped[string(e.key)] && err == nil {
				err = add(e.key, e.val)
			}
		}
	}
	if err != nil {
		c.t.Fatalf("read the audit log: %v", err)
	}
	slices.SortFunc(got, func(a, b AuditRecord) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Number, b.Number))
	})
	c.sameAudits(got, want)
	for class, bytes := range s.auditBytes {
		var sum uint64
		for _, n := range want.auditSizes(class == auditTasks) {
			sum += n
		}
		if uint64(bytes) != sum {
			c.t.Fatalf("class %d of the audit log is counted as %d bytes, want %d", class, bytes, sum)
		}
	}
}

func (c *comparison) sameAudits(got []AuditRecord, want *model) {
	c.t.Helper()
	if !slices.EqualFunc(got, want.audits, func(a AuditRecord, n noted) bool {
		return a.Index == n.index && a.TimeMs == n.ms && proto.Equal(a.Audit, n.Audit)
	}) {
		c.t.Fatalf("the audit log is\n%v\nwant\n%v", got, want.audits)
	}
}

// auditLog checks what EachAudit gives. It writes what is in memory.
func (c *comparison) auditLog(s *State, want *model) {
	c.t.Helper()
	var got []AuditRecord
	err := s.EachAudit(0, func(r AuditRecord) error { got = append(got, r); return nil })
	if err != nil {
		c.t.Fatalf("EachAudit: %v", err)
	}
	c.sameAudits(got, want)
}
