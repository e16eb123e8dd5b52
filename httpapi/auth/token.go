package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// maxToken is the longest token, in bytes.
	maxToken = 8 << 10
	// maxSub is the longest name of a user, in bytes.
	maxSub = 64
	// leeway is how far clocks may be apart where a token begins to be valid. Its end has none, as in the reference.
	leeway = 30 * time.Second
	// audience is whom tokens of a cluster are for.
	audience = "pytasks"
)

// Rules are what a token must say.
type Rules struct {
	// Issuer is who makes the cluster's own tokens.
	Issuer string
	// Elsewhere says that others make tokens with the same key, as clients of the reference do: they may leave out who made them,
	// for whom, for which user and with which key. What they do say must be right.
	Elsewhere bool
	// Endless says that tokens need not end.
	Endless bool
}

// KeySet is the keys that tokens are judged with; the first signs, if its private half is here.
type KeySet struct {
	keys  []*Key
	rules Rules
}

// NewKeySet returns a set of keys, the one that signs first.
func NewKeySet(rules Rules, keys ...*Key) *KeySet { return &KeySet{keys, rules} }

// JWKS returns the public halves as a JSON Web Key Set (RFC 7517).
func (s *KeySet) JWKS() []byte {
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{[]json.RawMessage{}}
	for _, k := range s.keys {
		set.Keys = append(set.Keys, k.JWK())
	}
	text, _ := json.Marshal(set) // of raw JSON that is right
	return text
}

// Sign makes a token that says c, for the cluster itself, from now on.
func (s *KeySet) Sign(c *Claims, now time.Time, ttl time.Duration) (string, error) {
	if len(s.keys) == 0 || !s.keys[0].Signs() {
		return "", ErrNoKeys
	}
	key := s.keys[0]
	c.Issuer, c.Audience, c.Issued = s.rules.Issuer, []string{audience}, jwt.NewNumericDate(now)
	if !s.rules.Endless {
		c.Expires = jwt.NewNumericDate(now.Add(ttl))
	}
	t := jwt.NewWithClaims(jwt.GetSigningMethod(key.Algorithm()), c)
	t.Header["kid"] = key.ID
	text, err := t.SignedString(key.private)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return text, nil
}

// header is what a token says of itself before anything of it is believed.
type header struct {
	algorithm string
	key       string // "" = it names none
}

func readHeader(text []byte) (h header, err error) {
	f, err := members(text)
	if err != nil {
		return h, err
	}
	if f["crit"] != nil {
		return h, errors.New("it has crit, of which nothing is known here")
	}
	if h.algorithm, err = readText(f["alg"]); err != nil {
		return h, err
	}
	h.key, err = readText(f["kid"])
	return h, err
}

// payload is what a token says, unread until its signature is known to be right.
type payload struct {
	Claims
	text []byte
}

// UnmarshalJSON keeps what there is to read.
func (p *payload) UnmarshalJSON(text []byte) error {
	p.text = bytes.Clone(text)
	return nil
}

// Verify returns what a token says, if it is to be believed. Its errors are *Error.
func (s *KeySet) Verify(token string, now time.Time) (*Claims, error) {
	if len(token) > maxToken || strings.Count(token, ".") != 2 {
		return nil, ErrMalformed
	}
	first, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil {
		return nil, because(ErrMalformed, err)
	}
	h, err := readHeader(raw)
	if err != nil {
		return nil, because(ErrMalformed, err)
	}
	key, err := s.find(h)
	if err != nil {
		return nil, err
	}
	p := &payload{}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{key.Algorithm()}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	_, err = parser.ParseWithClaims(token, p, func(*jwt.Token) (any, error) { return key.Public, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return nil, because(ErrSignature, err)
	case err != nil:
		return nil, because(ErrMalformed, err)
	}
	c := &Claims{}
	switch err := c.UnmarshalJSON(p.text); {
	case errors.Is(err, errNoObject):
		return nil, because(ErrMalformed, err)
	case errors.Is(err, errIssued):
		return nil, &Error{ErrClaims.code, textUnexpected, err}
	case err != nil:
		return nil, because(ErrClaims, err)
	}
	if err := s.judge(c, now); err != nil {
		return nil, err
	}
	return c, nil
}

// find returns the key that a token is to be judged with. Which algorithm that is for the key says, not the token.
func (s *KeySet) find(h header) (*Key, error) {
	if len(s.keys) == 0 {
		return nil, ErrNoKeys
	}
	if !slices.ContainsFunc(s.keys, func(k *Key) bool { return k.Algorithm() == h.algorithm }) {
		return nil, ErrAlgorithm
	}
	for _, k := range s.keys {
		if k.Algorithm() == h.algorithm && (h.key == k.ID || h.key == "" && s.rules.Elsewhere) {
			return k, nil
		}
	}
	return nil, ErrKey
}

func (s *KeySet) judge(c *Claims, now time.Time) error {
	switch {
	case c.Expires == nil && !s.rules.Endless:
		return because(ErrClaims, errors.New("it has no end"))
	case c.Expires != nil && !now.Before(c.Expires.Time):
		return ErrExpired
	case c.Begins != nil && now.Add(leeway).Before(c.Begins.Time), c.Issued != nil && now.Add(leeway).Before(c.Issued.Time):
		return ErrNotYetValid
	case c.Issuer != s.rules.Issuer && !(c.Issuer == "" && s.rules.Elsewhere):
		return ErrIssuer
	case !slices.Contains(c.Audience, audience) && !(len(c.Audience) == 0 && s.rules.Elsewhere):
		return ErrAudience
	case c.Sub == "" && !s.rules.Elsewhere:
		return because(ErrClaims, errors.New("it names no user"))
	case len(c.Sub) > maxSub:
		return because(ErrClaims, errors.New("its user has a name that none can have"))
	}
	return nil
}

// Own says whether the cluster made the token itself: then its user is one of the cluster's.
func (s *KeySet) Own(c *Claims) bool { return c.Issuer != "" }
