package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pytasks/node/config"
)

func status(t *testing.T, p *process, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	a, err := send(p, method, path, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return a.status, a.code()
}

func anonymousStory(t *testing.T, s *siege) {
	p := s.ps[2]
	id := p.submit((&sum{number: 2}).body())
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodGet, "/ping", "", 200}, {http.MethodGet, "/livez", "", 200}, {http.MethodGet, "/readyz", "", 200},
		{http.MethodGet, "/tasks", "", 200}, {http.MethodGet, "/task/" + id, "", 200}, {http.MethodGet, "/", "", 200},
		{http.MethodGet, "/.well-known/jwks.json", "", 200},
		{http.MethodGet, "/task", "", 401}, {http.MethodGet, "/cluster", "", 401}, {http.MethodGet, "/nodes", "", 401},
		{http.MethodGet, "/packs", "", 401}, {http.MethodGet, "/metrics", "", 401}, {http.MethodGet, "/users", "", 401},
		{http.MethodGet, "/audit", "", 401}, {http.MethodGet, "/cluster/secret", "", 401}, {http.MethodGet, "/keys", "", 401},
		{http.MethodPost, "/keys/rotate", "", 401}, {http.MethodPost, "/cluster/secret", `{"secret":"x"}`, 401},
		{http.MethodPost, "/users", `{"name":"eve"}`, 401}, {http.MethodDelete, "/users/admin", "", 401},
		{http.MethodDelete, "/nodes/n1", "", 401}, {http.MethodDelete, "/packs/test", "", 401}, {http.MethodPost, "/packs", `{"url":"http://127.0.0.1/"}`, 401},
		{http.MethodPost, "/task", `{"type":"test.main.myProtectedTask","args":{"x":1,"y":2}}`, 401},
		{http.MethodGet, "/protected", "", 401},
	} {
		a, err := send(p, c.method, c.path, c.body)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != c.want {
			t.Errorf("%s %s: got %v, want %d", c.method, c.path, a, c.want)
		}
		if c.want == 401 && !strings.HasPrefix(a.header.Get("Www-Authenticate"), "Bearer") {
			t.Errorf("%s %s: WWW-Authenticate is %q", c.method, c.path, a.header.Get("Www-Authenticate"))
		}
	}
}

func defaultsStory(t *testing.T, s *siege) {
	for _, pair := range [][2]string{{"testuser", "testpass"}, {"admin", "admin"}, {"admin", "password"}, {"admin", ""}, {"", ""}, {"root", "root"}} {
		body := fmt.Sprintf(`{"user":%q,"password":%q}`, pair[0], pair[1])
		if code, _ := status(t, s.ps[0], http.MethodGet, "/token", body); code != http.StatusUnauthorized {
			t.Errorf("%v: got %d, want 401", pair, code)
		}
	}
}

func scopesStory(t *testing.T, s *siege) {
	routes := map[string][3]string{ // by the scope that they need
		"tasks:read":  {http.MethodGet, "/cluster", ""},
		"tasks:write": {http.MethodPost, "/task/no-such-task/cancel", ""},
		"packs:write": {http.MethodDelete, "/packs/nothing", ""},
		"nodes:write": {http.MethodDelete, "/nodes/nothing", ""},
		"users:write": {http.MethodDelete, "/users/nobody", ""},
		"audit:read":  {http.MethodGet, "/audit?limit=1", ""},
		"admin":       {http.MethodGet, "/cluster/secret", ""},
	}
	for scope := range routes {
		token := s.user(t, "only-"+strings.ReplaceAll(scope, ":", "-"), []string{scope}, nil)
		for need, r := range routes {
			code, _ := status(t, s.ps[2], r[0], r[1], r[2], bearer(token)...)
			may := need == scope || scope == "admin"
			// who may not cancel is told that there is no such task, which is so
			if denied := code == http.StatusForbidden || need == "tasks:write" && code == http.StatusNotFound && !may; denied == may {
				t.Errorf("with %s: %s %s is answered %d", scope, r[0], r[1], code)
			}
		}
	}
	boss := s.user(t, "boss", []string{"users:write"}, nil)
	for what, body := range map[string]string{
		"makes an admin": `{"name":"eve","password":"long enough","scopes":["admin"]}`, "becomes admin": `{"name":"boss","scopes":["admin"]}`,
		"takes the admin's place": `{"name":"admin","password":"long enough"}`,
	} {
		if code, _ := status(t, s.ps[0], http.MethodPost, "/users", body, bearer(boss)...); code != http.StatusForbidden {
			t.Errorf("who may only write users %s: got %d, want 403", what, code)
		}
	}
	if code, why := status(t, s.ps[0], http.MethodDelete, "/users/only-admin", "", bearer(s.admin)...); code != http.StatusOK {
		t.Errorf("one of two admins is not removed: %d %s", code, why)
	}
	if code, why := status(t, s.ps[0], http.MethodDelete, "/users/admin", "", bearer(s.admin)...); code != http.StatusConflict {
		t.Errorf("the last admin: got %d %s, want 409", code, why)
	}
}

