package auth

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// rsaBits is the size of the keys that a cluster makes.
const rsaBits = 2048

// Key is a key of tokens: a pair, or its public half alone.
type Key struct {
	ID      string // RFC 7638: the thumbprint of the public half
	Public  crypto.PublicKey
	private crypto.Signer // nil = tokens are not signed with it here
}

// NewKey makes an RSA pair.
func NewKey() (*Key, error) {
	private, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return newKey(private.Public(), private)
}

func newKey(public crypto.PublicKey, private crypto.Signer) (*Key, error) {
	k := &Key{Public: public, private: private}
	switch public := public.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() < rsaBits {
			return nil, fmt.Errorf("the RSA key has %d bits: it needs %d or more", public.N.BitLen(), rsaBits)
		}
	case ed25519.PublicKey:
	default:
		return nil, fmt.Errorf("a key of this kind (%T) signs no tokens here: it must be RSA, or Ed25519", public)
	}
	sum := sha256.Sum256([]byte(k.thumbprint()))
	k.ID = base64.RawURLEncoding.EncodeToString(sum[:])
	return k, nil
}

// Algorithm returns RS256 or EdDSA.
func (k *Key) Algorithm() string {
	if _, ok := k.Public.(ed25519.PublicKey); ok {
		return "EdDSA"
	}
	return "RS256"
}

// Signs says whether the key's private half is there.
func (k *Key) Signs() bool { return k.private != nil }

// thumbprint returns the members of a JSON Web Key that name it, in their order.
func (k *Key) thumbprint() string {
	encode := base64.RawURLEncoding.EncodeToString
	if public, ok := k.Public.(ed25519.PublicKey); ok {
		return `{"crv":"Ed25519","kty":"OKP","x":"` + encode(public) + `"}`
	}
	public := k.Public.(*rsa.PublicKey)
	return `{"e":"` + encode(big.NewInt(int64(public.E)).Bytes()) + `","kty":"RSA","n":"` + encode(public.N.Bytes()) + `"}`
}

// JWK returns the public half as a JSON Web Key (RFC 7517).
func (k *Key) JWK() json.RawMessage {
	head := fmt.Sprintf(`{"kid":%q,"use":"sig","alg":%q,`, k.ID, k.Algorithm())
	return json.RawMessage(head + k.thumbprint()[1:])
}

// PKIX returns the public half, and PKCS8 the private one, nil if it is not there.
func (k *Key) PKIX() ([]byte, error) { return x509.MarshalPKIXPublicKey(k.Public) }

// PKCS8 returns the private half.
func (k *Key) PKCS8() ([]byte, error) {
	if k.private == nil {
		return nil, nil
	}
	return x509.MarshalPKCS8PrivateKey(k.private)
}

// ParseKey reads a public half, PKIX, and the private one, PKCS #8, nil = it is not there.
func ParseKey(public, private []byte) (*Key, error) {
	if private == nil {
		pub, err := x509.ParsePKIXPublicKey(public)
		if err != nil {
			return nil, fmt.Errorf("read a public key: %w", err)
		}
		return newKey(pub, nil)
	}
	key, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return nil, errors.New("read a private key: it is damaged") // the error of x509 is not for logs
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("read a private key: it does not sign")
	}
	return newKey(signer.Public(), signer)
}

// ParsePEM reads a key pair as PEM: the private half, or the public one alone where that is nil; where both are given they must belong
// together. RSA keys may be PKCS #1 or PKCS #8 and PKIX, Ed25519 keys the latter.
func ParsePEM(private, public []byte) (*Key, error) {
	var pub crypto.PublicKey
	if len(public) > 0 {
		var err error
		if pub, err = parsePublic(public); err != nil {
			return nil, fmt.Errorf("the public key of tokens: %w", err)
		}
		if len(private) == 0 {
			return newKey(pub, nil)
		}
	}
	signer, err := parsePrivate(private)
	if err != nil {
		return nil, fmt.Errorf("the private key of tokens: %w", err)
	}
	if other, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); pub != nil && (!ok || !other.Equal(pub)) {
		return nil, errors.New("the private and the public key of tokens do not belong together")
	}
	return newKey(signer.Public(), signer)
}

func decodePEM(text []byte) (*pem.Block, error) {
	block, _ := pem.Decode(text)
	switch {
	case block != nil && (strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") || block.Type == "ENCRYPTED PRIVATE KEY"):
		return nil, errors.New("it is encrypted: give it without a password")
	case block != nil:
		return block, nil
	case strings.Contains(string(text), `\n`):
		return nil, errors.New(`it has the two characters \n where lines must end`)
	}
	return nil, errors.New("it is no PEM: it begins with a line such as -----BEGIN PRIVATE KEY-----, and has real line breaks")
}

func parsePrivate(text []byte) (crypto.Signer, error) {
	block, err := decodePEM(text)
	if err != nil {
		return nil, err
	}
	if block.Type == "RSA PRIVATE KEY" {
		key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("it is damaged")
		}
		return key, nil
	}
	if block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("a %s is not a private RSA or Ed25519 key", block.Type)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("it is damaged")
	}
	return signer, nil
}

func parsePublic(text []byte) (crypto.PublicKey, error) {
	block, err := decodePEM(text)
	if err != nil {
		return nil, err
	}
	var key crypto.PublicKey
	switch block.Type {
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a %s is not a public key", block.Type)
	}
	if err != nil {
		return nil, errors.New("it is damaged")
	}
	return key, nil
}
