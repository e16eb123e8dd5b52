package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"pytasks/fsm"
)

// fakePacks notes what it is asked for.
type fakePacks struct {
	list    []PackView
	asked   string
	archive string
	err     error
}

func (f *fakePacks) List() []PackView { return f.list }

func (f *fakePacks) Install(_ context.Context, from PackSource) (PackView, error) {
	f.asked = fmt.Sprintf("install url=%s index=%s name=%s sha256=%s", from.URL, from.Index, from.Name, from.SHA256)
	if from.Archive != nil {
		body, err := io.ReadAll(from.Archive)
		if f.archive = string(body); err != nil {
			return PackView{}, err
		}
	}
	return PackView{Name: "hello"}, f.err
}

func (f *fakePacks) Use(_ context.Context, name, release string) (PackView, error) {
	f.asked = fmt.Sprintf("use %s %s", name, release)
	return PackView{Name: name}, f.err
}

func (f *fakePacks) Remove(_ context.Context, name, release string, force bool) error {
	f.asked = fmt.Sprintf("remove %s %s %v", name, release, force)
	return f.err
}

// local sends a request about packs as the command line on a node's machine does.
func (s *setup) local(method, target, contentType, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:5000", "127.0.0.1:8080"
	r.Header.Set("Authorization", "Bearer "+localToken)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(headers); i += 2 {
		switch headers[i] {
		case "Authorization":
			r.Header.Del("Authorization")
			if headers[i+1] != "" {
				r.Header.Set("Authorization", headers[i+1])
			}
		case "Host":
			r.Host = headers[i+1]
		case "Remote":
			r.RemoteAddr = headers[i+1]
		default:
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func packSetup(f *fakePacks) *setup {
	return newSetup(func(o *Options) { o.Packs, o.MaxPack = f, 10 })
}

func TestInstallPack(t *testing.T) {
	const zip, js = "application/zip", "application/json"
	for _, tt := range []struct {
		target, kind, body string
		status             int
		want               string // what Packs was asked, or a part of the answer
	}{
		{"/packs", zip, "PK", 200, "install url= index= name= sha256="},
		{"/packs?name=other&sha256=00", "application/gzip", "gz", 200, "install url= index= name=other sha256=00"},
		{"/packs", zip, "PK345678901", 413, "larger than 10 bytes"},
		{"/packs", js, `{"url":"https://example.com/p.zip","sha256":"ab"}`, 200, "install url=https://example.com/p.zip index= name= sha256=ab"},
		{"/packs", js, `{"name":"hello"}`, 200, "install url= index=hello name= sha256="},
		{"/packs", js, `{"url":"https://example.com/p.zip","name":"mine"}`, 200, "install url=https://example.com/p.zip index= name=mine sha256="},
		{"/packs", js, `{}`, 400, "say which pack"},
		{"/packs", js, `{"uri":"x"}`, 400, "uri is not known here"},
		{"/packs", js, `{"url":1}`, 400, "url must be a text"},
		{"/packs", "text/plain", `x`, 400, "content type"},
	} {
		f := &fakePacks{}
		w := packSetup(f).local("POST", tt.target, tt.kind, tt.body)
		if got := f.asked + w.Body.String(); w.Code != tt.status || !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: got %d, %s; want %d, %s", tt.target, tt.body, w.Code, got, tt.status, tt.want)
		}
		if tt.status == 200 && tt.kind != js && f.archive != tt.body {
			t.Errorf("%s: the archive came as %q", tt.target, f.archive)
		}
	}
}

// TestLocalToken: what a node leaves for its user is for programs on its machine; not for elsewhere, nor for pages in a browser
// there.
func TestLocalToken(t *testing.T) {
	requests := [][2]string{{"POST", "/packs"}, {"DELETE", "/packs/hello"}, {"POST", "/packs/hello/rollback"}}
	for name, tt := range map[string]struct {
		headers []string
		allowed bool
	}{
		"the command line":           {nil, true},
		"IPv6":                       {[]string{"Remote", "[::1]:99", "Host", "[::1]:8080"}, true},
		"by name":                    {[]string{"Host", "localhost:8080"}, true},
		"the node's own page":        {[]string{"Origin", "http://127.0.0.1:8080"}, true},
		"another token":              {[]string{"Authorization", "Bearer local-other"}, false},
		"no token":                   {[]string{"Authorization", ""}, false},
		"another machine":            {[]string{"Remote", "192.0.2.1:99"}, false},
		"no address":                 {[]string{"Remote", "pipe"}, false},
		"a page of another site":     {[]string{"Origin", "https://example.com"}, false},
		"a sandboxed page":           {[]string{"Origin", "null"}, false},
		"a name that was led here":   {[]string{"Host", "example.com"}, false},
		"that, with its origin":      {[]string{"Host", "example.com:8080", "Origin", "http://example.com:8080"}, false},
		"through a proxy":            {[]string{"X-Forwarded-For", "192.0.2.1"}, false},
		"through a standard proxy":   {[]string{"Forwarded", "for=192.0.2.1"}, false},
		"another machine, forwarded": {[]string{"Remote", "192.0.2.1:99", "X-Forwarded-For", "127.0.0.1"}, false},
	} {
		for _, r := range requests {
			f := &fakePacks{}
			w := packSetup(f).local(r[0], r[1], "application/zip", "PK", tt.headers...)
			if (w.Code == 200) != tt.allowed || (f.asked != "") != tt.allowed || !tt.allowed && w.Code != 401 && w.Code != 403 {
				t.Errorf("%s: %s %s: got %d and asked %q, want it allowed: %v", name, r[0], r[1], w.Code, f.asked, tt.allowed)
			}
		}
	}
}

func TestPackRequests(t *testing.T) {
	for target, want := range map[string]string{
		"DELETE /packs/a": "remove a  false",
		"DELETE /packs/a?force=true&release=1.0%2Bab": "remove a 1.0+ab true",
		"POST /packs/a/rollback":                      "use a ",
		"POST /packs/a/rollback?release=1.0%2Bab":     "use a 1.0+ab",
	} {
		f := &fakePacks{}
		method, path, _ := strings.Cut(target, " ")
		if w := packSetup(f).local(method, path, "", ""); w.Code != 200 || f.asked != want {
			t.Errorf("%s: got %d and asked %q, want %q", target, w.Code, f.asked, want)
		}
	}
	s := packSetup(&fakePacks{list: []PackView{{Name: "a", Nodes: []PackNode{{Name: "n1", Status: "ready"}}}}})
	if body := s.do("GET", "/packs", "").Body.String(); !strings.HasPrefix(body, `{"packs":[{"name":"a",`) {
		t.Errorf("GET /packs = %s", body)
	}
	if body := s.do("GET", "/packs/a", "").Body.String(); !strings.Contains(body, `"nodes":[{"name":"n1","status":"ready"}]`) {
		t.Errorf("GET /packs/a = %s", body)
	}
	if w := s.do("GET", "/packs/b", ""); w.Code != 404 {
		t.Errorf("GET /packs/b = %d, want 404", w.Code)
	}
	if w := s.local("DELETE", "/packs/a?force=perhaps", "", ""); w.Code != 400 {
		t.Errorf("force=perhaps = %d, want 400", w.Code)
	}
}

func TestPackErrors(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		text   string
	}{
		{&PackError{Message: "it has no tasks", Traceback: "File main.py"}, 422, `"detail":"File main.py"`},
		{fmt.Errorf("install: %w", fsm.ErrNoLeader), 503, "no_leader"},
		{fsm.ErrUnknown, 503, "GET /packs"},
		{context.DeadlineExceeded, 503, "GET /packs"},
		{fsm.ErrPackBusy, 409, "pack_busy"},
		{fsm.ErrNotFound, 404, "not_found"},
		{errors.New("disk"), 500, "Internal Server Error"},
	} {
		w := packSetup(&fakePacks{err: tt.err}).local("DELETE", "/packs/a", "", "")
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.text) {
			t.Errorf("%v: got %d, %s; want %d, %s", tt.err, w.Code, w.Body, tt.status, tt.text)
		}
	}
}

