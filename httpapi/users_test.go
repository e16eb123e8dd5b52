package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pytasks/httpapi/auth"
)

// TestBusy: who comes while many log in is told to come again.
func TestBusy(t *testing.T) {
	w := httptest.NewRecorder()
	c := &call{api: &api{hasher: &auth.Hasher{}}, w: w, r: httptest.NewRequest("POST", "/", nil)}
	if _, ok := c.hash(t.Context(), "long enough"); ok || w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %t, %d %v", ok, w.Code, w.Header())
	}
}

// TestPasswordOfOthers: with users:write, but not of who may do more.
func TestPasswordOfOthers(t *testing.T) {
	s := newSetup()
	eve := s.people.add(t, "eve", []string{auth.UsersWrite, auth.TasksRead}, nil)
	s.people.add(t, "ann", []string{auth.TasksRead}, nil)
	s.people.add(t, "admin", []string{auth.Admin}, nil)
	bob := s.people.add(t, "bob", nil, nil)
	for _, c := range []struct {
		name, by, body string
		want           int
	}{
		{"ann", eve, `{"new":"long enough"}`, 200},
		{"ann", eve, `{"new":"short"}`, 422},
		{"ann", eve, `{"old":"x"}`, 400},
		{"admin", eve, `{"new":"long enough"}`, 403},
		{"nobody", eve, `{"new":"long enough"}`, 404},
		{"eve", eve, `{"new":"long enough"}`, 400}, // one's own needs the old one
		{"ann", bob, `{"new":"long enough"}`, 403},
	} {
		w := s.do("POST", "/users/"+c.name+"/password", c.body, "Authorization", c.by)
		if w.Code != c.want {
			t.Errorf("%s %s: got %d %s, want %d", c.name, c.body, w.Code, w.Body, c.want)
		}
	}
	if u := s.people.users["ann"]; len(s.people.puts) != 1 || !strings.HasPrefix(u.PasswordHash, "$argon2id$") || !s.people.puts[0].KeepRights {
		t.Errorf("got %v", s.people.puts)
	}
}

// TestUserLists: what a user is given can be kept and fits a token.
func TestUserLists(t *testing.T) {
	s := newSetup()
	admin := []string{"Authorization", s.people.add(t, "admin", []string{auth.Admin}, nil)}
	put := func(more string) *httptest.ResponseRecorder {
		return s.do("POST", "/users", `{"name":"ann","password":"long enough",`+more+`}`, admin...)
	}
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprintf(`"pack.main.task%d"`, i)
	}
	for _, bad := range []string{`[""]`, `["pack*"]`, `["*.task"]`, "[" + strings.Join(many, ",") + "]"} {
		w := put(`"allowed_tasks":` + bad)
		if w.Code != 422 || !strings.Contains(w.Body.String(), "pack.*") {
			t.Errorf("%.40s: got %d %s", bad, w.Code, w.Body)
		}
	}
	wantStatus(t, put(`"allowed_tasks":["*"`+strings.Repeat(`,"*"`, 2000)+`],"scopes":["tasks:read"`+strings.Repeat(`,"tasks:read"`, 40)+`]`), 200)
	if u := s.people.users["ann"]; len(u.AllowedTasks) != 1 || len(u.Scopes) != 1 {
		t.Errorf("got %d and %d", len(u.AllowedTasks), len(u.Scopes))
	}
}

// TestStrictNames: what is written otherwise than it is called does not count for it.
func TestStrictNames(t *testing.T) {
	s := newSetup()
	admin := []string{"Authorization", s.people.add(t, "admin", []string{auth.Admin}, nil)}
	for body, want := range map[string]string{
		`{"name":"ann","password":"long enough","Scopes":["admin"]}`:                  "did you mean scopes?",
		`{"name":"ann","password":"long enough","scopes":[],"scopes":["admin"]}`:      "scopes is in it twice",
		`{"name":"ann","password":"long enough","scopes":[],"\u0073copes":["admin"]}`: "scopes is in it twice",
		`{"name":"ann","password":"long enough","allowed_task":[]}`:                   "did you mean allowed_tasks?",
		`{"name":"ann","password":"long enough","epoch":7}`:                           "it has name, password, scopes, allowed_tasks, create",
	} {
		w := s.do("POST", "/users", body, admin...)
		if w.Code != 400 || !strings.Contains(w.Body.String(), want) || len(s.people.puts) > 0 {
			t.Errorf("%s: got %d %s, want %q", body, w.Code, w.Body, want)
		}
	}
	wantStatus(t, s.do("POST", "/users", "\xfe\xff"+utf16BE(`{"name":"ann","password":"long enough","allowed_tasks":null}`), admin...), 200)
}

func utf16BE(ascii string) string { return "\x00" + strings.Join(strings.Split(ascii, ""), "\x00") }
