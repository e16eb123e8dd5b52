package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPassword(t *testing.T) {
	h, ctx := NewHasher(), t.Context()
	text, err := h.Hash(ctx, "correct horse")
	if err != nil || !strings.HasPrefix(text, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("got %q, %v", text, err)
	}
	if again, _ := h.Hash(ctx, "correct horse"); again == text {
		t.Error("two hashes of one password are the same")
	}
	for name, c := range map[string]struct {
		hash, password string
		want           bool
	}{
		"right": {text, "correct horse", true}, "wrong": {text, "correct hors", false}, "empty": {text, "", false}, "nobody": {"", "correct horse", false},
		"no hash at all": {"correct horse", "correct horse", false}, "another kind": {strings.Replace(text, "argon2id", "argon2i", 1), "correct horse", false},
		"costs too much": {strings.Replace(text, "m=19456", "m=99999999", 1), "correct horse", false}, "cut off": {text[:len(text)-4], "correct horse", false},
		"no key": {text[:strings.LastIndex(text, "$")+1], "", false}, "endless": {text, strings.Repeat("x", 1<<20), false},
	} {
		if got, err := h.Verify(ctx, c.hash, c.password); err != nil || got != c.want {
			t.Errorf("%s: got %t, %v", name, got, err)
		}
	}
	if Check("1234567") == nil || Check(strings.Repeat("x", 1025)) == nil || Check(NewPassword()) != nil {
		t.Error("the bounds of a password are not looked at")
	}
}

// TestHasherIsBounded: few passwords are hashed at once, few wait, and whoever gives up waiting is told why.
func TestHasherIsBounded(t *testing.T) {
	h := NewHasher()
	for range hashing {
		h.turns <- struct{}{}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	results := make(chan error)
	for range hashing + waiting {
		go func() {
			_, err := h.Hash(ctx, "password")
			results <- err
		}()
	}
	for len(h.queue) < cap(h.queue) { // until they all wait
		time.Sleep(time.Millisecond)
	}
	if _, err := h.Verify(t.Context(), "", "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: got %v, want ErrBusy", err)
	}
	gone := errors.New("gone")
	cancel(gone)
	for range hashing + waiting {
		if err := <-results; !errors.Is(err, gone) {
			t.Errorf("got %v, want the cause", err)
		}
	}
}

func TestPrincipal(t *testing.T) {
	all := Rights{Scopes: []string{Admin}, Allowed: []string{"*"}}
	for name, c := range map[string]struct {
		rights []Rights
		may    string // scopes
		run    string // of the types below
	}{
		"nobody":            {nil, "[]", "[]"},
		"a token alone":     {[]Rights{{Scopes: []string{TasksRead}, Allowed: []string{"p.*"}}}, "[tasks:read metrics:read]", "[p.a.f p.b.g]"},
		"admin":             {[]Rights{all, all}, fmt.Sprint(Scopes()), "[p.a.f p.b.g q.a.f]"},
		"a weaker token":    {[]Rights{{Scopes: []string{PacksWrite}, Allowed: []string{"p.a.f"}}, all}, "[packs:write]", "[p.a.f]"},
		"a weaker user":     {[]Rights{all, {Scopes: []string{PacksWrite}, Allowed: []string{"q.*"}}}, "[packs:write]", "[q.a.f]"},
		"nothing in common": {[]Rights{{Scopes: []string{TasksRead}, Allowed: []string{"p.*"}}, {Scopes: []string{TasksWrite}, Allowed: []string{"q.*"}}}, "[]", "[]"},
		"a scraper":         {[]Rights{{Scopes: []string{MetricsRead}}}, "[metrics:read]", "[]"},
		"a denied type":     {[]Rights{{Allowed: []string{"*"}, Denied: []string{"p.a.f"}}}, "[]", "[p.b.g q.a.f]"},
		"no pattern":        {[]Rights{{Allowed: []string{"p*", "", ".*", "p.a"}}}, "[]", "[]"},
	} {
		p := &Principal{Rights: c.rights}
		var may, run []string
		for _, s := range Scopes() {
			if p.May(s) {
				may = append(may, s)
			}
		}
		for _, taskType := range []string{"p.a.f", "p.b.g", "q.a.f"} {
			if p.MayRun(taskType) {
				run = append(run, taskType)
			}
		}
		if fmt.Sprint(may) != c.may || fmt.Sprint(run) != c.run {
			t.Errorf("%s: may %v and run %v, want %s and %s", name, may, run, c.may, c.run)
		}
	}
	if (&Principal{}).Owns("ann") || (&Principal{Sub: "bob", Submits: true}).Owns("ann") || !(&Principal{Sub: "ann"}).Owns("ann") {
		t.Error("owners are mixed up")
	}
}

func TestThrottle(t *testing.T) {
	now := time.Unix(0, 0)
	throttle := NewThrottle(func() time.Time { return now })
	tries := func(n int, user, addr string) (allowed int) {
		for range n {
			if throttle.Attempt(user, addr) == 0 {
				allowed++
			}
		}
		return allowed
	}
	if got := tries(30, "ann", "192.0.2.1"); got != pairBurst {
		t.Errorf("%d attempts at first, want %d", got, pairBurst)
	}
	if got := tries(5, "ann", "192.0.2.99"); got != 0 {
		t.Errorf("%d attempts from a neighbour's address, want none", got)
	}
	if got := tries(5, "ann", "198.51.100.1"); got != 5 {
		t.Errorf("%d attempts from elsewhere, want 5", got)
	}
	if got := tries(5, "ann", "2001:db8::1") + tries(30, "ann", "2001:db8::ffff:1"); got != pairBurst {
		t.Errorf("%d attempts from a network of IPv6, want %d", got, pairBurst)
	}
	now = now.Add(time.Minute)
	if got := tries(30, "ann", "192.0.2.1"); got != perPair {
		t.Errorf("%d attempts a minute later, want %d", got, perPair)
	}
	throttle.Succeeded("ann", "192.0.2.1")
	if got := tries(30, "ann", "192.0.2.1"); got == 0 {
		t.Error("who knew the password is still refused")
	}
	users := 0
	for i := range 500 {
		users += tries(1, fmt.Sprint("user", i), "203.0.113.1")
	}
	if users != netBurst {
		t.Errorf("%d attempts for many users from one address, want %d", users, netBurst)
	}
	b := NewBuckets(1, 1, func() time.Time { return now })
	for i := range 3 * maxTracked {
		b.Take(fmt.Sprint(i))
	}
	if len(b.buckets) > maxTracked {
		t.Errorf("%d are kept, want %d at most", len(b.buckets), maxTracked)
	}
}