// TestNoSuchPack: what is not there is told apart from what is there and cannot be removed.
func TestNoSuchPack(t *testing.T) {
	f := &fakePacks{err: fsm.ErrNotFound, list: []PackView{
		{Name: "own", Kind: "go"}, {Name: "a", Releases: []PackRelease{{Release: "1.0+ab"}, {Release: "1.1+cd"}}},
	}}
	for target, want := range map[string]string{
		"DELETE /packs/b":                  "there is no pack b: GET /packs",
		"DELETE /packs/own":                "pack own is part of the nodes' program",
		"POST /packs/own/rollback":         "pack own is part of the nodes' program",
		"DELETE /packs/a?release=1.0":      "pack a has no release 1.0: it has 1.0+ab, 1.1+cd",
		"POST /packs/a/rollback?release=2": "pack a has no release 2: it has 1.0+ab, 1.1+cd",
	} {
		method, path, _ := strings.Cut(target, " ")
		if w := packSetup(f).local(method, path, "", ""); w.Code != 404 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d, %s; want 404 and %q", target, w.Code, w.Body, want)
		}
	}
}

// TestSubmitNamesRelease: a task is queued for the release that its arguments were checked against.
func TestSubmitNamesRelease(t *testing.T) {
	catalog := newCatalog()
	catalog.release = "1.0+ab"
	s := newSetup(func(o *Options) { o.Catalog = catalog })
	wantStatus(t, s.do("POST", "/task", `{"type":"test.main.add","args":{"x":1,"y":2}}`), 200)
	if got := s.tasks.last(t).Release; got != "1.0+ab" {
		t.Errorf("release %q, want 1.0+ab", got)
	}
}

