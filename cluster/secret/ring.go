package secret

import (
	"slices"
	"sync"
)

// Ring holds the secrets that a node honours; it uses the first. There is always one.
type Ring struct {
	mu       sync.Mutex
	secrets  []Secret         // guarded by mu; never changed in place
	watchers []func([]Secret) // guarded by mu
}

// NewRing returns a ring that uses first and honours more as well.
func NewRing(first Secret, more ...Secret) *Ring {
	r := &Ring{secrets: []Secret{first}}
	for _, s := range more {
		r.Add(s)
	}
	return r
}

// Secrets returns all, the one in use first.
func (r *Ring) Secrets() []Secret {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.secrets)
}

// Current returns the one in use.
func (r *Ring) Current() Secret {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.secrets[0]
}

// Find returns the one with that id.
func (r *Ring) Find(id string) (Secret, bool) {
	for _, s := range r.Secrets() {
		if s.ID() == id {
			return s, true
		}
	}
	return Secret{}, false
}

// Add honours one more.
func (r *Ring) Add(s Secret) {
	r.change(func(all []Secret) []Secret {
		if slices.Contains(all, s) {
			return all
		}
		return append(all, s)
	})
}

// Use makes the one with that id, if it is honoured, the one in use.
func (r *Ring) Use(id string) {
	r.change(func(all []Secret) []Secret {
		i := slices.IndexFunc(all, func(s Secret) bool { return s.ID() == id })
		if i > 0 {
			s := all[i]
			all = slices.Insert(slices.Delete(all, i, i+1), 0, s)
		}
		return all
	})
}

// Drop does not honour the one with that id any more. The one in use stays.
func (r *Ring) Drop(id string) {
	r.change(func(all []Secret) []Secret {
		return append(all[:1], slices.DeleteFunc(all[1:], func(s Secret) bool { return s.ID() == id })...)
	})
}

// Watch calls f with the secrets, now and whenever they have changed, before the change returns. f must not use the ring.
func (r *Ring) Watch(f func([]Secret)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers = append(r.watchers, f)
	f(slices.Clone(r.secrets))
}

func (r *Ring) change(f func([]Secret) []Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := f(slices.Clone(r.secrets))
	if slices.Equal(next, r.secrets) {
		return
	}
	r.secrets = next
	for _, watch := range r.watchers {
		watch(slices.Clone(next))
	}
}
