package fsm

import (
	"maps"

	"google.golang.org/protobuf/proto"
)

// checkStore checks that the buckets of the store say the same as the model: each task
// stands in one of live and done, and what is derived from the tasks is derived from
// those that there are.
func checkStore(t failer, s *State, want *model) {
	t.Helper()
	got := storeRecords(t, s)
	live, done, failed, names := map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}
	ended := map[Key]Status{}
	for key, task := range want.tasks {
		id := string(key[:])
		switch {
		case want.ended[key] == 0:
			live[id] = ""
		case task.Status != Status_SUCCESS:
			failed[id] = ""
			fallthrough
		default:
			done[id] = ""
			ended[key] = task.Status
		}
		if task.Name != "" {
			names[task.Name] = id
		}
	}
	sameKeys := func(bucket []byte, want map[string]string) {
		if got := got[string(bucket)]; !maps.EqualFunc(got, want, func(string, string) bool { return true }) {
			t.Fatalf("bucket %s has %q, want the keys of %q", bucket, got, want)
		}
	}
	sameKeys(bucketLive, live)
	sameKeys(bucketDone, done)
	sameKeys(bucketFailed, failed)
	sameKeys(bucketNames, names)
	if got := got[string(bucketNames)]; !maps.Equal(got, names) {
		t.Fatalf("names lead to %q, want %q", got, names)
	}
	for id, val := range got[string(bucketExpiry)] {
		err := eachEnded([]byte(val), func(key Key, status Status, size int64) error {
			if ended[key] != status || size != finishedSize(want.tasks[key]) {
				t.Fatalf("task %s is to be forgotten as %v with %d bytes in %x, it is %v", key, status, size, id, want.tasks[key])
			}
			delete(ended, key)
			return nil
		})
		if err != nil {
			t.Fatalf("%v", err)
		}
	}
	if len(ended) > 0 {
		t.Fatalf("nothing will forget %v", ended)
	}
	checkKeys(t, got, want)
	packs := map[string]string{}
	for name := range want.packs {
		packs[name] = ""
	}
	sameKeys(bucketPacks, packs)
	users := map[string]string{}
	for name := range want.users {
		users[name] = ""
	}
	sameKeys(bucketUsers, users)
	audits := map[string]string{}
	for class, tasks := range []bool{false, true} {
		for index := range want.auditSizes(tasks) {
			audits[string(auditKey(class, index))] = ""
		}
	}
	sameKeys(bucketAudit, audits)
}

// checkKeys checks the Idempotency-Keys: all that count are there, and each is going to
// be forgotten.
func checkKeys(t failer, got map[string]map[string]string, want *model) {
	t.Helper()
	until := map[string]string{}
	for key, val := range got[string(bucketKeys)] {
		r := new(Remembered)
		if err := r.UnmarshalVT([]byte(val)); err != nil || !proto.Equal(r, want.keys[key]) {
			t.Fatalf("key %q is %v, %v; want %v", key, r, err, want.keys[key])
		}
		until[string(untilKey(r.UntilMs, key))] = ""
	}
	if got := got[string(bucketKeyUntil)]; !maps.Equal(got, until) {
		t.Fatalf("keys are forgotten at %q, want %q", got, until)
	}
	for key, r := range want.keys {
		if _, ok := got[string(bucketKeys)][key]; !ok && r.UntilMs > want.now {
			t.Fatalf("key %q is forgotten, it counts until %d", key, r.UntilMs)
		}
	}
}

// storeRecords returns the records of each bucket, after writing what is in memory.
func storeRecords(t failer, s *State) map[string]map[string]string {
	t.Helper()
	if err := s.flush(); err != nil {
		t.Fatalf("flush: %v", err)
	}
	snap, err := s.begin()
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer snap.Release()
	records := map[string]map[string]string{}
	for _, name := range buckets {
		b := map[string]string{}
		err := readBucket(snap.tx, name).each(func(k, v []byte) error {
			b[string(k)] = string(v)
			return nil
		})
		if err != nil {
			t.Fatalf("%v", err)
		}
		records[string(name)] = b
	}
	return records
}
