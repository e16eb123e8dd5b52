package fsm

import (
	"encoding/binary"
	"slices"
	"strconv"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"
)

// The classes of the audit log. Each has bounds of its own, so that a flood of tasks cannot
// push out who was given which rights.
const (
	auditAdmin = 0 // all but
	auditTasks = 1 // Submit and Cancel
)

const (
	// maxAuditText bounds each text of a record, in bytes: a rule of Apply.
	maxAuditText = 255
	// auditPage is about how many bytes of records are read in one transaction.
	auditPage = 256 << 10
)

// auditing encodes what the commands of one entry did, once for all of them: an Audits of
// each class.
type auditing struct {
	record *Audit
	bufs   [2][]byte // reused by the next entry
}

// note adds what a command did that somebody asked for.
func (a *applier) note(number int, c *Command, out *Outcome) error {
	if c.Actor == nil {
		return nil
	}
	r := a.audit.record
	r.Sub, r.Addr = clip(c.Actor.Sub, maxAuditText), clip(c.Actor.Addr, maxAuditText)
	r.Code, r.Count, r.Number = out.Code, 0, uint32(number)
	class, target, detail := a.describe(r, c, out)
	r.Target, r.Detail = clip(target, maxAuditText), clip(detail, maxAuditText)
	buf := a.audit.bufs[class]
	if len(buf) == 0 && a.now != 0 {
		buf = protowire.AppendVarint(protowire.AppendTag(buf, 1, protowire.VarintType), uint64(a.now))
	}
	size := r.SizeVT()
	buf = protowire.AppendVarint(protowire.AppendTag(buf, 2, protowire.BytesType), uint64(size))
	buf = slices.Grow(buf, size)[:len(buf)+size]
	_, err := r.MarshalToSizedBufferVT(buf[len(buf)-size:])
	a.audit.bufs[class] = buf
	return err
}

// describe says what a command was about. It never tells a hash, a key or an argument.
func (a *applier) describe(r *Audit, c *Command, out *Outcome) (class int, target, detail string) {
	switch k := c.Kind.(type) {
	case *Command_Submit:
		r.Action, r.Count = 1, uint64(len(k.Submit.Tasks))
		if r.Count > 0 {
			target, detail = k.Submit.Tasks[0].id(out), k.Submit.Tasks[0].Type
		}
		return auditTasks, target, detail
	case *Command_Assign:
		r.Action, target = 2, keyText(k.Assign.Key)
	case *Command_Finish:
		r.Action, target = 3, keyText(k.Finish.Key)
	case *Command_Release:
		r.Action, target, detail = 4, keyText(k.Release.Key), k.Release.Reason
	case *Command_Cancel:
		r.Action = 5
		return auditTasks, k.Cancel.Id, ""
	case *Command_Tick:
		r.Action = 6
	case *Command_Purge:
		r.Action = 7
	case *Command_NodeUp:
		r.Action, target = 8, k.NodeUp.Name
	case *Command_NodeDown:
		r.Action, target, detail = 9, a.nodeName(k.NodeDown.Place), k.NodeDown.Reason
		if k.NodeDown.Forget {
			detail = "removed"
		}
	case *Command_NodeDrain:
		r.Action, target, detail = 10, a.nodeName(k.NodeDrain.Place), "resume"
		if k.NodeDrain.Draining {
			detail = "drain"
		}
	case *Command_PackPut:
		r.Action, target, detail = 11, k.PackPut.Name, k.PackPut.Release
	case *Command_PackUse:
		r.Action, target, detail = 12, k.PackUse.Name, k.PackUse.Release
	case *Command_PackRemove:
		r.Action, target, detail = 13, k.PackRemove.Name, k.PackRemove.Release
	case *Command_NodePacks:
		r.Action, target = 14, a.nodeName(k.NodePacks.Place)
	case *Command_NodeLabel:
		r.Action, target, detail = 19, a.nodeName(k.NodeLabel.Place), k.NodeLabel.text()
	case *Command_UserPut:
		r.Action, target, detail = 15, k.UserPut.Name, a.what
	case *Command_UserRemove:
		r.Action, target = 16, k.UserRemove.Name
	case *Command_KeysPut:
		r.Action, r.Count = 17, uint64(len(k.KeysPut.Keys))
		if len(k.KeysPut.Keys) > 0 {
			target, detail = k.KeysPut.Keys[0].Id, k.KeysPut.Keys[0].Algorithm
		}
	case *Command_SecretPut:
		r.Action, target, detail = 18, a.what, "over"
		if n := k.SecretPut.Rotation; n != nil {
			target, detail = n.To, "phase "+strconv.FormatUint(uint64(n.Phase), 10)
		}
	}
	return auditAdmin, target, detail
}

