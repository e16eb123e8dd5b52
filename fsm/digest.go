package fsm

import "crypto/sha256"

// Digest returns the SHA-256 of the state's records and the log index that it is of: two
// nodes at the same index have the same one, or one of them is wrong. It writes what is in
// memory and reads the whole store, which takes a second for some million tasks.
func (s *State) Digest() (index uint64, sum [sha256.Size]byte, err error) {
	snap, err := s.snapshot()
	if err != nil {
		return 0, sum, err
	}
	defer snap.Release()
	hash := sha256.New()
	if err := snap.writeRecords(hash); err != nil {
		return 0, sum, err
	}
	err = s.checked(guard(func() error {
		applied, _ := readBucket(snap.tx, bucketMeta).get(metaApplied) // none in a new state
		index = readU64(applied)
		return nil
	}))
	return index, [sha256.Size]byte(hash.Sum(nil)), err
}
