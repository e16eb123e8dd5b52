package auth

import (
	"fmt"
	"testing"
)

func TestRemembered(t *testing.T) {
	r := NewRemembered()
	if r.Knows("ann", 1, "the password") {
		t.Error("it knows a password that it was not told")
	}
	r.Keep("ann", 1, "the password")
	for _, c := range []struct {
		user     string
		epoch    uint64
		password string
		want     bool
	}{
		{"ann", 1, "the password", true},
		{"ann", 1, "the passwort", false},
		{"ann", 1, "", false},
		{"ann", 2, "the password", false},
		{"bob", 1, "the password", false},
	} {
		if got := r.Knows(c.user, c.epoch, c.password); got != c.want {
			t.Errorf("Knows(%s, %d, %q) = %v, want %v", c.user, c.epoch, c.password, got, c.want)
		}
	}
	for i := range 10 * maxRemembered {
		r.Keep(fmt.Sprint("user", i), 1, "x")
	}
	if n := len(r.right); n > maxRemembered {
		t.Errorf("%d are remembered, want at most %d", n, maxRemembered)
	}
	other := NewRemembered()
	if string(other.mac("x")) == string(r.mac("x")) {
		t.Error("two processes keep the same of a password")
	}
}
