package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// keys are made once: that takes long.
var keys = sync.OnceValue(func() [2]*Key {
	a, errA := NewKey()
	b, errB := NewKey()
	if err := errors.Join(errA, errB); err != nil {
		panic(err)
	}
	return [2]*Key{a, b}
})

var at = time.Unix(1_800_000_000, 0)

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// forge signs any header and payload with a key.
func forge(t *testing.T, key *Key, method jwt.SigningMethod, head, payload string) string {
	t.Helper()
	text := segment(head) + "." + segment(payload)
	sig, err := method.Sign(text, key.private)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func TestTokenMatrix(t *testing.T) {
	key, other := keys()[0], keys()[1]
	own := NewKeySet(Rules{Issuer: "pytasks/here"}, key)
	elsewhere := NewKeySet(Rules{Issuer: "pytasks/here", Elsewhere: true}, key)
	endless := NewKeySet(Rules{Issuer: "pytasks/here", Elsewhere: true, Endless: true}, key)
	head := fmt.Sprintf(`{"alg":"RS256","typ":"JWT","kid":%q}`, key.ID)
	claims := func(more string) string {
		return `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":1800000060` + more + `}`
	}
	sign := func(head, payload string) string { return forge(t, key, jwt.SigningMethodRS256, head, payload) }
	good := sign(head, claims(""))
	parts := strings.Split(good, ".")
	public, err := key.PKIX()
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	hs := func(secret []byte) string {
		text := segment(`{"alg":"HS256","typ":"JWT","kid":"`+key.ID+`"}`) + "." + segment(claims(""))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	none := func(alg string) string { return segment(`{"alg":"`+alg+`","typ":"JWT"}`) + "." + parts[1] + "." }

	for _, c := range []struct {
		name  string
		set   *KeySet
		token string
		want  *Error // nil = it is believed
	}{
		{"good", own, good, nil},
		{"good, audiences in a list", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":["x","pytasks"],"exp":1800000060}`), nil},
		{"good, exp as a text", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":"1800000060"}`), nil},
		{"good, exp as a float", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":1800000000.5}`), nil},
		{"good, issued in half a minute", own, sign(head, claims(`,"iat":1800000030`)), nil},
		{"good, unknown claims", own, sign(head, claims(`,"jti":"1","x":{"y":[1]}`)), nil},
		{"empty", own, "", ErrMalformed},
		{"one part", own, parts[0], ErrMalformed},
		{"two parts", own, parts[0] + "." + parts[1], ErrMalformed},
		{"four parts", own, good + ".x", ErrMalformed},
		{"dots", own, strings.Repeat(".", 1_000_000), ErrMalformed},
		{"too long", own, sign(head, claims(`,"x":"`+strings.Repeat("x", 8<<10)+`"`)), ErrMalformed},
		{"padding", own, parts[0] + "=." + parts[1] + "." + parts[2], ErrMalformed},
		{"a blank", own, parts[0] + " ." + parts[1] + "." + parts[2], ErrMalformed},
		{"header no JSON", own, segment("x") + "." + parts[1] + "." + parts[2], ErrMalformed},
		{"header a list", own, segment(`["RS256"]`) + "." + parts[1] + "." + parts[2], ErrMalformed},
		{"kid a number", own, sign(`{"alg":"RS256","kid":7}`, claims("")), ErrMalformed},
		{"critical header", own, sign(`{"alg":"RS256","kid":"`+key.ID+`","crit":["exp"],"exp":1}`, claims("")), ErrMalformed},
		{"alg none", own, none("none"), ErrAlgorithm},
		{"alg None", own, none("None"), ErrAlgorithm},
		{"alg NONE", own, none("NONE"), ErrAlgorithm},
		{"alg nOnE", own, none("nOnE"), ErrAlgorithm},
		{"alg empty", own, none(""), ErrAlgorithm},
		{"alg absent", own, segment(`{"typ":"JWT"}`) + "." + parts[1] + "." + parts[2], ErrAlgorithm},
		{"alg in small letters", own, sign(`{"alg":"rs256","kid":"`+key.ID+`"}`, claims("")), ErrAlgorithm},
		{"HS256 with the public key, PEM", own, hs(publicPEM), ErrAlgorithm},
		{"HS256 with the public key, DER", own, hs(public), ErrAlgorithm},
		{"HS256 with nothing", own, hs(nil), ErrAlgorithm},
		{"RS512", own, forge(t, key, jwt.SigningMethodRS512, `{"alg":"RS512","kid":"`+key.ID+`"}`, claims("")), ErrAlgorithm},
		{"PS256", own, forge(t, key, jwt.SigningMethodPS256, `{"alg":"PS256","kid":"`+key.ID+`"}`, claims("")), ErrAlgorithm},
		{"EdDSA without such a key", own, sign(`{"alg":"EdDSA","kid":"`+key.ID+`"}`, claims("")), ErrAlgorithm},
		{"no kid", own, sign(`{"alg":"RS256"}`, claims("")), ErrKey},
		{"another kid", own, sign(`{"alg":"RS256","kid":"`+other.ID+`"}`, claims("")), ErrKey},
		{"a kid that is a path", own, sign(`{"alg":"RS256","kid":"../../../dev/null"}`, claims("")), ErrKey},
		{"a key in the header", own, forge(t, other, jwt.SigningMethodRS256, `{"alg":"RS256","kid":"`+key.ID+`","jwk":`+string(other.JWK())+`}`, claims("")), ErrSignature},
		{"a URL of keys in the header", own, forge(t, other, jwt.SigningMethodRS256, `{"alg":"RS256","kid":"`+key.ID+`","jku":"https://evil.example/jwks"}`, claims("")), ErrSignature},
		{"another key", own, forge(t, other, jwt.SigningMethodRS256, head, claims("")), ErrSignature},
		{"no signature", own, parts[0] + "." + parts[1] + ".", ErrSignature},
		{"another token's signature", own, parts[0] + "." + parts[1] + "." + strings.Split(sign(head, claims(`,"x":1`)), ".")[2], ErrSignature},
		{"half a signature", own, good[:len(good)-102], ErrSignature},
		{"other claims", own, parts[0] + "." + segment(claims(`,"scopes":["admin"]`)) + "." + parts[2], ErrSignature},
		{"another signature, and expired", own, forge(t, other, jwt.SigningMethodRS256, head, `{"exp":1}`), ErrSignature},
		{"payload a list", own, sign(head, `[]`), ErrMalformed},
		{"payload a text", own, sign(head, `"x"`), ErrMalformed},
		{"payload cut off", own, sign(head, `{"sub":`), ErrMalformed},
		{"expired", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":1799999999}`), ErrExpired},
		{"expires now", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":1800000000}`), ErrExpired},
		{"expired, as a text", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":"1799999999"}`), ErrExpired},
		{"expired before 1970", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":-5}`), ErrExpired},
		{"no end", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks"}`), ErrClaims},
		{"an end of null", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":null}`), ErrClaims},
		{"an end that is a word", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":"soon"}`), ErrClaims},
		{"an end that is a float in a text", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":"1800000060.5"}`), ErrClaims},
		{"an end beyond all times", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"pytasks","exp":1e300}`), ErrClaims},
		{"not yet valid", own, sign(head, claims(`,"nbf":1800000031`)), ErrNotYetValid},
		{"issued in the future", own, sign(head, claims(`,"iat":1800000031`)), ErrNotYetValid},
		{"issued at a text", own, sign(head, claims(`,"iat":"1800000000"`)), ErrClaims},
		{"another issuer", own, sign(head, `{"sub":"ann","iss":"pytasks/there","aud":"pytasks","exp":1800000060}`), ErrIssuer},
		{"no issuer", own, sign(head, `{"sub":"ann","aud":"pytasks","exp":1800000060}`), ErrIssuer},
		{"an issuer that is a list", own, sign(head, `{"sub":"ann","iss":["pytasks/here"],"aud":"pytasks","exp":1800000060}`), ErrClaims},
		{"another audience", own, sign(head, `{"sub":"ann","iss":"pytasks/here","aud":"others","exp":1800000060}`), ErrAudience},
		{"no audience", own, sign(head, `{"sub":"ann","iss":"pytasks/here","exp":1800000060}`), ErrAudience},
		{"no user", own, sign(head, `{"iss":"pytasks/here","aud":"pytasks","exp":1800000060}`), ErrClaims},
		{"a user that is a number", own, sign(head, `{"sub":7,"iss":"pytasks/here","aud":"pytasks","exp":1800000060}`), ErrClaims},
		{"a user with an endless name", own, sign(head, `{"sub":"`+strings.Repeat("a", 65)+`","iss":"pytasks/here","aud":"pytasks","exp":1800000060}`), ErrClaims},
		{"scopes that are a number", own, sign(head, claims(`,"scopes":7`)), ErrClaims},

		{"made elsewhere, as the reference does", elsewhere, sign(`{"alg":"RS256","typ":"JWT"}`, `{"allowed_tasks":{"a.main.b":true},"exp":"1800000060"}`), nil},
		{"the same here", own, sign(`{"alg":"RS256","typ":"JWT"}`, `{"allowed_tasks":{"a.main.b":true},"exp":"1800000060"}`), ErrKey},
		{"made elsewhere, without an end", elsewhere, sign(`{"alg":"RS256"}`, `{"allowed_tasks":{}}`), ErrClaims},
		{"made elsewhere, without an end, where there need be none", endless, sign(`{"alg":"RS256"}`, `{"allowed_tasks":{}}`), nil},
		{"expired, where there need be none", endless, sign(`{"alg":"RS256"}`, `{"exp":1}`), ErrExpired},
		{"made elsewhere, by another issuer", elsewhere, sign(`{"alg":"RS256"}`, `{"iss":"x","exp":1800000060}`), ErrIssuer},
		{"made elsewhere, for others", elsewhere, sign(`{"alg":"RS256"}`, `{"aud":"x","exp":1800000060}`), ErrAudience},
		{"made elsewhere, another kid", elsewhere, sign(`{"alg":"RS256","kid":"x"}`, `{"exp":1800000060}`), ErrKey},
		{"made elsewhere, alg none", elsewhere, none("none"), ErrAlgorithm},
		{"no keys", NewKeySet(Rules{}), good, ErrNoKeys},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.set.Verify(c.token, at)
			if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v (%v), want %v", err, codeOf(err), c.want)
			}
		})
	}
}

func codeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.code
	}
	return ""
}

// TestSign: what is signed is believed, says what it should, and is signed by the first key alone.
func TestSign(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, err := newKey(public, private)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []*Key{keys()[0], ed} {
		set := NewKeySet(Rules{Issuer: "i"}, key, keys()[1])
		token, err := set.Sign(&Claims{Sub: "ann", Epoch: 7, Scopes: []string{TasksRead}, Allowed: []string{"a.*"}, Denied: []string{"a.b"}}, at, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		c, err := set.Verify(token, at.Add(59*time.Second))
		if err != nil || c.Sub != "ann" || c.Epoch != 7 || c.Issuer != "i" || !set.Own(c) || fmt.Sprint(c.Scopes, c.Allowed, c.Denied) != "[tasks:read] [a.*] [a.b]" {
			t.Errorf("%s: got %+v, %v", key.Algorithm(), c, err)
		}
		if _, err := set.Verify(token, at.Add(time.Minute)); !errors.Is(err, ErrExpired) {
			t.Errorf("%s: after a minute: %v", key.Algorithm(), err)
		}
		if _, err := NewKeySet(Rules{Issuer: "i"}, keys()[1]).Verify(token, at); err == nil {
			t.Errorf("%s: believed without its key", key.Algorithm())
		}
		if _, err := NewKeySet(Rules{Issuer: "i"}, keys()[1], key).Verify(token, at); err != nil {
			t.Errorf("%s: not believed when the key does not sign any more: %v", key.Algorithm(), err)
		}
	}
	der, err := keys()[0].PKIX()
	if err != nil {
		t.Fatal(err)
	}
	half, err := ParseKey(der, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKeySet(Rules{}, half).Sign(&Claims{}, at, time.Hour); !errors.Is(err, ErrNoKeys) {
		t.Errorf("signed with a public key: %v", err)
	}
}

func TestAllowedTasks(t *testing.T) {
	for text, want := range map[string][3]string{
		`{"allowed_tasks":{"a":true,"b":1,"c":"no","d":[0]}}`:               {"[a b c d]", "[]", "true"},
		`{"allowed_tasks":{"a":false,"b":0,"c":"","d":null,"e":{},"f":-0}}`: {"[]", "[a b c d e f]", "true"},
		`{"allowed_tasks":["a","b.*"]}`:                                     {"[a b.*]", "[]", "true"},
		`{"allowed_tasks":{}}`:                                              {"[]", "[]", "true"},
		`{"allowed_tasks":"a"}`:                                             {"[]", "[]", "false"},
		`{"allowed_tasks":null}`:                                            {"[]", "[]", "false"},
		`{}`:                                                                {"[]", "[]", "false"},
	} {
		var c Claims
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := [3]string{fmt.Sprint(c.Allowed), fmt.Sprint(c.Denied), fmt.Sprint(c.TasksGiven)}; got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

// TestParsePEM reads keys in all forms in which the reference takes them.
func TestParsePEM(t *testing.T) {
	private := keys()[0].private.(*rsa.PrivateKey)
	block := func(kind string, der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	privates := [][]byte{block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), nil), block("PRIVATE KEY", pkcs8, err)}
	spki, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	publics := [][]byte{block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&private.PublicKey), nil), block("PUBLIC KEY", spki, err), nil}
	for i, priv := range privates {
		for j, pub := range publics {
			if key, err := ParsePEM(priv, pub); err != nil || key.ID != keys()[0].ID || !key.Signs() {
				t.Errorf("private form %d, public form %d: %v", i, j, err)
			}
		}
	}
	for j, pub := range publics[:2] {
		if key, err := ParsePEM(nil, pub); err != nil || key.Signs() || key.ID != keys()[0].ID {
			t.Errorf("public form %d alone: %v", j, err)
		}
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalPKCS8PrivateKey(ec)
	ecPEM := block("PRIVATE KEY", ecDER, err)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	other, err := keys()[1].PKIX()
	for want, pair := range map[string][2][]byte{
		"RSA, or Ed25519": {ecPEM, nil}, "real line breaks": {[]byte("-----BEGIN PRIVATE KEY----- x"), nil},
		`two characters \n`:  {[]byte(strings.ReplaceAll(string(privates[0]), "\n", `\n`)), nil},
		"it is encrypted":    {block("ENCRYPTED PRIVATE KEY", []byte("x"), nil), nil},
		"do not belong":      {privates[0], block("PUBLIC KEY", other, err)},
		"1024 bits":          {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small), nil), nil},
		"it is damaged":      {block("PRIVATE KEY", []byte("x"), nil), nil},
		"not a private":      {block("CERTIFICATE", []byte("x"), nil), nil},
		"the public key of ": {privates[0], []byte("x")},
	} {
		if _, err := ParsePEM(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	set := NewKeySet(Rules{Issuer: "i", Elsewhere: true}, keys()[0])
	good, err := set.Sign(&Claims{Sub: "ann"}, at, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("..")
	f.Add(segment(`{"alg":"none"}`) + "." + segment(`{"exp":1e9}`) + ".")
	f.Add(segment(`{"alg":"RS256","kid":"x"}`) + "." + segment(`{"allowed_tasks":{"a":[]}}`) + ".AA")
	f.Fuzz(func(t *testing.T, token string) {
		if c, err := set.Verify(token, at); err == nil && token != good {
			t.Errorf("believed: %q: %+v", token, c)
		}
	})
}

func FuzzClaims(f *testing.F) {
	for _, seed := range []string{`{}`, `{"exp":"1","nbf":2,"iat":3.5,"aud":["a"],"scopes":["b"],"allowed_tasks":{"c":0}}`, `{"exp":1e400}`, `{"aud":null}`, `[]`, `{"allowed_tasks":[1]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var c Claims
		if json.Unmarshal(text, &c) != nil {
			return
		}
		back, err := json.Marshal(&c)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var again Claims
		if err := json.Unmarshal(back, &again); err != nil {
			t.Fatalf("%q became %q: %v", text, back, err)
		}
	})
}