// id returns what the first task of a Submit is known by: the id that was answered, or that
// was asked for.
func (n *New) id(out *Outcome) string {
	switch {
	case len(out.Ids) > 0:
		return out.Ids[0]
	case n.Name != "":
		return n.Name
	}
	return keyText(n.Key)
}

// keyText returns the text of a key, "" if it is none.
func keyText(key []byte) string {
	if len(key) != len(Key{}) {
		return ""
	}
	return Key(key).String()
}

// nodeName returns the name of a node, or its number where there is none.
func (a *applier) nodeName(p *Place) string {
	if n := a.nodes[p.GetNode()]; n != nil {
		return n.Name
	}
	return strconv.FormatUint(uint64(p.GetNode()), 10)
}

// keepAudits puts what the entry did into the memtable.
func (a *applier) keepAudits() {
	for class, buf := range a.audit.bufs {
		if len(buf) == 0 {
			continue
		}
		val := append(make([]byte, 0, len(buf)+sealSize), buf...)
		a.active.audits = append(a.active.audits, ending{auditKey(class, a.changes.Index), val})
		a.active.bytes += len(val)
		a.auditBytes[class] += int64(len(val))
		a.audit.bufs[class] = buf[:0]
	}
}

func auditKey(class int, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 9), byte(class)), index)
}

// auditTime returns the time of an Audits without reading the rest.
func auditTime(val []byte) (int64, error) {
	number, _, n := protowire.ConsumeTag(val)
	if number != 1 {
		return 0, nil // the time is 0
	}
	ms, n := protowire.ConsumeVarint(val[n:])
	if n < 0 {
		return 0, damaged("the time of an audit record: %w", protowire.ParseError(n))
	}
	return int64(ms), nil
}

// purgeAudits forgets the oldest records of each class until they fit the limits, all that
// one log entry did together. Everything it may forget is in the store: see purge.
func (a *applier) purgeAudits(tx *bolt.Tx, c *Purge) error {
	for class := range a.auditBytes {
		cur := readBucket(tx, bucketAudit).cursor()
		k, v := cur.seek([]byte{byte(class)})
		if dropped := a.active.dropped[class]; len(dropped) > 0 { // see purgeTasks
			cur.seek(dropped[len(dropped)-1])
			k, v = cur.next()
		}
		for n := uint32(0); n < c.Limit && k != nil && int(k[0]) == class; n++ {
			ms, err := auditTime(v)
			if err != nil {
				return err
			}
			if ms >= c.AuditBeforeMs && (c.MaxAuditBytes == 0 || uint64(a.auditBytes[class]) <= c.MaxAuditBytes) {
				break
			}
			a.auditBytes[class] -= int64(len(v))
			a.active.dropped[class] = append(a.active.dropped[class], slices.Clone(k))
			k, v = cur.next()
		}
	}
	return nil
}

func (m *memtable) writeAudits(tx *bolt.Tx) error {
	audit := writeBucket(tx, bucketAudit)
	audit.b.FillPercent = 0.95 // it grows at its end, most of it
	for _, class := range m.dropped {
		for _, k := range class {
			if err := audit.delete(k); err != nil {
				return err
			}
		}
	}
	for _, e := range m.audits {
		if err := audit.put(e.key, e.val); err != nil {
			return err
		}
	}
	return audit.done()
}

// loadAudits returns the bytes of each class.
func loadAudits(tx *bolt.Tx) (bytes [2]int64, err error) {
	err = readBucket(tx, bucketAudit).each(func(k, v []byte) error {
		if len(k) != 9 || int(k[0]) >= len(bytes) {
			return damaged("the audit log has a record %x", k)
		}
		bytes[k[0]] += int64(len(v))
		return nil
	})
	return bytes, err
}
