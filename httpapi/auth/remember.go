package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"sync"
)

// maxRemembered bounds how many users' passwords are remembered: beyond it all are forgotten, and are hashed once more.
const maxRemembered = 64

// Remembered knows passwords again that were right a moment ago, of programs that send theirs with every request: hashing one takes
// some 40 ms. It keeps no passwords, but their HMAC under a key that ends with the process.
type Remembered struct {
	key []byte

	mu    sync.Mutex
	right map[string]remembered // by user; guarded by mu
}

type remembered struct {
	epoch uint64 // of the user, which a new password changes
	mac   []byte
}

// NewRemembered returns one that remembers nothing yet.
func NewRemembered() *Remembered {
	return &Remembered{key: random(sha256.Size), right: map[string]remembered{}}
}

// Keep remembers that a password is the user's, in that epoch of theirs.
func (r *Remembered) Keep(user string, epoch uint64, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.right[user]; !known && len(r.right) >= maxRemembered {
		clear(r.right)
	}
	r.right[user] = remembered{epoch, r.mac(password)}
}

// Knows says whether Keep was told of this password, in this epoch. No means that it has to be looked at.
func (r *Remembered) Knows(user string, epoch uint64, password string) bool {
	r.mu.Lock()
	kept, ok := r.right[user]
	r.mu.Unlock()
	return ok && kept.epoch == epoch && hmac.Equal(kept.mac, r.mac(password))
}

func (r *Remembered) mac(password string) []byte {
	h := hmac.New(sha256.New, r.key)
	h.Write([]byte(password))
	return h.Sum(nil)
}
