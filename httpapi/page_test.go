package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
)

// TestPagePolicy: the page can do nothing but look as it does, nowhere but in a window of its own, and needs no more.
func TestPagePolicy(t *testing.T) {
	w := newSetup().do("GET", "/", "")
	wantStatus(t, w, 200)
	page := w.Body.String()
	_, rest, _ := strings.Cut(page, "<style>")
	style, _, found := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	policy := w.Header().Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy is %q, want %q in it", policy, part)
		}
	}
	if strings.Contains(policy, "unsafe") || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("got %v", w.Header())
	}
	forbidden := regexp.MustCompile(`(?i)<(script|link|img|iframe|form|object|svg)|\s(style|on[a-z]+)\s*=`)
	if bad := forbidden.FindString(page); bad != "" || !found || strings.Count(page, "<style") != 1 {
		t.Errorf("the page has %q, which its policy forbids", bad)
	}
}