func ownerStory(t *testing.T, s *siege) {
	ann, bob := s.user(t, "ann", []string{"tasks:write"}, nil), s.user(t, "bob", nil, nil)
	reader := s.user(t, "reader", []string{"tasks:read"}, nil)
	a := s.ps[0].must(http.StatusOK, http.MethodPost, "/task?wait=5s", (&sum{number: 3}).body(), bearer(ann)...)
	id := member(a.body, "id")
	if got := member(a.body, "owner"); got != "ann" {
		t.Errorf("the owner is %q, want ann", got)
	}
	for who, c := range map[string]struct {
		headers []string
		want    int
	}{"ann": {bearer(ann), 200}, "a reader": {bearer(reader), 200}, "bob": {bearer(bob), 404}, "nobody": {nil, 404}} {
		for _, p := range s.ps {
			if code, _ := status(t, p, http.MethodGet, "/task/"+id, "", c.headers...); code != c.want {
				t.Errorf("%s reads it at %s: got %d, want %d", who, p.name, code, c.want)
			}
		}
	}
	long := member(s.ps[0].must(http.StatusOK, http.MethodPost, "/task", sleepFor(time.Minute), bearer(bob)...).body, "id")
	if code, _ := status(t, s.ps[1], http.MethodPost, "/task/"+long+"/cancel", ""); code != http.StatusNotFound {
		t.Errorf("nobody cancels bob's task: got %d, want 404", code)
	}
	s.ps[1].must(http.StatusOK, http.MethodPost, "/task/"+long+"/cancel", "", bearer(bob)...)
}

func protectedStory(t *testing.T, s *siege) {
	const body = `{"type":"test.main.myProtectedTask","args":{"x":1,"y":2}}`
	for name, c := range map[string]struct {
		allowed []string
		want    int
	}{
		"type": {[]string{"test.main.myProtectedTask"}, 200}, "pack": {[]string{"test.*"}, 200}, "all": {[]string{"*"}, 200},
		"another": {[]string{"test.main.other"}, 403}, "none": {nil, 403}, "prefix": {[]string{"tes.*"}, 403},
	} {
		token := s.user(t, "allowed-"+name, nil, c.allowed)
		if code, why := status(t, s.ps[2], http.MethodPost, "/task?wait=5s", body, bearer(token)...); code != c.want {
			t.Errorf("allowed %v: got %d %s, want %d", c.allowed, code, why, c.want)
		}
	}
	// What is taken away is gone at once, whatever older tokens say.
	token := s.user(t, "demoted", nil, []string{"*"})
	s.ps[0].must(http.StatusOK, http.MethodPost, "/users", `{"name":"demoted","allowed_tasks":[]}`, bearer(s.admin)...)
	eventually(t, 5*time.Second, "the right is gone", func() error {
		if code, _ := status(t, s.ps[2], http.MethodPost, "/task", body, bearer(token)...); code != http.StatusForbidden {
			return fmt.Errorf("got %d", code)
		}
		return nil
	})
	s.ps[0].must(http.StatusOK, http.MethodDelete, "/users/demoted", "", bearer(s.admin)...)
	eventually(t, 5*time.Second, "the token is void", func() error {
		if code, why := status(t, s.ps[2], http.MethodPost, "/task", body, bearer(token)...); code != http.StatusUnauthorized || why != "token_revoked" {
			return fmt.Errorf("got %d %s", code, why)
		}
		return nil
	})
}

