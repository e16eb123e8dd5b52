package fsm

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// noted is a record of the audit log, as the model has it.
type noted struct {
	index uint64
	tasks bool // a Submit or Cancel
	ms    int64
	*Audit
}

func (m *model) userPut(c *UserPut) *Outcome {
	old := m.users[c.Name]
	switch {
	case c.Name == "" || strings.Contains(c.Name, " ") || c.Create && c.PasswordHash == "":
		return &Outcome{Code: Code_MISFIT}
	case old == nil && !c.Create && (c.PasswordHash == "" || c.KeepRights):
		return &Outcome{Code: Code_NOT_FOUND}
	case old == nil:
		m.what = "created"
		m.users[c.Name] = &User{Name: c.Name, PasswordHash: c.PasswordHash, Epoch: m.index, CreatedMs: m.now, ChangedMs: m.now}
		if !c.KeepRights {
			m.users[c.Name].AllowedTasks, m.users[c.Name].Scopes = c.AllowedTasks, c.Scopes
		}
		return &Outcome{}
	}
	u := proto.CloneOf(old)
	var what []string
	if c.PasswordHash != "" && c.PasswordHash != old.PasswordHash {
		what = append(what, "password")
		u.PasswordHash, u.Epoch = c.PasswordHash, m.index
	}
	if !c.KeepRights && (!slices.Equal(c.Scopes, old.Scopes) || !slices.Equal(c.AllowedTasks, old.AllowedTasks)) {
		what = append(what, "rights")
		u.Scopes, u.AllowedTasks = c.Scopes, c.AllowedTasks
	}
	m.what = strings.Join(what, ", ")
	switch {
	case what == nil:
		return &Outcome{}
	case c.Create:
		return &Outcome{Code: Code_CONFLICT}
	case m.admins() == c.Name && !slices.Contains(u.Scopes, "admin"):
		return &Outcome{Code: Code_LAST_ADMIN}
	}
	u.ChangedMs = m.now
	m.users[c.Name] = u
	return &Outcome{}
}

