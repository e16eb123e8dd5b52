package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unique"
)

const (
	prefix  = "pts1_" // of the text form, version 1
	size    = 32      // bytes of a secret
	sumSize = 4       // bytes of the checksum in the text form
)

// encoding is that of the text form. A last character with bits that mean nothing is an error.
var encoding = base64.RawURLEncoding.Strict()

// Secret is the secret of a cluster. Secrets are compared by ==; the zero value is none. Printed by any means but Text
// it is "***".
type Secret struct {
	// key is behind a pointer that is compared like what it points to: fmt calls no methods of a field that is not
	// exported, so that the bytes themselves would be printed with a Ring, or whatever else holds a secret.
	key unique.Handle[[size]byte]
}

// New makes a secret.
func New() Secret {
	var key [size]byte
	_, _ = rand.Read(key[:]) // it never fails
	return Secret{unique.Make(key)}
}

// Parse reads a secret in its text form. Its errors do not repeat any of it.
func Parse(text string) (s Secret, err error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), prefix)
	if !ok {
		return s, fmt.Errorf("a secret begins with %s: make one with `pytasks secret new`", prefix)
	}
	want := encoding.EncodedLen(size + sumSize)
	switch {
	case len(body) < want:
		return s, fmt.Errorf("the secret is cut off: %d of %d characters are there", len(prefix)+len(body), len(prefix)+want)
	case len(body) > want:
		return s, fmt.Errorf("the secret is too long: it has %d characters, not %d", len(prefix)+len(body), len(prefix)+want)
	}
	raw, err := encoding.DecodeString(body)
	if err != nil || len(raw) != size+sumSize || string(raw[size:]) != string(checksum(raw[:size])) {
		return s, errors.New("the secret has a typing error: its checksum does not fit")
	}
	return Secret{unique.Make([size]byte(raw[:size]))}, nil
}

func checksum(key []byte) []byte {
	sum := sha256.Sum256(append([]byte("pytasks secret"), key...))
	return sum[:sumSize]
}

// Text is the text form, for files and eyes that may see it: 53 characters.
func (s Secret) Text() string {
	return prefix + encoding.EncodeToString(append(s.bytes(), checksum(s.bytes())...))
}

func (s Secret) bytes() []byte {
	key := s.key.Value()
	return key[:]
}

// ID names the secret without giving it away: 12 hexadecimal digits.
func (s Secret) ID() string { return hex.EncodeToString(s.derive("id", 6)) }

// GossipKey returns the key of gossip, 32 bytes for AES-256.
func (s Secret) GossipKey() []byte { return s.derive("gossip", 32) }

// derive makes a key of n bytes for one purpose.
func (s Secret) derive(label string, n int) []byte {
	key, err := hkdf.Key(sha256.New, s.bytes(), nil, "pytasks v1 "+label, n)
	if err != nil {
		panic(err) // n is too large: a mistake in this package
	}
	return key
}

// Seal encrypts a text so that only who has the secret can open it: AES-256-GCM with a random nonce before the
// ciphertext. The label says what the text is for; it opens under the same one only.
func (s Secret) Seal(label string, plain []byte) []byte {
	box := s.box(label)
	nonce := make([]byte, box.NonceSize(), box.NonceSize()+len(plain)+box.Overhead())
	_, _ = rand.Read(nonce)
	return box.Seal(nonce, nonce, plain, []byte(label))
}

// Open undoes Seal.
func (s Secret) Open(label string, sealed []byte) ([]byte, error) {
	box := s.box(label)
	if len(sealed) < box.NonceSize() {
		return nil, errors.New("what is sealed is cut off")
	}
	plain, err := box.Open(nil, sealed[:box.NonceSize()], sealed[box.NonceSize():], []byte(label))
	if err != nil {
		return nil, errors.New("it was sealed with another secret, for something else, or is damaged")
	}
	return plain, nil
}

func (s Secret) box(label string) cipher.AEAD {
	block, err := aes.NewCipher(s.derive("seal "+label, 32))
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block has 16 bytes
	}
	return box
}

const hidden = "***"

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret.
func (Secret) GoString() string { return hidden }

// Format hides the secret, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
