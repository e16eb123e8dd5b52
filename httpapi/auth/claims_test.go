package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestNobodysHash: the first unknown user costs as much as the next, and no password fits.
func TestNobodysHash(t *testing.T) {
	h := NewHasher()
	if parts := strings.Split(h.dummy, "$"); len(parts) != 6 || parts[3] != "m=19456,t=2,p=1" {
		t.Errorf("the hash of nobody is %q", h.dummy)
	}
	if ok, err := h.Verify(t.Context(), "", ""); ok || err != nil {
		t.Errorf("got %t, %v", ok, err)
	}
}

func TestTokenNames(t *testing.T) {
	key, other := keys()[0], keys()[1]
	set := NewKeySet(Rules{Issuer: "i"}, key)
	head := `{"alg":"RS256","kid":"` + key.ID + `"}`
	const rest = `"iss":"i","aud":"pytasks","exp":1800000060`
	sign := func(head, payload string) string { return forge(t, key, jwt.SigningMethodRS256, head, payload) }
	for _, c := range []struct {
		name, token string
		want        *Error
		says        string
	}{
		{"a claim twice", sign(head, `{"sub":"ann","sub":"admin",`+rest+`}`), ErrClaims, textInvalid},
		{"a claim twice, once escaped", sign(head, `{"sub":"ann","\u0073ub":"admin",`+rest+`}`), ErrClaims, textInvalid},
		{"an end twice", sign(head, `{"sub":"ann",`+rest+`,"exp":9e9}`), ErrClaims, textInvalid},
		{"a user in capitals", sign(head, `{"SUB":"admin",`+rest+`}`), ErrClaims, textInvalid},
		{"an end in capitals", sign(head, `{"sub":"ann","iss":"i","aud":"pytasks","EXP":1800000060}`), ErrClaims, textInvalid},
		{"other claims in capitals", sign(head, `{"sub":"ann","Sub":"admin",`+rest+`}`), nil, ""},
		{"no UTF-8", sign(head, `{"sub":"a`+"\xff"+`",`+rest+`}`), ErrClaims, textInvalid},
		{"alg twice", sign(`{"alg":"none","kid":"`+key.ID+`","alg":"RS256"}`, `{"sub":"ann",`+rest+`}`), ErrMalformed, textInvalid},
		{"kid twice", sign(`{"alg":"RS256","kid":"x","kid":"`+key.ID+`"}`, `{"sub":"ann",`+rest+`}`), ErrMalformed, textInvalid},
		{"alg in capitals", sign(`{"ALG":"RS256","kid":"`+key.ID+`"}`, `{"sub":"ann",`+rest+`}`), ErrAlgorithm, textInvalid},
		{"another key, and bad claims", forge(t, other, jwt.SigningMethodRS256, head, `{"sub":7}`), ErrSignature, textSignature},
		{"issued at a text", sign(head, `{"sub":"ann","iat":"1800000000",`+rest+`}`), ErrClaims, textUnexpected},
	} {
		claims, err := set.Verify(c.token, at)
		switch {
		case c.want == nil && (err != nil || claims.Sub != "ann"):
			t.Errorf("%s: got %+v, %v", c.name, claims, err)
		case c.want != nil && (!errors.Is(err, c.want) || err.Error() != c.says || claims != nil):
			t.Errorf("%s: got %v (%s), want %s (%s)", c.name, err, codeOf(err), c.says, c.want.code)
		}
	}
}

// TestClaimsText: what a token says is kept as it was sent.
func TestClaimsText(t *testing.T) {
	set := NewKeySet(Rules{Issuer: "i", Elsewhere: true}, keys()[0])
	const payload = `{"allowed_tasks":{"a.main.b":1},"exp":"1800000060","x":[1.0]}`
	c, err := set.Verify(forge(t, keys()[0], jwt.SigningMethodRS256, `{"alg":"RS256"}`, payload), at)
	if err != nil || string(c.Text) != payload {
		t.Errorf("got %s, %v, want %s", c.Text, err, payload)
	}
}

func TestCheckAllowed(t *testing.T) {
	for _, pattern := range []string{"*", "a.*", "a.main.*", "a.main.b", "ä.main.b"} {
		if err := CheckAllowed([]string{pattern}); err != nil {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	for _, pattern := range []string{"", "a*", "*.b", ".*", "a.*.b", "**", "a b", "a\n", strings.Repeat("a", 300)} {
		if CheckAllowed([]string{pattern}) == nil {
			t.Errorf("%q is taken, and allows nothing", pattern)
		}
	}
	// As many as may be make a token that is read again.
	var many []string
	for CheckAllowed(many) == nil {
		many = append(many, fmt.Sprintf("<pack>.main.task%d", len(many)))
	}
	many = many[:len(many)-1]
	if len(many) < 50 {
		t.Errorf("%d types are too many", len(many)+1)
	}
	set := NewKeySet(Rules{Issuer: strings.Repeat("i", 64)}, keys()[0])
	token, err := set.Sign(&Claims{Sub: strings.Repeat("s", maxSub), Scopes: Scopes(), Allowed: many, Epoch: 1 << 63}, at, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Verify(token, at); err != nil {
		t.Errorf("a token of %d bytes: %v", len(token), err)
	}
}

func TestParseAllowed(t *testing.T) {
	for text, want := range map[string]string{
		`["a.b","c.*"]`: "[a.b c.*] true", `{"c.d":true,"a.b":true}`: "[a.b c.d] true", `[]`: "[] true", `{}`: "[] true", `null`: "[] true",
		`{"a.b":false,"a.b":true}`: "[] false", `{"a.b":false}`: "[] false", `{"a.b":1}`: "[a.b] false", `"a.b"`: "[] false", `[1]`: "[] false", `7`: "[] false",
	} {
		allowed, ok := ParseAllowed(json.RawMessage(text))
		if got := fmt.Sprint(allowed, ok); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
