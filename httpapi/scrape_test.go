package httpapi

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

// scrape asks for a path with a name and a password.
func (s *setup) scrape(method, path, user, password string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.SetBasicAuth(user, password)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// withPassword makes a user.
func (s *setup) withPassword(t *testing.T, name, password string, epoch uint64, scopes ...string) *fsm.User {
	t.Helper()
	hash, err := auth.NewHasher().Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	s.people.users[name] = &fsm.User{Name: name, PasswordHash: hash, Epoch: epoch, Scopes: scopes}
	return s.people.users[name]
}

// series returns the values of all counters, by name and labels, and the number of all series.
func (s *setup) series(t *testing.T) (counters map[string]float64, series int) {
	t.Helper()
	all, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counters = map[string]float64{}
	for _, f := range all {
		series += len(f.Metric)
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			counters[name] = m.GetCounter().GetValue()
		}
	}
	return counters, series
}

// logins counts attempts to log in.
func (s *setup) logins(t *testing.T, outcome string) float64 {
	t.Helper()
	counters, _ := s.series(t)
	return counters["pytasks_http_logins_total "+outcome]
}

// TestScrape: who reads /metrics by a password.
func TestScrape(t *testing.T) {
	for _, mode := range []Anonymous{AnonymousNone, AnonymousSubmit, AnonymousRead} {
		s := newSetup(func(o *Options) { o.Anonymous = mode })
		none := map[Anonymous]int{AnonymousNone: 403, AnonymousSubmit: 403, AnonymousRead: 200}[mode]
		s.withPassword(t, "prometheus", "its password", 1, auth.MetricsRead)
		s.withPassword(t, "reader", "its password", 1, auth.TasksRead)
		s.withPassword(t, "admin", "its password", 1, auth.Admin)
		s.withPassword(t, "writer", "its password", 1, auth.TasksWrite, auth.PacksWrite, auth.NodesWrite, auth.UsersWrite, auth.AuditRead)
		for _, c := range []struct {
			user, password string
			want           int
		}{
			{"prometheus", "its password", 200},
			{"prometheus", "its password", 200}, // remembered
			{"reader", "its password", 200},
			{"admin", "its password", 200},
			{"writer", "its password", none},
			{"writer", "its password", none},
			{"prometheus", "its passwort", 401},
			{"prometheus", "", 401},
			{"nobody", "its password", 401},
			{"", "", 401},
		} {
			w := s.scrape("GET", "/metrics", c.user, c.password)
			if w.Code != c.want {
				t.Errorf("anonymous %s: %s with %q: got %d %.200s, want %d", mode, c.user, c.password, w.Code, w.Body, c.want)
			}
			if challenge := w.Header().Get("Www-Authenticate"); strings.Contains(challenge, "Basic") {
				t.Errorf("a browser is asked for a password: %s", challenge)
			}
		}
		if w := s.scrape("HEAD", "/metrics", "prometheus", "its password"); w.Code != 200 {
			t.Errorf("HEAD: got %d", w.Code)
		}
	}
}

// TestScrapeAlone: a password is taken on /metrics alone, but to log in.
func TestScrapeAlone(t *testing.T) {
	s := newSetup(func(o *Options) { o.Anonymous = AnonymousNone })
	s.withPassword(t, "admin", "its password", 1, auth.Admin)
	for _, r := range (&api{Options: Options{}}).routes() {
		if r.need == public || r.pattern == "/metrics" {
			continue
		}
		path := strings.NewReplacer(":id", "x", ":name", "x").Replace(r.pattern)
		if w := s.scrape(r.method, path, "admin", "its password"); w.Code != 401 || decode(t, w).Code != "token_malformed" {
			t.Errorf("%s %s: got %d %s, want 401", r.method, path, w.Code, w.Body)
		}
	}
	if n := s.logins(t, loginOK) + s.logins(t, loginWrong); n != 0 {
		t.Errorf("%v passwords were looked at, want none", n)
	}
	wantStatus(t, s.scrape("GET", "/metrics", "admin", "its password"), 200)
	wantStatus(t, s.do("GET", "/metrics", "", "Authorization", s.people.add(t, "eve", []string{auth.MetricsRead}, nil)), 200)
	wantStatus(t, s.do("GET", "/cluster", "", "Authorization", s.people.add(t, "eve", []string{auth.MetricsRead}, nil)), 403)
}

