package fsm

import (
	"bytes"
	"fmt"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestDigest checks that states at the same index of the same log have the same digest,
// however they came there, and others do not.
func TestDigest(t *testing.T) {
	digest := func(s *State) (uint64, [32]byte) {
		t.Helper()
		index, sum, err := s.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return index, sum
	}
	a, b := newMachine(t), newMachine(t)
	if index, _ := digest(a.State); index != 0 {
		t.Errorf("a new state has the digest of index %d", index)
	}
	for _, m := range []*machine{a, b} {
		m.ok(up("id1", "alpha", 1), submit(task(1, named("mine"), at(place(1, 1))), task(2)))
		if m == b {
			m.mustFlush()
		}
		m.ok(finish(k(1), 1, `1`))
	}
	index, sum := digest(a.State)
	if other, otherSum := digest(b.State); index != a.index || other != index || otherSum != sum {
		t.Errorf("digests are %x at %d and %x at %d, want the same at %d", sum, index, otherSum, other, a.index)
	}
	c := newMachine(t)
	if err := c.FSM().Restore(readCloser{bytes.NewReader(snapshotBytes(t, a.State))}); err != nil {
		t.Fatal(err)
	}
	if other, otherSum := digest(c.State); other != index || otherSum != sum {
		t.Errorf("what was restored has the digest %x at %d, want %x at %d", otherSum, other, sum, index)
	}
	a.ok(cancel(k(2).String()))
	b.ok(tick(1))
	next, sumA := digest(a.State)
	if other, sumB := digest(b.State); next != index+1 || other != next || sumA == sumB || sumA == sum {
		t.Errorf("after other entries the digests are %x at %d and %x at %d", sumA, next, sumB, other)
	}
}

// TestDigestOfManySmallBuckets: small buckets are kept inside the page that lists them,
// and may make it two pages with one above.
func TestDigestOfManySmallBuckets(t *testing.T) {
	m := newCluster(t)
	branches := 0
	for i := range 60 {
		m.ok(keyed(fmt.Sprintf("key%03d", i), "h", 1000, task(i+1, named(fmt.Sprintf("name%03d", i)))))
		if i%3 == 0 {
			m.ok(cancel(fmt.Sprintf("name%03d", i)))
		}
		m.mustFlush()
		if _, _, err := m.Digest(); err != nil {
			t.Fatalf("after %d tasks: %v", i+1, err)
		}
		err := m.db.view(func(tx *bolt.Tx) error {
			info, err := tx.Page(int(tx.Cursor().Bucket().RootPage()))
			if info != nil && info.Type == "branch" {
				branches++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if branches == 0 {
		t.Error("the list of buckets was never more than a page: this test shows nothing")
	}
}
