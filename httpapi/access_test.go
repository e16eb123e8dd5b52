package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

// TestRoutesNeed: no route is everybody's by mistake.
func TestRoutesNeed(t *testing.T) {
	open := []string{"GET /", "GET /ping", "GET /livez", "GET /readyz", "GET /token", "POST /token", "GET /.well-known/jwks.json",
		"GET /docs", "GET /docs/:file", "GET /openapi.json", "GET /swagger.json"}
	needs := append([]string{string(public), string(submits), string(known), string(reads)}, auth.Scopes()...)
	for _, r := range (&api{Options: Options{}}).routes() {
		name := r.method + " " + r.pattern
		if !slices.Contains(needs, string(r.need)) || (r.need == public) != slices.Contains(open, name) {
			t.Errorf("%s needs %q", name, r.need)
		}
		if r.method != http.MethodGet && (r.need == reads || r.need == need(auth.TasksRead)) {
			t.Errorf("%s changes something and needs %q", name, r.need)
		}
	}
}

// TestAccess: what each kind of caller may do under each setting for the anonymous.
func TestAccess(t *testing.T) {
	const task = `{"type":"test.main.none","args":{}}`
	mine, anns := &fsm.Task{Key: make([]byte, 16), Type: "t", Status: fsm.Status_PENDING, Args: []byte("{}")}, &fsm.Task{Key: make([]byte, 16), Type: "t", Status: fsm.Status_PENDING, Args: []byte("{}"), Owner: "ann"}
	for _, mode := range []Anonymous{AnonymousNone, AnonymousSubmit, AnonymousRead} {
		s := newSetup(func(o *Options) { o.Anonymous = mode })
		s.tasks.tasks["nobodys"], s.tasks.tasks["anns"] = mine, anns
		s.tasks.cancel = func(context.Context, string) (*fsm.Outcome, error) { return &fsm.Outcome{}, nil }
		s.tasks.list = func(fsm.Filter) (fsm.Page, error) { return fsm.Page{}, nil }
		s.tasks.log = func(string, bool, func([]byte) error) error { return nil }
		callers := map[string]string{
			"nobody": "", "ann": s.people.add(t, "ann", nil, nil), "bob": s.people.add(t, "bob", []string{auth.TasksWrite}, nil),
			"eve": s.people.add(t, "eve", []string{auth.TasksRead}, nil), "admin": s.people.add(t, "admin", []string{auth.Admin}, nil),
		}
		submit := map[Anonymous]int{AnonymousNone: 401, AnonymousSubmit: 200, AnonymousRead: 200}[mode]
		read := map[Anonymous]int{AnonymousNone: 401, AnonymousSubmit: 401, AnonymousRead: 200}[mode]
		seen := map[Anonymous]int{AnonymousNone: 401, AnonymousSubmit: 404, AnonymousRead: 200}[mode]
		ofSubmit := map[int]int{401: 403, 200: 200}[submit] // of who has a token, but no scope
		ofRead := map[int]int{401: 403, 200: 200}[read]
		withToken := map[int]int{401: 404, 404: 404, 200: 200} // what a token without scopes adds to what anybody may
		for _, c := range []struct {
			method, path, body            string
			nobody, ann, bob, eve, admins int
		}{
			{"POST", "/task", task, submit, ofSubmit, 200, ofSubmit, 200},
			{"POST", "/tasks/batch", `{"tasks":[` + task + `]}`, submit, map[int]int{403: 403, 200: 200}[ofSubmit], 200, ofSubmit, 200},
			{"GET", "/task/nobodys", "", submit, withToken[submit], withToken[submit], 200, 200},
			{"GET", "/task/anns", "", seen, 200, withToken[seen], 200, 200},
			{"GET", "/task/anns/logs", "", seen, 200, withToken[seen], 200, 200},
			{"POST", "/task/nobodys/cancel", "", submit, withToken[submit], 200, map[int]int{401: 403, 200: 200}[submit], 200},
			{"POST", "/task/anns/cancel", "", map[Anonymous]int{AnonymousNone: 401, AnonymousSubmit: 404, AnonymousRead: 403}[mode], 200, 200, 403, 200},
			{"GET", "/task", "", read, 200, 200, 200, 200},
			{"GET", "/tasks", "", submit, 200, 200, 200, 200},
			{"GET", "/cluster", "", read, ofRead, ofRead, 200, 200},
			{"GET", "/metrics", "", read, ofRead, ofRead, 200, 200},
			{"DELETE", "/users/eve2", "", 401, 403, 403, 403, 404},
			{"GET", "/audit", "", 401, 403, 403, 403, 200},
			{"GET", "/cluster/secret", "", 401, 403, 403, 403, 200},
			{"GET", "/protected", "", 401, 200, 200, 200, 200},
			{"GET", "/ping", "", 200, 200, 200, 200, 200},
		} {
			for who, want := range map[string]int{"nobody": c.nobody, "ann": c.ann, "bob": c.bob, "eve": c.eve, "admin": c.admins} {
				var headers []string
				if callers[who] != "" {
					headers = []string{"Authorization", callers[who]}
				}
				w := s.do(c.method, c.path, c.body, headers...)
				if w.Code != want {
					t.Errorf("anonymous %s: %s %s by %s: got %d %s, want %d", mode, c.method, c.path, who, w.Code, w.Body, want)
				}
				if challenge := w.Header().Get("Www-Authenticate"); (w.Code == 401) != strings.HasPrefix(challenge, "Bearer") {
					t.Errorf("%s %s by %s: %d with the challenge %q", c.method, c.path, who, w.Code, challenge)
				}
			}
		}
	}
}

