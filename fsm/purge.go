package fsm

import (
	"bytes"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// purge forgets finished tasks, oldest first and all that one log entry finished
// together, until they fit the limits, Idempotency-Keys whose time is over, and likewise
// records of the audit log. Everything it may forget is in the store: its entry was begun by
// writing the memtable (see makeRoom).
func (a *applier) purge(c *Purge) (*Outcome, error) {
	err := a.view(func(tx *bolt.Tx) error {
		if err := a.purgeTasks(tx, c); err != nil {
			return err
		}
		if err := a.purgeKeys(tx, c); err != nil {
			return err
		}
		return a.purgeAudits(tx, c)
	})
	return &Outcome{}, err
}

func (a *applier) purgeTasks(tx *bolt.Tx, c *Purge) error {
	count := 0
	for _, n := range a.done.counts {
		count += n
	}
	forgotten := uint32(0)
	cur := readBucket(tx, bucketExpiry).cursor()
	k, v := cur.first()
	if n := len(a.active.expired); n > 0 { // an earlier command of this entry came so far
		cur.seek(a.active.expired[n-1])
		k, v = cur.next()
	}
	for ; k != nil && forgotten < c.Limit; k, v = cur.next() {
		finished := int64(binary.BigEndian.Uint64(k))
		if finished >= c.FinishedBeforeMs && uint64(count) <= c.MaxCount && uint64(a.done.bytes) <= c.MaxBytes {
			return nil
		}
		err := eachEnded(v, func(key Key, status Status, size int64) error {
			t, err := a.task(key)
			if err != nil {
				return err
			}
			if t == nil {
				return damaged("task %s has an expiry and no record", key)
			}
			a.active.tasks[key] = change{}
			a.active.purged = append(a.active.purged, key)
			a.active.unrefer(t)
			if t.Name != "" {
				a.active.names[t.Name] = nil
			}
			a.done.counts[status]--
			a.done.bytes -= size
			count--
			forgotten++
			return nil
		})
		if err != nil {
			return err
		}
		a.active.expired = append(a.active.expired, bytes.Clone(k))
	}
	return nil
}

func (a *applier) purgeKeys(tx *bolt.Tx, c *Purge) error {
	keys := readBucket(tx, bucketKeys)
	cur := readBucket(tx, bucketKeyUntil).cursor()
	for k, _ := cur.first(); k != nil && uint32(len(a.active.lapsed)) < c.Limit; k, _ = cur.next() {
		until := int64(binary.BigEndian.Uint64(k))
		if until > a.now {
			return nil
		}
		name := string(k[8:])
		a.active.lapsed = append(a.active.lapsed, append([]byte(nil), k...))
		if _, changed := a.active.keys[name]; changed {
			continue
		}
		val, ok := keys.get([]byte(name))
		if !ok {
			return damaged("Idempotency-Key %q has an end and no record", name)
		}
		r, err := decodeRemembered(val)
		if err != nil {
			return err
		}
		if r.UntilMs == until { // not given out again since
			a.active.keys[name] = nil
		}
	}
	return nil
}
