package httpapi

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

// finder are people whose lookups fail.
type finder struct {
	*fakePeople
	err error
}

func (f *finder) Find(ctx context.Context, name string) (*fsm.User, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.fakePeople.Find(ctx, name)
}

// TestUserUnknownNow: that nobody can say now who a token is of makes it neither void nor nobody's.
func TestUserUnknownNow(t *testing.T) {
	var people *finder
	s := newSetup(func(o *Options) {
		people = &finder{fakePeople: o.Users.(*fakePeople)}
		o.Users = people
	})
	token := s.people.add(t, "ann", nil, nil)
	delete(s.people.users, "ann")
	people.err = errors.New("no leader at 10.0.0.1")
	for _, c := range [][3]string{{"GET", "/protected", ""}, {"POST", "/task", `{"type":"test.main.none","args":{}}`}} {
		w := s.do(c[0], c[1], c[2], "Authorization", token)
		wantStatus(t, w, http.StatusServiceUnavailable)
		if w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "10.0.0.1") {
			t.Errorf("got %v %s", w.Header(), w.Body)
		}
	}
	if s.tasks.submits != nil {
		t.Error("a task was queued for nobody in particular")
	}
	people.err = nil
	wantStatus(t, s.do("GET", "/protected", "", "Authorization", token), http.StatusUnauthorized)
}

// TestBadTokenOfReader: whose token has expired is told so, and not that their task is gone.
func TestBadTokenOfReader(t *testing.T) {
	s := newSetup(func(o *Options) { o.Anonymous = AnonymousSubmit })
	s.tasks.tasks["anns"] = &fsm.Task{Key: make([]byte, 16), Type: "t", Owner: "ann"}
	s.tasks.tasks["nobodys"] = &fsm.Task{Key: make([]byte, 16), Type: "t", Status: fsm.Status_PENDING, Args: []byte("{}")}
	s.people.add(t, "ann", nil, nil)
	text, err := s.people.keys.Sign(&auth.Claims{Sub: "ann", Epoch: 5}, time.Now().Add(-time.Hour), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]int{
		"GET /task/anns": 401, "GET /task/unknown": 401, "GET /task/nobodys": 200, "GET /tasks": 200,
		"GET /task/nobodys/logs": 401, "POST /task/nobodys/cancel": 401, "POST /task/anns/cancel": 401, "GET /task": 401,
	} {
		method, path, _ := strings.Cut(target, " ")
		w := s.do(method, path, "", "Authorization", "Bearer "+text)
		if w.Code != want {
			t.Errorf("%s: got %d %s, want %d", target, w.Code, w.Body, want)
		}
		if want == 200 {
			continue
		}
		if a := decode(t, w); a.Code != "token_expired" || !strings.Contains(a.Detail, "POST /token") || !strings.Contains(w.Header().Get("Www-Authenticate"), "invalid_token") {
			t.Errorf("%s: got %s %v", target, w.Body, w.Header())
		}
	}
}

// elsewhere signs claims as others do who have the same key.
func elsewhere(t *testing.T, claims string) string {
	t.Helper()
	der, err := testKey().PKCS8()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	sig, err := jwt.SigningMethodRS256.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

var likeTheReference = auth.Rules{Issuer: "test", Elsewhere: true, Endless: true}

// TestProtectedAsSent: the claims of a token made elsewhere come back as they are.
func TestProtectedAsSent(t *testing.T) {
	s := newSetup()
	s.people.keys = auth.NewKeySet(likeTheReference, testKey())
	const claims = `{"exp": "4000000000", "allowed_tasks": {"test.main.secret": 1}, "other": [1.0]}`
	w := s.do("GET", "/protected", "", "Authorization", elsewhere(t, claims))
	wantStatus(t, w, 200)
	if w.Body.String() != claims+"\n" {
		t.Errorf("got %s, want %s", w.Body, claims)
	}
}

// TestElsewhere: a token that others made counts alone, unless it is of a user of the cluster: then it allows no more than that user
// may now.
func TestElsewhere(t *testing.T) {
	s := newSetup(func(o *Options) { o.Anonymous = AnonymousNone })
	s.people.keys = auth.NewKeySet(likeTheReference, testKey())
	s.people.users["ann"] = &fsm.User{Name: "ann", Epoch: 5, AllowedTasks: []string{"test.main.none"}}
	const rights = `"scopes":["admin"],"allowed_tasks":{"test.main.secret":true,"test.main.none":true}}`
	for claims, want := range map[string][3]int{ // of a protected task, another, and the list of users
		`{` + rights:                                 {200, 200, 200},
		`{"sub":"of others",` + rights:               {200, 200, 200},
		`{"sub":"ann",` + rights:                     {403, 200, 403},
		`{"sub":"ann","epoch":5,` + rights:           {403, 200, 403},
		`{"sub":"ann","epoch":4,` + rights:           {401, 401, 401},
		`{"sub":"ann","iss":"test",` + rights:        {401, 401, 401},
		`{"sub":"gone","iss":"test",` + rights:       {401, 401, 401},
		`{"sub":"ann","allowed_tasks":{"test.*":1}}`: {403, 200, 403},
	} {
		token := elsewhere(t, claims)
		got := [3]int{
			s.do("POST", "/task", `{"type":"test.main.secret","args":{"x":1}}`, "Authorization", token).Code,
			s.do("POST", "/task", `{"type":"test.main.none","args":{}}`, "Authorization", token).Code,
			s.do("GET", "/users", "", "Authorization", token).Code,
		}
		if got != want {
			t.Errorf("%s: got %v, want %v", claims, got, want)
		}
	}
}