func badTokenStory(t *testing.T, s *siege) {
	good := s.user(t, "victim", []string{"tasks:read"}, nil)
	parts := strings.Split(good, ".")
	for name, token := range map[string]string{
		"empty": "", "no JWT": "x", "two parts": parts[0] + "." + parts[1], "no signature": parts[0] + "." + parts[1] + ".",
		"alg none":              "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + parts[1] + ".",
		"another's signature":   parts[0] + "." + parts[1] + "." + strings.Split(s.admin, ".")[2],
		"other claims":          parts[0] + "." + strings.Split(s.admin, ".")[1] + "." + parts[2],
		"a million dots":        strings.Repeat(".", 8000),
		"local token of nobody": "local-AAAAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		a, err := send(s.ps[1], http.MethodGet, "/cluster", "", bearer(token)...)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != http.StatusUnauthorized || !strings.HasPrefix(a.header.Get("Www-Authenticate"), "Bearer") {
			t.Errorf("%s: got %v, want 401", name, a)
		}
	}
	for _, p := range s.ps {
		p.must(http.StatusOK, http.MethodGet, "/cluster", "", bearer(good)...)
	}
}

func packTokenStory(t *testing.T, s *siege) {
	dir := filepath.Join(t.TempDir(), "hello")
	s.ps[0].tools("pack", "init", dir, "--kind", "command")
	cmd := func(p *process, env ...string) (string, error) {
		outer := os.Getenv("XDG_RUNTIME_DIR")
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir()) // as another user: no token of a node
		defer os.Setenv("XDG_RUNTIME_DIR", outer)
		for i := 0; i < len(env); i += 2 {
			t.Setenv(env[i], env[i+1])
		}
		return p.tool("pack", "install", dir)
	}
	if out, err := cmd(s.ps[1], "PYTASKS_DATA_DIR", t.TempDir()); err == nil || !strings.Contains(out, "token") {
		t.Errorf("a pack was installed without a token: %v: %s", err, out)
	}
	token := s.user(t, "packer", []string{"packs:write"}, nil)
	if out, err := cmd(s.ps[1], "PYTASKS_TOKEN", token); err != nil {
		t.Errorf("with a token: %v: %s", err, out)
	}
	s.ps[2].tools("pack", "rm", "hello") // by the token that the node left for this user
}

func archiveStory(t *testing.T, s *siege) {
	for name, body := range hostileArchives(t) {
		a, err := send(s.ps[0], http.MethodPost, "/packs?name=evil", string(body), append(bearer(s.admin), "Content-Type", "application/zip")...)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != http.StatusUnprocessableEntity && a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: got %v, want it refused", name, a)
		}
	}
	if _, err := os.Stat(filepath.Join(s.ps[0].dir, "escaped")); err == nil {
		t.Error("a file was written outside of the pack's folder")
	}
}

func crossSiteStory(t *testing.T, s *siege) {
	body := (&sum{number: 4}).body()
	for name, headers := range map[string][]string{
		"foreign page": {"Origin", "https://evil.example"}, "page of a file": {"Origin", "null"},
	} {
		if code, _ := status(t, s.ps[0], http.MethodPost, "/task", body, headers...); code != http.StatusForbidden && code != http.StatusUnauthorized {
			t.Errorf("%s: got %d, want it refused", name, code)
		}
	}
	req, err := http.NewRequest(http.MethodPost, s.ps[0].http+"/task", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Host = "rebound.example"
	resp, err := testHTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("another host's name: got %d, want it refused", resp.StatusCode)
	}
	a := s.ps[0].must(http.StatusOK, http.MethodGet, "/", "")
	if got := a.header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a node that was told nothing allows the origin %q", got)
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe-inline") {
		t.Errorf("the page's policy is %q", csp)
	}
}