// TestScrapeChanges: a password that was right is right until it is changed or its user goes, and rights are those of now.
func TestScrapeChanges(t *testing.T) {
	s := newSetup(func(o *Options) { o.Anonymous = AnonymousNone })
	get := func(password string) int { return s.scrape("GET", "/metrics", "prometheus", password).Code }
	u := s.withPassword(t, "prometheus", "first password", 7, auth.MetricsRead)
	for range 5 {
		if got := get("first password"); got != 200 {
			t.Fatalf("got %d, want 200", got)
		}
	}
	if n := s.logins(t, loginOK); n != 1 {
		t.Errorf("the password was hashed %v times in 5 scrapes, want 1", n)
	}
	u.Scopes = nil
	if got := get("first password"); got != 403 {
		t.Errorf("without its scope: got %d, want 403", got)
	}
	s.withPassword(t, "prometheus", "next password", 8, auth.MetricsRead)
	if got := get("first password"); got != 401 {
		t.Errorf("the old password: got %d, want 401", got)
	}
	if got := get("next password"); got != 200 {
		t.Errorf("the next password: got %d, want 200", got)
	}
	delete(s.people.users, "prometheus")
	if got := get("next password"); got != 401 {
		t.Errorf("a removed user: got %d, want 401", got)
	}
	s.withPassword(t, "prometheus", "another one", 9, auth.MetricsRead) // somebody else of that name
	if got := get("next password"); got != 401 {
		t.Errorf("the password of the user before: got %d, want 401", got)
	}
}

// TestScrapeThrottled: guessing is limited as at /token, together with it, and who has to wait does not learn whether a guess was right.
func TestScrapeThrottled(t *testing.T) {
	now := time.Now()
	s := newSetup(func(o *Options) { o.Anonymous, o.Now = AnonymousNone, func() time.Time { return now } })
	s.withPassword(t, "prometheus", "its password", 1, auth.MetricsRead)
	wantStatus(t, s.scrape("GET", "/metrics", "prometheus", "its password"), 200) // remembered from now on
	codes := map[int]int{}
	for i := range 15 {
		if i%2 == 0 {
			codes[s.scrape("GET", "/metrics", "prometheus", fmt.Sprint("guess ", i)).Code]++
		} else {
			codes[s.do("POST", "/token", fmt.Sprintf(`{"user":"prometheus","password":"guess %d"}`, i)).Code]++
		}
		if i < 9 { // scrapes between the guesses neither count nor forgive them
			wantStatus(t, s.scrape("GET", "/metrics", "prometheus", "its password"), 200)
		}
	}
	if codes[401] != 10 || codes[429] != 5 {
		t.Errorf("15 guesses: got %v, want 10 of 401 and 5 of 429", codes)
	}
	w := s.scrape("GET", "/metrics", "prometheus", "its password")
	if w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("the right password among too many guesses: got %d %v, want 429", w.Code, w.Header())
	}
	now = now.Add(time.Minute)
	for range 100 {
		wantStatus(t, s.scrape("GET", "/metrics", "prometheus", "its password"), 200)
	}
	if n := s.logins(t, loginOK); n != 1 {
		t.Errorf("the password was hashed %v times, want 1", n)
	}
}

// TestMetricsBounded: no caller makes series.
func TestMetricsBounded(t *testing.T) {
	s := newSetup()
	send := func(n int) {
		for i := range n {
			for _, method := range []string{"GET", "POST", fmt.Sprint("M", i)} {
				s.do(method, fmt.Sprintf("/nowhere/%d", i), "")
				s.do(method, fmt.Sprintf("/task/%d/cancel/x", i), "")
				s.do(method, "/metrics", "")
			}
			s.do("GET", fmt.Sprintf("/task/%d", i), "")
			s.scrape("GET", "/metrics", fmt.Sprint("user", i%3), "guess")
		}
	}
	send(2)
	_, before := s.series(t)
	send(40)
	if _, after := s.series(t); after > before+1 { // the code 429 of a password
		t.Errorf("%d series became %d", before, after)
	}
}
