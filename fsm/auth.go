package fsm

import (
	"bytes"

	bolt "go.etcd.io/bbolt"
)

// These are rules of Apply: builds that differ in one of them would drift apart.
const (
	maxKeys     = 8
	maxKeyText  = 64       // of ids and of the name of an algorithm, in bytes
	maxKeyBytes = 16 << 10 // of a public or sealed key, or of a sealed secret
)

// The records of bucketAuth.
const (
	authKeys     = "keys"
	authRotation = "rotation"
)

// auth is what tokens are signed with, and the change of the cluster's secret.
type auth struct {
	keys     *Keys     // nil before the first
	rotation *Rotation // nil while none is under way
}

func (k *SigningKey) fits() bool {
	return k.Id != "" && len(k.Id) <= maxKeyText && len(k.Algorithm) <= maxKeyText && len(k.SealedBy) <= maxKeyText &&
		len(k.PublicDer) <= maxKeyBytes && len(k.Sealed) <= maxKeyBytes
}

func (r *Rotation) fits() bool {
	return r.To != "" && len(r.To) <= maxKeyText && len(r.From) <= maxKeyText && len(r.Sealed) <= maxKeyBytes && r.Phase > 0
}

// keysPut replaces the signing keys. Equal ones are answered again: it is the second try.
func (a *applier) keysPut(c *KeysPut) (*Outcome, error) {
	if len(c.Keys) == 0 || len(c.Keys) > maxKeys {
		return &Outcome{Code: Code_MISFIT}, nil
	}
	for _, k := range c.Keys {
		if !k.fits() {
			return &Outcome{Code: Code_MISFIT}, nil
		}
	}
	old := a.auth.keys
	same, err := sameBytes(&Keys{Keys: c.Keys}, &Keys{Keys: old.GetKeys()})
	switch {
	case err != nil:
		return nil, err
	case same && c.Version <= old.GetVersion():
		return &Outcome{}, nil
	case c.Version != old.GetVersion():
		return &Outcome{Code: Code_CONFLICT}, nil
	}
	keys := new(Keys)
	if err := a.putAuth(authKeys, &Keys{Keys: c.Keys, Version: a.changes.Index}, keys); err != nil {
		return nil, err
	}
	a.auth.keys, a.changes.Keys = keys, true
	return &Outcome{}, nil
}

// secretPut moves the rotation on, or ends it. What is so already is answered again. The
// time of its start is that of its first phase.
func (a *applier) secretPut(c *SecretPut) (*Outcome, error) {
	old, next := a.auth.rotation, c.Rotation
	if next != nil && !next.fits() {
		return &Outcome{Code: Code_MISFIT}, nil
	}
	if old == nil && next == nil {
		return &Outcome{}, nil
	}
	if old != nil && next != nil && c.Version <= old.Version && next.Phase == old.Phase && next.same(old) {
		return &Outcome{}, nil
	}
	if c.Version != old.GetVersion() {
		return &Outcome{Code: Code_CONFLICT}, nil
	}
	a.changes.Rotation = true
	if next == nil {
		a.what = old.To
		a.auth.rotation, a.active.auth[authRotation] = nil, nil
		return &Outcome{}, nil
	}
	started := a.now
	if old != nil && next.same(old) {
		started = old.StartedMs
	}
	next = &Rotation{
		From: next.From, To: next.To, Sealed: next.Sealed, Phase: next.Phase, Version: a.changes.Index, StartedMs: started,
	}
	r := new(Rotation)
	if err := a.putAuth(authRotation, next, r); err != nil {
		return nil, err
	}
	a.auth.rotation = r
	return &Outcome{}, nil
}

// same says whether two are one rotation, whatever its phase.
func (r *Rotation) same(other *Rotation) bool {
	return r.From == other.From && r.To == other.To && bytes.Equal(r.Sealed, other.Sealed)
}

// record is a message that is stored.
type record interface {
	MarshalVT() ([]byte, error)
	UnmarshalVT(data []byte) error
}

func sameBytes(a, b record) (bool, error) {
	x, err := a.MarshalVT()
	if err != nil {
		return false, err
	}
	y, err := b.MarshalVT()
	return bytes.Equal(x, y), err
}

// putAuth makes what from says a record, and its copy into, which shares no memory with the
// log entry.
func (a *applier) putAuth(name string, from, into record) error {
	val, err := from.MarshalVT()
	if err != nil {
		return err
	}
	a.active.auth[name] = val
	a.active.bytes += len(val)
	return into.UnmarshalVT(val)
}

func (m *memtable) writeAuth(tx *bolt.Tx) error {
	auth := writeBucket(tx, bucketAuth)
	for name, val := range m.auth {
		var err error
		if val == nil {
			err = auth.delete([]byte(name))
		} else {
			err = auth.put([]byte(name), val)
		}
		if err != nil {
			return err
		}
	}
	return auth.done()
}

func loadAuth(tx *bolt.Tx) (auth, error) {
	var a auth
	err := readBucket(tx, bucketAuth).each(func(k, v []byte) error {
		switch string(k) {
		case authKeys:
			a.keys = new(Keys)
			return a.keys.UnmarshalVT(v)
		case authRotation:
			a.rotation = new(Rotation)
			return a.rotation.UnmarshalVT(v)
		}
		return damaged("the bucket %s has a record %q", bucketAuth, k)
	})
	return a, err
}

// Keys returns the keys that tokens are signed with, nil before the first.
func (s *State) Keys() *Keys {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.auth.keys
}

// Rotation returns the change of the cluster's secret that is under way, nil if none is.
func (s *State) Rotation() *Rotation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.auth.rotation
}