func TestLog(t *testing.T) {
	s := newSetup()
	s.tasks.log = func(id string, follow bool, out func([]byte) error) error {
		if id == "absent" {
			return fsm.ErrNotFound
		}
		if id == "silent" {
			return nil
		}
		return errors.Join(out([]byte("one\n")), out(fmt.Appendf(nil, "%v\xff", follow)))
	}
	for target, want := range map[string]string{
		"/task/a/logs": "one\nfalse\xff", "/task/a/logs?follow=1": "one\ntrue\xff", "/task/silent/logs": "",
	} {
		w := s.do("GET", target, "")
		if w.Code != 200 || w.Body.String() != want || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: got %d, %q, want %q", target, w.Code, w.Body, want)
		}
	}
	for target, want := range map[string]int{"/task/absent/logs": 404, "/task/a/logs?follow=maybe": 400} {
		if w := s.do("GET", target, ""); w.Code != want {
			t.Errorf("%s: got %d, want %d", target, w.Code, want)
		}
	}
}

// TestLogCutOff: a log that ends too early must not look whole.
func TestLogCutOff(t *testing.T) {
	s := newSetup()
	s.tasks.log = func(_ string, _ bool, out func([]byte) error) error {
		return errors.Join(out([]byte("one\n")), fsm.ErrNoLeader)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/task/a/logs?follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil || string(body) != "one\n" {
		t.Errorf("read %q, %v; want its beginning and an error", body, err)
	}
}

// TestProgress: what a running task tells of itself is shown.
func TestProgress(t *testing.T) {
	s := newSetup()
	s.tasks.tasks["a"] = &fsm.Task{Key: make([]byte, 16), Name: "a", Status: fsm.Status_STARTED, Args: []byte("{}"), Release: "1.0+ab",
		Progress: &fsm.Progress{Fraction: 0.25, Text: "a \"quarter\""}}
	body := s.do("GET", "/task/a", "").Body.String()
	if !strings.Contains(body, `"progress":{"fraction":0.25,"text":"a \"quarter\""}`) || !strings.Contains(body, `"release":"1.0+ab"`) {
		t.Errorf("got %s", body)
	}
}
