package httpapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

// fuzzed sends a request and checks what holds of every answer: it is JSON, it says no more than is wrong with the request, and no
// 401 comes without a way to do better.
func fuzzed(t *testing.T, s *setup, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("no JSON: %d %v %q", w.Code, w.Header(), w.Body)
	}
	if w.Code >= 500 || (w.Code == 401) != (w.Header().Get("Www-Authenticate") != "") {
		t.Fatalf("got %d %v %q", w.Code, w.Header(), w.Body)
	}
	return w
}

func bodyOf(path, contentType, body string) *http.Request {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

func FuzzSubmit(f *testing.F) {
	for _, seed := range []string{
		`{"type":"test.main.add","args":{"x":1,"y":2},"priority":5,"delay":1.5,"timeout":"2s","retry":{"max_attempts":3},"id":"a","tags":["b"]}`,
		`{"type":"test.main.echo","args":{"value":[[[{"\u00e4":-0.0e+1}]]]},"eta":"2030-01-02T15:04:05Z","prioritty":1}`,
		`{"type":"test.main.secret","args":{"x":1}}`, `{"type":7,"args":[]}`, `{"type":"test.main.add","args":{"x":1,"x":true}} x`, "\xff\xfe{\x00}\x00", `{"Type":null,"":{}}`,
	} {
		f.Add("application/json", seed)
	}
	f.Fuzz(func(t *testing.T, contentType, body string) {
		s := newSetup()
		w := fuzzed(t, s, bodyOf("/task", contentType, body))
		if queued := len(s.tasks.submits); (w.Code == 200) != (queued == 1) {
			t.Fatalf("%q: %d, and %d tasks were queued", body, w.Code, queued)
		} else if queued == 1 && !json.Valid(s.tasks.submits[0].Tasks[0].Args) {
			t.Fatalf("%q: args %q", body, s.tasks.submits[0].Tasks[0].Args)
		}
	})
}

func FuzzBatch(f *testing.F) {
	for _, seed := range []string{
		batchOf(2, `{"type":"test.main.none","args":{}}`), `{"tasks":[{"type":"test.main.none","args":{},"tag":1},7,{}]}`, `{"tasks":{}}`, `{"task":[]}`, `{"tasks":[],"tasks":[{}]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := newSetup()
		w := fuzzed(t, s, bodyOf("/tasks/batch", "application/json", body))
		if (w.Code == 200) != (len(s.tasks.submits) == 1) {
			t.Fatalf("%q: %d, and %d batches were queued", body, w.Code, len(s.tasks.submits))
		}
	})
}

// FuzzAuthorization: nothing but the token that was made opens a door.
func FuzzAuthorization(f *testing.F) {
	s := newSetup(func(o *Options) { o.Anonymous = AnonymousNone })
	s.people.users["ann"] = &fsm.User{Name: "ann", Scopes: []string{auth.Admin}, Epoch: 5}
	good, err := s.people.keys.Sign(&auth.Claims{Sub: "ann", Scopes: []string{auth.Admin}, Epoch: 5}, time.Now(), time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", "Bearer", "Bearer " + good, "bearer  " + good, "Bearer " + good + " x", "Bearer " + localToken, "Basic YW5uOng=", "Bearer ..", "Bearer\t" + good, good,
		"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.", "Bearer " + strings.Repeat(".", 1000),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/users", nil) // from another machine
		r.Header["Authorization"] = []string{header}
		w := fuzzed(t, s, r)
		scheme, token, _ := strings.Cut(header, " ")
		if right := strings.EqualFold(scheme, "Bearer") && strings.TrimSpace(token) == good; (w.Code == 200) != right {
			t.Fatalf("%q: %d %s", header, w.Code, w.Body)
		}
	})
}

func FuzzUsers(f *testing.F) {
	s := newSetup()
	eve := &fsm.User{Name: "eve", Scopes: []string{auth.UsersWrite}, Epoch: 5}
	token, err := s.people.keys.Sign(&auth.Claims{Sub: "eve", Scopes: []string{auth.UsersWrite}, Epoch: 5}, time.Now(), time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"name":"ann","scopes":["users:write"],"allowed_tasks":["a.*"]}`, `{"name":"ann","allowed_tasks":{"a.main.b":true}}`, `{"name":"ann","scopes":["admin"]}`,
		`{"Name":"ann","scopes":null,"allowed_tasks":null}`, `{"name":"../x","password":7}`, `{"name":"ann","allowed_tasks":[""],"pasword":"x"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s.people.users = map[string]*fsm.User{"eve": eve, "ann": {Name: "ann", Epoch: 5}}
		s.people.puts = nil
		r := bodyOf("/users", "application/json", body)
		r.Header.Set("Authorization", "Bearer "+token)
		w := fuzzed(t, s, r)
		for _, put := range s.people.puts {
			if !goodName(put.Name) || auth.CheckScopes(put.Scopes) != nil || auth.CheckAllowed(put.AllowedTasks) != nil || len(put.Scopes) > 1 {
				t.Fatalf("%q: %v", body, put)
			}
		}
		if (w.Code == 200) != (len(s.people.puts) == 1) {
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}
