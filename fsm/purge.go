package fsm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// purge forgets finished tasks, oldest first and all that one log entry finished
// together, until they fit the limits, and Idempotency-Keys whose time is over. Everything it may forget is in the store:
// its entry was begun by writing the memtable (see makeRoom).
func (a *applier) purge(c *Purge) (*Outcome, error) {
	err := a.db.View(func(tx *bolt.Tx) error {
		if err := a.purgeTasks(tx, c); err != nil {
			return err
		}
		a.purgeKeys(tx, c)
		return nil
	})
	return &Outcome{}, err
}

func (a *applier) purgeTasks(tx *bolt.Tx, c *Purge) error {
	count := 0
	for _, n := range a.done.counts {
		count += n
	}
	forgotten := uint32(0)
	cur := tx.Bucket(bucketExpiry).Cursor()
	k, v := cur.First()
	if n := len(a.active.expired); n > 0 { // an earlier command of this entry came so far
		cur.Seek(a.active.expired[n-1])
		k, v = cur.Next()
	}
	for ; k != nil && forgotten < c.Limit; k, v = cur.Next() {
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
				return fmt.Errorf("purge: task %s has an expiry and no record", key)
			}
			a.active.tasks[key] = change{}
			a.active.purged = append(a.active.purged, key)
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

func (a *applier) purgeKeys(tx *bolt.Tx, c *Purge) {
	keys := tx.Bucket(bucketKeys)
	cur := tx.Bucket(bucketKeyUntil).Cursor()
	for k, _ := cur.First(); k != nil && uint32(len(a.active.lapsed)) < c.Limit; k, _ = cur.Next() {
		until := int64(binary.BigEndian.Uint64(k))
		if until > a.now {
			return
		}
		name := string(k[8:])
		a.active.lapsed = append(a.active.lapsed, append([]byte(nil), k...))
		if _, changed := a.active.keys[name]; changed {
			continue
		}
		r := new(Remembered)
		if r.UnmarshalVT(keys.Get([]byte(name))) == nil && r.UntilMs == until { // not given out again since
			a.active.keys[name] = nil
		}
	}
}