// TestListOwn: who may not read everything gets what is theirs.
func TestListOwn(t *testing.T) {
	s := newSetup(func(o *Options) { o.Anonymous = AnonymousSubmit })
	s.tasks.list = func(fsm.Filter) (fsm.Page, error) { return fsm.Page{}, nil }
	s.do("GET", "/task", "", "Authorization", s.people.add(t, "ann", nil, nil))
	if !s.tasks.filter.Owned || s.tasks.filter.Owner != "ann" {
		t.Errorf("ann's list is %+v", s.tasks.filter)
	}
	s.do("GET", "/task", "", "Authorization", s.people.add(t, "eve", []string{auth.TasksRead}, nil))
	if s.tasks.filter.Owned {
		t.Errorf("a reader's list is %+v", s.tasks.filter)
	}
}

func TestProtectedTasks(t *testing.T) {
	s := newSetup()
	const body = `{"type":"test.main.secret","args":{"x":1}}`
	token := func(scopes, allowed []string) string { return s.people.add(t, "ann", scopes, allowed) }
	for name, c := range map[string]struct {
		token  string
		status int
		text   string
	}{
		"allowed":     {token(nil, []string{"test.main.secret"}), 200, ""},
		"by pack":     {token(nil, []string{"test.*"}), 200, ""},
		"by module":   {token(nil, []string{"test.main.*"}), 200, ""},
		"all":         {token(nil, []string{"*"}), 200, ""},
		"admin":       {token([]string{auth.Admin}, nil), 200, ""},
		"half a name": {token(nil, []string{"te*"}), 403, "The payload in your JWT is not valid."},
		"another":     {token(nil, []string{"test.main.add"}), 403, "The payload in your JWT is not valid."},
		"denied": {s.people.sign(t, &auth.Claims{Sub: "ann", Epoch: 5, Allowed: []string{"*"}, Denied: []string{"test.main.secret"}}), 403,
			"You don't have permission to use this tasktype."},
		"all scopes but admin": {token([]string{auth.TasksWrite, auth.PacksWrite}, nil), 403, "The payload in your JWT is not valid."},
	} {
		t.Run(name, func(t *testing.T) {
			// The user may do what the token says, or everything: what counts is both.
			s.people.users["ann"] = &fsm.User{Name: "ann", Scopes: []string{auth.Admin}, AllowedTasks: []string{"*"}, Epoch: 5}
			w := s.do("POST", "/task", body, "Authorization", c.token)
			wantStatus(t, w, c.status)
			if a := decode(t, w); c.text != "" && a.Message != c.text {
				t.Errorf("got %q, want %q", a.Message, c.text)
			}
		})
	}
	all := token([]string{auth.Admin}, []string{"*"})
	s.people.users["ann"].Scopes, s.people.users["ann"].AllowedTasks = nil, nil
	wantStatus(t, s.do("POST", "/task", body, "Authorization", all), 403)
	delete(s.people.users, "ann")
	if w := s.do("POST", "/task", body, "Authorization", all); w.Code != 401 || decode(t, w).Code != "token_revoked" {
		t.Errorf("a removed user: %d %s", w.Code, w.Body)
	}
}