func keysStory(t *testing.T, s *siege) {
	token := s.user(t, "steady", []string{"tasks:read", "tasks:write"}, []string{"*"})
	before := s.ps[0].must(http.StatusOK, http.MethodGet, "/.well-known/jwks.json", "")
	done := s.load(t, token)
	s.ps[0].must(http.StatusOK, http.MethodPost, "/keys/rotate", "", bearer(s.admin)...)
	eventually(t, 10*time.Second, "all nodes sign with the new key", func() error {
		for _, p := range s.ps {
			a, err := send(p, http.MethodGet, "/.well-known/jwks.json", "")
			if err != nil || strings.Count(string(a.body), `"kid"`) != 2 || bytes.Equal(a.body, before.body) {
				return fmt.Errorf("%s: %v %v", p.name, a, err)
			}
		}
		return nil
	})
	fresh := s.ps[2].login("steady", "pass of steady")
	if strings.Split(fresh, ".")[0] == strings.Split(token, ".")[0] {
		t.Error("a new token names the old key")
	}
	for _, p := range s.ps {
		p.must(http.StatusOK, http.MethodGet, "/cluster", "", bearer(fresh)...)
	}
	done()
}

func auditStory(t *testing.T, s *siege) {
	s.user(t, "audited", []string{"tasks:read"}, nil)
	id := s.ps[0].submit((&sum{number: 6}).body())
	var texts []string
	eventually(t, 10*time.Second, "all nodes tell the same", func() error {
		texts = nil
		for _, p := range s.ps {
			a, err := send(p, http.MethodGet, "/audit?limit=100000", "", bearer(s.admin)...)
			if err != nil || a.status != http.StatusOK {
				return fmt.Errorf("%s: %v %v", p.name, a, err)
			}
			texts = append(texts, string(a.body))
		}
		if texts[0] != texts[1] || texts[1] != texts[2] {
			return fmt.Errorf("they differ: %d, %d and %d bytes", len(texts[0]), len(texts[1]), len(texts[2]))
		}
		return nil
	})
	type line struct {
		Index                           uint64
		Time, Sub, Addr, Action, Target string
	}
	var last uint64
	seen := map[string]line{}
	for text := range strings.Lines(texts[0]) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("line %q: %v", text, err)
		}
		if l.Index < last || l.Addr == "" || l.Time == "" {
			t.Errorf("line %q after index %d", text, last)
		}
		last = l.Index
		seen[l.Action+" "+l.Target] = l
	}
	if l := seen["user.put audited"]; l.Sub != config.FirstUser || l.Addr != "127.0.0.1" {
		t.Errorf("the new user: %+v, want it made by admin from 127.0.0.1", l)
	}
	if l, ok := seen["submit "+id]; !ok || l.Sub != "" {
		t.Errorf("the submission: %+v, want it by nobody", l)
	}
}

func guessStory(t *testing.T, s *siege) {
	s.user(t, "guessed", nil, nil)
	answers := map[int]int{}
	for i := range 60 {
		a, err := send(s.ps[0], http.MethodPost, "/token", fmt.Sprintf(`{"user":"guessed","password":"guess %d"}`, i))
		if err != nil {
			t.Fatal(err)
		}
		answers[a.status]++
		if a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") == "" {
			t.Errorf("got %v without Retry-After", a)
		}
	}
	if answers[http.StatusTooManyRequests] < 30 || answers[http.StatusOK] > 0 || answers[http.StatusUnauthorized] < 3 {
		t.Errorf("60 guesses were answered %v, want most of them 429", answers)
	}
}
