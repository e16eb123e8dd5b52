package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Parameters of argon2id, as OWASP recommends them: some 40 ms and 19 MiB for each password.
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	argonKey     = 32 // bytes
	argonSalt    = 16 // bytes
)

// Bounds on what a hash from elsewhere may cost.
const (
	maxArgonMemory = 256 << 10 // KiB
	maxArgonTime   = 16
)

const (
	minPassword = 8    // bytes
	maxPassword = 1024 // bytes
	// hashing is how many passwords are hashed at once, and waiting how many wait for that: each takes memory, and
	// whoever waits long is better told to come again.
	hashing = 2
	waiting = 16
)

// ErrBusy is that too many passwords are being looked at. Trying again in a second may help.
var ErrBusy = errors.New("too many log-ins at the same time: try again")

// Hasher hashes passwords, few at once. Its zero value is always busy.
type Hasher struct {
	turns chan struct{}
	queue chan struct{}
	dummy string // like a hash, of nobody's password
}

// NewHasher returns a hasher.
func NewHasher() *Hasher {
	return &Hasher{
		turns: make(chan struct{}, hashing), queue: make(chan struct{}, hashing+waiting),
		dummy: phc(random(argonSalt), random(argonKey)),
	}
}

// Check says whether a password may be set.
func Check(password string) error {
	switch n := len(password); {
	case n < minPassword:
		return fmt.Errorf("a password has at least %d characters", minPassword)
	case n > maxPassword:
		return fmt.Errorf("a password has at most %d bytes", maxPassword)
	}
	return nil
}

// NewPassword makes one that nobody guesses: 26 letters and digits.
func NewPassword() string { return rand.Text() }

// Hash returns a PHC string of a password. ErrBusy: too many at once.
func (h *Hasher) Hash(ctx context.Context, password string) (text string, err error) {
	err = h.turn(ctx, func() { text = hash(password) })
	return text, err
}

// Verify says whether a password is that of a PHC string. With "", which is that of nobody, it takes as long and says no. ErrBusy: too
// many at once.
func (h *Hasher) Verify(ctx context.Context, text, password string) (ok bool, err error) {
	known := text != ""
	if !known {
		text = h.dummy
	}
	err = h.turn(ctx, func() {
		ok = matches(text, password[:min(len(password), maxPassword)]) && known && len(password) <= maxPassword
	})
	return ok, err
}

func (h *Hasher) turn(ctx context.Context, f func()) error {
	select {
	case h.queue <- struct{}{}:
		defer func() { <-h.queue }()
	default:
		return ErrBusy
	}
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f()
	return nil
}

var base = base64.RawStdEncoding.Strict()

func hash(password string) string {
	salt := random(argonSalt)
	return phc(salt, argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey))
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // which never fails
	return b
}

func phc(salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, base.EncodeToString(salt), base.EncodeToString(key))
}

func matches(text, password string) bool {
	parts := strings.Split(text, "$")
	var version int
	var memory, passes uint32
	var threads uint8
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return false
	}
	if n, err := fmt.Sscanf(parts[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return false
	}
	n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads)
	if n != 3 || err != nil || memory > maxArgonMemory || passes < 1 || passes > maxArgonTime || threads < 1 {
		return false
	}
	salt, err := base.DecodeString(parts[4])
	if err != nil {
		return false
	}
	want, err := base.DecodeString(parts[5])
	if err != nil || len(want) == 0 {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1
}