// TestActor: commands carry who asked for them, and from where.
func TestActor(t *testing.T) {
	s := newSetup()
	var actor *fsm.Actor
	s.tasks.submit = func(ctx context.Context, sub *fsm.Submit) (*fsm.Outcome, error) {
		actor = fsm.ActorOf(ctx)
		return &fsm.Outcome{Ids: idsOf(sub.Tasks), Status: fsm.Status_PENDING}, nil
	}
	for token, sub := range map[string]string{
		"": "", s.people.add(t, "ann", nil, nil): "ann", "Bearer nonsense": "", // which is not looked at here
	} {
		wantStatus(t, s.do("POST", "/task", `{"type":"test.main.none","args":{}}`, "Authorization", token), 200)
		if actor == nil || actor.Sub != sub || actor.Addr != "192.0.2.1" {
			t.Errorf("token %.10q: got %v, want %q from 192.0.2.1", token, actor, sub)
		}
	}
}

func TestForeignPages(t *testing.T) {
	s := newSetup(func(o *Options) { o.LoopbackOnly, o.CORSOrigins = true, []string{"https://good.example"} })
	for name, c := range map[string]struct {
		host, origin string
		status       int
	}{
		"a program":      {"127.0.0.1:8080", "", 200},
		"its own page":   {"127.0.0.1:8080", "http://127.0.0.1:8080", 200},
		"allowed page":   {"127.0.0.1:8080", "https://good.example", 200},
		"foreign page":   {"127.0.0.1:8080", "https://evil.example", 403},
		"sandboxed page": {"127.0.0.1:8080", "null", 403},
		"another name":   {"evil.example", "", 403},
		"by localhost":   {"localhost:8080", "", 200},
	} {
		r := httptest.NewRequest("GET", "/cluster", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: got %d %s, want %d", name, w.Code, w.Body, c.status)
		}
	}
}

