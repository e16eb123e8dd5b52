package httpapi

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pytasks/httpapi/auth"
)

// counting is a body that counts what is read of it.
type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += n
	return n, err
}

// TestSmallBodies: whoever has no rights cannot make the node read much, or take the room of large tasks.
func TestSmallBodies(t *testing.T) {
	s := newSetup()
	admin := s.people.add(t, "admin", []string{auth.Admin}, nil)
	for _, path := range []string{"/token", "/users", "/users/admin/password", "/cluster/secret", "/packs"} {
		for _, length := range []int64{4 << 20, -1} { // told, or not
			body := &counting{Reader: io.MultiReader(strings.NewReader(`{"user":"`), strings.NewReader(strings.Repeat("x", 4<<20)))}
			r := httptest.NewRequest("POST", path, body)
			r.ContentLength = length
			r.Header.Set("Content-Type", "application/json")
			if path != "/token" {
				r.Header.Set("Authorization", admin)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			wantStatus(t, w, http.StatusRequestEntityTooLarge)
			if body.n > 2*firstRead {
				t.Errorf("%s: %d bytes were read", path, body.n)
			}
		}
	}
	// The next request of the same pooled call may be large again.
	wantStatus(t, s.do("POST", "/task", `{"type":"test.main.echo","args":{"value":"`+strings.Repeat("x", 1<<20)+`"}}`), 200)
}

// TestRateLimitOfNetworks: the many addresses of one IPv6 network are one client, and pages are told why.
func TestRateLimitOfNetworks(t *testing.T) {
	now := time.Unix(0, 0)
	s := newSetup(func(o *Options) {
		o.RateLimit, o.CORSOrigins, o.Now = 1, []string{"*"}, func() time.Time { return now }
	})
	refused := 0
	for i := range 20 {
		r := httptest.NewRequest("GET", "/ping", nil)
		r.RemoteAddr = fmt.Sprintf("[2001:db8::%x]:1", i+1)
		r.Header.Set("Origin", "https://page.example")
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code == http.StatusTooManyRequests {
			refused++
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "https://page.example" {
			t.Fatalf("%d: no page can read this: %v", w.Code, w.Header())
		}
	}
	if refused != 18 {
		t.Errorf("%d of 20 were refused, want all but 2", refused)
	}
}
