package client

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLocalToken(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tokens")
	token, remove, err := LeaveLocalToken(dir, "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := LeaveLocalToken(dir, "0.0.0.0:8081")
	if err != nil || other == token {
		t.Fatalf("got %q and %v, want another token", other, err)
	}
	for base, want := range map[string]string{
		"http://127.0.0.1:8080":  token,
		"http://localhost:8080":  token,
		"http://[::1]:8080/x":    token,
		"http://127.0.0.1:8081":  other,
		"http://127.0.0.2:8080":  "", // may be another's
		"http://127.0.0.1":       "",
		"http://192.0.2.1:8080":  "",
		"http://host.test:8080":  "",
		"https://127.0.0.1:8081": other,
	} {
		if got := ReadLocalToken(dir, base); got != want {
			t.Errorf("%s: got %q, want %q", base, got, want)
		}
	}

	again, _, err := LeaveLocalToken(dir, "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	if got := ReadLocalToken(dir, "http://127.0.0.1:8080"); got != again {
		t.Errorf("the first node has removed the token of the second: got %q, want %q", got, again)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := ReadLocalToken(dir, "http://127.0.0.1:8080"); got != "" {
		t.Errorf("got %q out of a folder that others can read", got)
	}
	if _, _, err := LeaveLocalToken(dir, "127.0.0.1:8080"); err == nil {
		t.Error("a token was left in a folder that others can read")
	}
}
