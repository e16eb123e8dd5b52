package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
	bolt "go.etcd.io/bbolt"
)

// snapshot1 returns a snapshot as a release before packs wrote it.
func snapshot1(t *testing.T, s *State) []byte {
	t.Helper()
	records := storeRecords(t, s)
	var b bytes.Buffer
	b.WriteString("pytasks snapshot 1\n")
	packed, sum := s2.NewWriter(&b), sha256.New()
	w := bufio.NewWriter(io.MultiWriter(packed, sum))
	for _, name := range buckets1 {
		writeBytes(w, name)
		for _, key := range slices.Sorted(maps.Keys(records[string(name)])) {
			writeBytes(w, []byte(key))
			writeBytes(w, []byte(records[string(name)][key]))
		}
		writeBytes(w, nil)
	}
	err := w.Flush()
	_, err2 := packed.Write(sum.Sum(nil))
	if err := errors.Join(err, err2, packed.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRestoreFormats restores snapshots of this release, of one before users, whose bytes it
// wrote itself, and of one before packs.
func TestRestoreFormats(t *testing.T) {
	from := finishedTasks(t, 3)
	before := snapshot1(t, from.State)
	from.ok(packPut("p", "1"), submit(task(9, released("1"), large("a", 70_000))), keyed("once", "hash", 60_000, task(10, named("mine"))),
		by("root", userPut("ann", scopes(ScopeAdmin))), keysPut(0, "k1"), secretPut(0, &Rotation{To: "s2", Phase: 1}), by("ann", submit(task(11))))
	now := snapshotBytes(t, from.State)

	m := newMachine(t)
	m.ok(packPut("else", "1"), by("root", userPut("else")), keysPut(0, "else"), secretPut(0, &Rotation{To: "else", Phase: 1}))
	for _, tt := range []struct {
		name   string
		snap   []byte
		packs  int
		tasks  int
		blobs  string
		users  int
		audits int
	}{
		{"format 1", before, 0, 0, "", 0, 0}, {"format 2", readGolden(t, "testdata/snapshots/2.golden"), 1, 1, "a 70000", 0, 0},
		{"format 3 as it was written once", golden(t, "snapshots/3", now), 1, 1, "a 70000", 1, 2}, {"format 3", now, 1, 1, "a 70000", 1, 2},
	} {
		m.changes = nil
		if err := m.FSM().Restore(readCloser{bytes.NewReader(tt.snap)}); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		m.is(Status_SUCCESS, 1, k(1), k(2), k(3))
		if got := m.Packs(); len(got) != tt.packs || m.PackTasks("p@1") != tt.tasks {
			t.Errorf("%s: the packs are %v with %d tasks, want %d with %d", tt.name, got, m.PackTasks("p@1"), tt.packs, tt.tasks)
		}
		m.hasBlobs(tt.blobs)
		if u, a := len(m.Users()), len(m.audits(0)); u != tt.users || len(m.Keys().GetKeys()) != u || (m.Rotation() != nil) != (u > 0) || a != tt.audits {
			t.Errorf("%s: there are the users %v, %v, %v and %d records of the audit log", tt.name, m.Users(), m.Keys(), m.Rotation(), a)
		}
		if c := m.changes[0]; !c.Reset || !c.Packs || !c.Users {
			t.Errorf("%s: the observer was told %+v", tt.name, c)
		}
	}
	if got := snapshotBytes(t, m.State); !bytes.Equal(got, now) {
		t.Error("a snapshot of what was restored is another one")
	}
	for _, format := range []string{snapshotFormat1, snapshotFormat2} {
		mixed := append([]byte(format), now[len(snapshotFormat):]...)
		if err := m.FSM().Restore(readCloser{bytes.NewReader(mixed)}); !errors.Is(err, errBadSnapshot) {
			t.Errorf("users in a snapshot of another format, %q: %v, want %v", format, err, errBadSnapshot)
		}
	}
}

// TestDigestOfPacks checks that packs are a part of the digest, and blobs.
func TestDigestOfPacks(t *testing.T) {
	sums := map[[sha256.Size]byte]bool{}
	for _, cmd := range []*Command{packPut("p", "1"), packPut("p", "2"), packPut("p", "1"), submit(task(1, large("a", 5))), submit(task(1, large("b", 5)))} {
		m := newMachine(t)
		m.ok(cmd)
		_, sum, err := m.Digest()
		if err != nil {
			t.Fatal(err)
		}
		sums[sum] = true
	}
	if len(sums) != 4 {
		t.Errorf("two releases, one of them twice, and two blobs have %d digests", len(sums))
	}
}

// TestOpenBefore opens the files of releases before packs and before users, which have no
// buckets for them nor for what came with them: they are kept. Where only a bucket is missing,
// it is damaged.
func TestOpenBefore(t *testing.T) {
	for _, tt := range []struct {
		name   string
		remove func(tx *bolt.Tx) error
		kept   bool
	}{
		{"before packs", func(tx *bolt.Tx) error { return removeBuckets(tx, buckets[len(buckets1):]) }, true},
		{"before users", func(tx *bolt.Tx) error { return removeBuckets(tx, buckets[len(buckets2):]) }, true},
		{"no bucket of the audit log", func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketAudit) }, false},
		{"no bucket of blobs", func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketBlobs) }, false},
		{"no bucket", func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketPacks) }, false},
		{"no tally", func(tx *bolt.Tx) error {
			tallies := writer{reader: readBucket(tx, bucketTallies)}
			return tallies.delete(bucketPacks)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			m := openMachine(t, dir)
			m.ok(up("id1", "alpha", 1), submit(task(1)))
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			db, err := openStore(filepath.Join(dir, "state.db"))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.update(tt.remove), db.close()); err != nil {
				t.Fatal(err)
			}
			if err := verifyStore(filepath.Join(dir, "state.db")); (err == nil) != tt.kept {
				t.Errorf("verifyStore: %v, want it whole: %v", err, tt.kept)
			}
			m = openMachine(t, dir)
			if got := m.Counts().Live == 1; got != tt.kept {
				t.Fatalf("the state was kept: %v, want %v", got, tt.kept)
			}
			m.ok(packPut("p", "1"), submit(task(2, large("a", 9))), by("root", userPut("ann")))
			live := m.Counts().Live
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			m = openMachine(t, dir)
			defer m.Close()
			m.hasBlobs("a 9")
			if m.Pack("p") == nil || m.Counts().Live != live || m.User("ann") == nil || len(m.audits(0)) != 1 {
				t.Errorf("after another start the packs are %v, the users %v, and %d tasks", m.Packs(), m.Users(), m.Counts().Live)
			}
		})
	}
}

// removeBuckets takes buckets out of a store as if it had been made without them.
func removeBuckets(tx *bolt.Tx, names [][]byte) error {
	tallies := writer{reader: readBucket(tx, bucketTallies)}
	var errs []error
	for _, name := range names {
		errs = append(errs, tx.DeleteBucket(name), tallies.delete(name))
	}
	return errors.Join(errs...)
}