// admins returns the names of those who may do everything.
func (m *model) admins() string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.users)) {
		if slices.Contains(m.users[name].Scopes, "admin") {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func (m *model) userRemove(name string) *Outcome {
	switch {
	case m.users[name] == nil:
		return &Outcome{Code: Code_NOT_FOUND}
	case m.admins() == name:
		return &Outcome{Code: Code_LAST_ADMIN}
	}
	delete(m.users, name)
	return &Outcome{}
}

func (m *model) keysPut(c *KeysPut) *Outcome {
	same := slices.EqualFunc(c.Keys, m.signing.GetKeys(), func(a, b *SigningKey) bool { return proto.Equal(a, b) })
	switch {
	case len(c.Keys) == 0 || len(c.Keys) > 8:
		return &Outcome{Code: Code_MISFIT}
	case same && c.Version <= m.signing.Version:
	case c.Version != m.signing.GetVersion():
		return &Outcome{Code: Code_CONFLICT}
	default:
		m.signing = &Keys{Keys: c.Keys, Version: m.index}
	}
	return &Outcome{}
}

func (m *model) secretPut(c *SecretPut) *Outcome {
	old, r := m.rotation, c.Rotation
	if r != nil {
		r = &Rotation{From: r.From, To: r.To, Sealed: r.Sealed, Phase: r.Phase, Version: old.GetVersion(), StartedMs: old.GetStartedMs()}
	}
	switch {
	case r != nil && (r.To == "" || r.Phase == 0):
		return &Outcome{Code: Code_MISFIT}
	case proto.Equal(r, old) && c.Version <= old.GetVersion(), r == nil && old == nil:
	case c.Version != old.GetVersion():
		return &Outcome{Code: Code_CONFLICT}
	case r == nil:
		m.what, m.rotation = old.To, nil
	default:
		if old == nil || old.From != r.From || old.To != r.To || !bytes.Equal(old.Sealed, r.Sealed) {
			r.StartedMs = m.now
		}
		r.Version = m.index
		m.rotation = r
	}
	return &Outcome{}
}

// audit notes what a command did.
func (m *model) audit(number int, c *Command, out *Outcome) {
	if c.Actor == nil {
		return
	}
	kind := c.ProtoReflect().WhichOneof(c.ProtoReflect().Descriptor().Oneofs().ByName("kind"))
	a := &Audit{Sub: c.Actor.Sub, Addr: c.Actor.Addr, Action: uint32(kind.Number()), Code: out.Code, Number: uint32(number)}
	name := func(p *Place) string {
		if n := m.nodes[p.GetNode()]; n != nil {
			return n.Name
		}
		return fmt.Sprint(p.GetNode())
	}
	key := func(b []byte) string { return Key(b).String() }
	switch k := c.Kind.(type) {
	case *Command_Submit:
		n := k.Submit.Tasks[0]
		a.Target, a.Count, a.Detail = cmp.Or(n.Name, key(n.Key)), uint64(len(k.Submit.Tasks)), n.Type
		if len(out.Ids) > 0 {
			a.Target = out.Ids[0]
		}
	case *Command_Assign:
		a.Target = key(k.Assign.Key)
	case *Command_Finish:
		a.Target = key(k.Finish.Key)
	case *Command_Release:
		a.Target, a.Detail = key(k.Release.Key), k.Release.Reason
	case *Command_Cancel:
		a.Target = k.Cancel.Id
	case *Command_NodeUp:
		a.Target = k.NodeUp.Name
	case *Command_NodeDown:
		a.Target, a.Detail = name(k.NodeDown.Place), k.NodeDown.Reason
		if k.NodeDown.Forget {
			a.Detail = "removed"
		}
	case *Command_NodeDrain:
		a.Target, a.Detail = name(k.NodeDrain.Place), map[bool]string{true: "drain", false: "resume"}[k.NodeDrain.Draining]
	case *Command_NodeLabel:
		a.Target, a.Detail = name(k.NodeLabel.Place), k.NodeLabel.text()
	case *Command_NodePacks:
		a.Target = name(k.NodePacks.Place)
	case *Command_PackPut:
		a.Target, a.Detail = k.PackPut.Name, k.PackPut.Release
	case *Command_PackUse:
		a.Target, a.Detail = k.PackUse.Name, k.PackUse.Release
	case *Command_PackRemove:
		a.Target, a.Detail = k.PackRemove.Name, k.PackRemove.Release
	case *Command_UserPut:
		a.Target, a.Detail = k.UserPut.Name, m.what
	case *Command_UserRemove:
		a.Target = k.UserRemove.Name
	case *Command_KeysPut:
		if a.Count = uint64(len(k.KeysPut.Keys)); a.Count > 0 {
			a.Target, a.Detail = k.KeysPut.Keys[0].Id, k.KeysPut.Keys[0].Algorithm
		}
	case *Command_SecretPut:
		a.Target, a.Detail = m.what, "over"
		if r := k.SecretPut.Rotation; r != nil {
			a.Target, a.Detail = r.To, fmt.Sprint("phase ", r.Phase)
		}
	}
	for _, text := range []*string{&a.Sub, &a.Addr, &a.Target, &a.Detail} {
		if len(*text) > 255 {
			*text = (*text)[:255] + "..."
		}
	}
	m.audits = append(m.audits, noted{m.index, a.Action == 1 || a.Action == 5, m.now, a})
}

// auditSizes returns the bytes that each log entry has in a class of the audit log.
func (m *model) auditSizes(tasks bool) map[uint64]uint64 {
	entries := map[uint64]*Audits{}
	for _, n := range m.audits {
		if n.tasks == tasks {
			if entries[n.index] == nil {
				entries[n.index] = &Audits{TimeMs: n.ms}
			}
			entries[n.index].Audits = append(entries[n.index].Audits, n.Audit)
		}
	}
	sizes := map[uint64]uint64{}
	for index, e := range entries {
		sizes[index] = uint64(proto.Size(e))
	}
	return sizes
}

// purgeAudits forgets what log entries did, the oldest first, until the limits of each class
// are kept. What its own entry did is neither counted nor forgotten.
func (m *model) purgeAudits(c *Purge) {
	for _, tasks := range []bool{false, true} {
		sizes, total := m.auditSizes(tasks), uint64(0)
		delete(sizes, m.index)
		for _, n := range sizes {
			total += n
		}
		for i, index := range slices.Sorted(maps.Keys(sizes)) {
			old := slices.ContainsFunc(m.audits, func(n noted) bool { return n.index == index && n.ms < c.AuditBeforeMs })
			if i >= int(c.Limit) || !old && (c.MaxAuditBytes == 0 || total <= c.MaxAuditBytes) {
				break
			}
			total -= sizes[index]
			m.audits = slices.DeleteFunc(m.audits, func(n noted) bool { return n.tasks == tasks && n.index == index })
		}
	}
}