func TestRateLimit(t *testing.T) {
	now := time.Now()
	s := newSetup(func(o *Options) { o.RateLimit, o.Now = 5, func() time.Time { return now } })
	send := func(addr string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/ping", nil)
		r.RemoteAddr = addr
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	counts := map[string]int{}
	for range 30 {
		for _, addr := range []string{"192.0.2.7:1", "192.0.2.8:1", "127.0.0.1:1", "[::1]:1"} {
			w := send(addr)
			if w.Code == 200 {
				counts[addr]++
			} else if w.Code != 429 || w.Header().Get("Retry-After") == "" {
				t.Fatalf("got %d %v", w.Code, w.Header())
			}
		}
	}
	if fmt.Sprint(counts) != "map[127.0.0.1:1:30 192.0.2.7:1:10 192.0.2.8:1:10 [::1]:1:30]" {
		t.Errorf("served: %v", counts)
	}
	if now = now.Add(time.Second); send("192.0.2.7:1").Code != 200 {
		t.Error("a second later the address is still limited")
	}
}

func TestUsers(t *testing.T) {
	s := newSetup()
	boss := []string{"Authorization", s.people.add(t, "eve", []string{auth.UsersWrite, auth.TasksRead}, nil)}
	admin := []string{"Authorization", s.people.add(t, "admin", []string{auth.Admin}, nil)}
	for _, c := range []struct {
		body   string
		by     []string
		status int
		says   string
	}{
		{`{"name":"ann","password":"long enough","scopes":["tasks:read"],"allowed_tasks":["a.*"]}`, boss, 200, `"allowed_tasks":["a.*"]`},
		{`{"name":"ann","scopes":[]}`, boss, 200, `"scopes":[]`},
		{`{"name":"ann","allowed_tasks":{"b.main.c":true}}`, boss, 200, `"allowed_tasks":["b.main.c"]`},
		{`{"name":"ann","password":"another one"}`, boss, 200, `"allowed_tasks":["b.main.c"]`},
		{`{"name":"ann","password":"another one","create":true}`, boss, 409, "already"},
		{`{"name":"bob"}`, boss, 422, "needs a password"},
		{`{"name":"bob","password":"short"}`, boss, 422, "at least 8"},
		{`{"name":"bob","password":"long enough","scopes":["everything"]}`, boss, 422, "tasks:read, tasks:write"},
		{`{"name":"bob","password":"long enough","allowed_tasks":"x"}`, boss, 422, "allowed_tasks must be"},
		{`{"name":"b/b","password":"long enough"}`, boss, 422, "letters"},
		{`{"name":"bob","pasword":"long enough"}`, boss, 400, `unknown field \"pasword\"`},
		{`{"name":"bob","password":"long enough","scopes":["admin"]}`, boss, 403, "only who has the scope admin"},
		{`{"name":"bob","password":"long enough","scopes":["packs:write"]}`, boss, 403, "only who has the scope packs:write"},
		{`{"name":"admin","password":"long enough"}`, boss, 403, "only who has the scope admin"},
		{`{"name":"bob","password":"long enough","scopes":["admin"]}`, admin, 200, `"scopes":["admin"]`},
	} {
		w := s.do("POST", "/users", c.body, c.by...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: got %d %s, want %d with %q", c.body, w.Code, w.Body, c.status, c.says)
		}
	}
	if w := s.do("DELETE", "/users/bob", "", boss...); w.Code != 403 {
		t.Errorf("an admin removed by another: %d", w.Code)
	}
	w := s.do("GET", "/users", "", boss...)
	if w.Code != 200 || strings.Contains(w.Body.String(), "argon2") || strings.Contains(w.Body.String(), "hash") || !strings.Contains(w.Body.String(), `"ann"`) {
		t.Errorf("the list: %d %s", w.Code, w.Body)
	}
	s.people.err = fsm.ErrLastAdmin
	if w := s.do("DELETE", "/users/bob", "", admin...); w.Code != 409 || decode(t, w).Code != "last_admin" {
		t.Errorf("the last admin: %d %s", w.Code, w.Body)
	}
}

// TestLogIn: a password gives a token, one that was changed gives none any more, and trying is limited.
func TestLogIn(t *testing.T) {
	now := time.Now()
	s := newSetup(func(o *Options) { o.Now = func() time.Time { return now } })
	hash, err := auth.NewHasher().Hash(t.Context(), "the password")
	if err != nil {
		t.Fatal(err)
	}
	s.people.users["ann"] = &fsm.User{Name: "ann", PasswordHash: hash, Epoch: 1, AllowedTasks: []string{"test.main.secret"}}
	w := s.do("GET", "/token", `{"user":"ann","password":"the password"}`)
	wantStatus(t, w, 200)
	var got struct{ Token, Exp string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Exp != fmt.Sprint(now.Add(time.Hour).Unix()) || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("got %s, %v, %v", w.Body, err, w.Header())
	}
	w = s.do("GET", "/protected", "", "Authorization", "bearer "+got.Token)
	wantStatus(t, w, 200)
	for _, part := range []string{`"sub":"ann"`, `"iss":"test"`, `"aud":"pytasks"`, `"iat":`, `"exp":`, `"allowed_tasks":{"test.main.secret":true}`} {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("the token says %s, want %s in it", w.Body, part)
		}
	}
	basic := httptest.NewRequest("POST", "/token", nil)
	basic.SetBasicAuth("ann", "the password")
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, basic)
	wantStatus(t, answer, 200)

	wantStatus(t, s.do("POST", "/users/ann/password", `{"old":"wrong one","new":"the next one"}`, "Authorization", "Bearer "+got.Token), 401)
	wantStatus(t, s.do("POST", "/users/bob/password", `{"old":"the password","new":"the next one"}`, "Authorization", "Bearer "+got.Token), 403)
	wantStatus(t, s.do("POST", "/users/ann/password", `{"old":"the password","new":"the next one"}`, "Authorization", "Bearer "+got.Token), 200)
	if w := s.do("GET", "/protected", "", "Authorization", "Bearer "+got.Token); w.Code != 401 || decode(t, w).Code != "token_revoked" {
		t.Errorf("a token for the old password: %d %s", w.Code, w.Body)
	}
	wantStatus(t, s.do("POST", "/token", `{"user":"ann","password":"the next one"}`), 200)

	refused := 0
	for range 20 {
		if w := s.do("POST", "/token", `{"user":"ann","password":"guess"}`); w.Code == 429 {
			refused++
		} else {
			wantStatus(t, w, 401)
		}
	}
	if refused != 10 {
		t.Errorf("%d of 20 guesses were not looked at, want 10", refused)
	}
	if w := s.do("POST", "/token", `{"user":"ann","password":"the next one"}`); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("right after it: %d", w.Code)
	}
	now = now.Add(time.Minute)
	wantStatus(t, s.do("POST", "/token", `{"user":"ann","password":"the next one"}`), 200)
}

func TestAuditLines(t *testing.T) {
	s := newSetup()
	for i := range uint64(5) {
		s.people.records = append(s.people.records, fsm.AuditRecord{Index: 10 + i/2, TimeMs: 1000, Audit: &fsm.Audit{Sub: "ann", Addr: "1.2.3.4", Action: 15, Target: "bob", Detail: "password"}})
	}
	who := []string{"Authorization", s.people.add(t, "eve", []string{auth.AuditRead}, nil)}
	w := s.do("GET", "/audit?after=9&limit=3", "", who...)
	wantStatus(t, w, 200)
	const line = `{"index":10,"time":"1970-01-01T00:00:01Z","sub":"ann","addr":"1.2.3.4","action":"user.put","target":"bob","code":"OK","detail":"password"}` + "\n"
	if got := strings.Count(w.Body.String(), "\n"); got != 4 || !strings.HasPrefix(w.Body.String(), line+line) {
		t.Errorf("got %d lines, want 4, as entries are whole: %s", got, w.Body)
	}
	if w := s.do("GET", "/audit?after=11", "", who...); strings.Count(w.Body.String(), "\n") != 1 {
		t.Errorf("after 11: %s", w.Body)
	}
	for _, query := range []string{"after=x", "limit=0", "limit=1000000", "after=-1"} {
		wantStatus(t, s.do("GET", "/audit?"+query, "", who...), 400)
	}
}

func TestKeysAndSecret(t *testing.T) {
	s := newSetup()
	admin := []string{"Authorization", s.people.add(t, "admin", []string{auth.Admin}, nil)}
	wantStatus(t, s.do("POST", "/keys/rotate", "", admin...), 200)
	wantStatus(t, s.do("POST", "/cluster/secret", `{"secret":"pts1_x"}`, admin...), 200)
	if s.people.rotated != 1 || s.people.secret != "pts1_x" {
		t.Errorf("keys were renewed %d times, the secret is %q", s.people.rotated, s.people.secret)
	}
	s.people.err = &SecretError{"it has a typing error"}
	if w := s.do("POST", "/cluster/secret", `{"secret":"pts1_y"}`, admin...); w.Code != 422 || strings.Contains(w.Body.String(), "pts1_y") {
		t.Errorf("a bad secret: %d %s", w.Code, w.Body)
	}
	w := s.do("GET", "/.well-known/jwks.json", "")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"kty":"RSA"`) || strings.Contains(w.Body.String(), `"d"`) {
		t.Errorf("jwks: %d %s", w.Code, w.Body)
	}
}

// TestWaitBeyondWriteTimeout: the time that a client has for its answer begins when there is one.
func TestWaitBeyondWriteTimeout(t *testing.T) {
	s := newSetup()
	const limit = 50 * time.Millisecond
	s.tasks.wait = func(context.Context, string) (*fsm.Task, error) {
		time.Sleep(4 * limit) // longer than the server would let it
		return &fsm.Task{Key: make([]byte, 16), Type: "t", Status: fsm.Status_SUCCESS, Args: []byte("{}"), Result: []byte("1")}, nil
	}
	server := httptest.NewUnstartedServer(s)
	server.Config.WriteTimeout = limit
	server.Start()
	defer server.Close()
	resp, err := http.Get(server.URL + "/task/x?wait=10s")
	if err != nil {
		t.Fatalf("the answer was cut off: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("got %s", resp.Status)
	}
}

// TestNewKey: a token of a key that this node has not heard of yet is believed when it has.
func TestNewKey(t *testing.T) {
	s := newSetup()
	key, err := auth.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	s.people.add(t, "ann", nil, nil)
	old := s.people.keys
	s.people.keys = auth.NewKeySet(auth.Rules{Issuer: "test"}, key, testKey())
	token := s.people.sign(t, &auth.Claims{Sub: "ann", Epoch: 5})
	s.people.keys, s.people.newer = old, s.people.keys
	wantStatus(t, s.do("GET", "/protected", "", "Authorization", token), 200)
	s.people.keys = old
	if w := s.do("GET", "/protected", "", "Authorization", token); w.Code != 401 || decode(t, w).Code != "token_key" {
		t.Errorf("a key of nobody: %d %s", w.Code, w.Body)
	}
}
