package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"pytasks/httpapi/auth"
	"pytasks/taskpacks"
)

// TestDocsPage: the page loads its own files alone, may do no more than it must, and is shown nowhere but in a window of its own.
func TestDocsPage(t *testing.T) {
	s := newSetup()
	for _, path := range []string{"/", "/docs"} {
		w := s.do("GET", path, "")
		wantStatus(t, w, 200)
		page, h := w.Body.String(), w.Header()
		if h.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(page, "<title>pytasks API</title>") {
			t.Errorf("%s: %v %s", path, h, page)
		}
		policy := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(policy, part+";") && !strings.HasSuffix(policy, part) {
				t.Errorf("%s: the policy is %q, want %q in it", path, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
		if bad := regexp.MustCompile(`(?i)<script>|<style|\s(style|on[a-z]+)\s*=|//`).FindString(page); bad != "" {
			t.Errorf("%s: the page has %q, which its policy forbids", path, bad)
		}
		links := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1)
		if len(links) < 5 {
			t.Errorf("%s: %d links", path, len(links))
		}
		for _, link := range links {
			w := s.do("GET", "/"+link[1], "")
			if w.Code != 200 || w.Body.Len() == 0 || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %d, %d bytes, %v", link[1], w.Code, w.Body.Len(), w.Header())
			}
		}
	}
	wantStatus(t, s.do("GET", "/docs/none.js", ""), 404)
}

// TestDocsFiles: they come packed to who takes that, with an ETag, and not again to who has them.
func TestDocsFiles(t *testing.T) {
	s := newSetup(func(o *Options) { o.CORSOrigins = []string{"https://a.example"} })
	for path, kind := range map[string]string{
		"/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8", "/docs/start.css": "text/css; charset=utf-8",
		"/docs/favicon.png": "image/png", "/openapi.json": "application/json", "/swagger.json": "application/json", "/": "text/html; charset=utf-8",
	} {
		plain, packed := s.do("GET", path, "", "Origin", "https://a.example"), s.do("GET", path, "", "Accept-Encoding", "br, gzip;q=0.5")
		wantStatus(t, plain, 200)
		r, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if text, err := io.ReadAll(r); err != nil || !bytes.Equal(text, plain.Body.Bytes()) || packed.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: packed it is something else: %v %v", path, err, packed.Header())
		}
		tag := plain.Header().Get("Etag")
		if plain.Header().Get("Content-Type") != kind || tag == "" || tag != packed.Header().Get("Etag") || plain.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: %v, packed %v", path, plain.Header(), packed.Header())
		}
		if vary := strings.Join(plain.Header()["Vary"], ", "); !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Accept-Encoding") {
			t.Errorf("%s varies by %s", path, vary)
		}
		for given, want := range map[string]int{tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, strings.TrimPrefix(tag, "W/"): 304, "W/": 200} {
			if w := s.do("GET", path, "", "If-None-Match", given); w.Code != want || want == 304 && w.Body.Len() > 0 {
				t.Errorf("%s with If-None-Match %s: %d with %d bytes, want %d", path, given, w.Code, w.Body.Len(), want)
			}
		}
	}
	for header, want := range map[string]bool{"": false, "gzip": true, "deflate, gzip": true, "gzip;q=0": false, "gzip; q=0.000": false, "x-gzip": false, "gzip;q=0.1": true, "identity": false} {
		if takesGzip(header) != want {
			t.Errorf("Accept-Encoding %q: want %t", header, want)
		}
	}
}

// TestDescriptionShows: the types of task are for those who may see them with GET /tasks, and change with the catalog.
func TestDescriptionShows(t *testing.T) {
	const typed = `"/run/test.main.add"`
	catalog := newCatalog()
	for _, mode := range []Anonymous{AnonymousNone, AnonymousSubmit, AnonymousRead} {
		s := newSetup(func(o *Options) { o.Anonymous, o.Catalog, o.LoopbackOnly = mode, catalog, true })
		ann := s.people.add(t, "ann", nil, nil)
		for _, path := range []string{"/openapi.json", "/swagger.json"} {
			for _, headers := range [][]string{{}, {"Authorization", ann}, {"Authorization", "Bearer x"}, {"Authorization", "Basic x"}, {"Origin", "https://evil.example"}} {
				for _, host := range []string{"127.0.0.1:8080", "evil.example"} {
					w := s.local("GET", path, "", "", append([]string{"Authorization", "", "Host", host}, headers...)...)
					tasks := s.local("GET", "/tasks", "", "", append([]string{"Authorization", "", "Host", host}, headers...)...)
					wantStatus(t, w, 200)
					if got := strings.Contains(w.Body.String(), typed); got != (tasks.Code == 200) || !strings.Contains(w.Body.String(), `"/run/{type}"`) {
						t.Errorf("%s, %s of %v at %s: shows types: %t; GET /tasks: %d", mode, path, headers, host, got, tasks.Code)
					}
					if vary := strings.Join(w.Header()["Vary"], ","); !strings.Contains(vary, "Authorization") {
						t.Errorf("%s varies by %s", path, vary)
					}
				}
			}
		}
	}

	s := newSetup(func(o *Options) { o.Catalog = catalog })
	before := s.do("GET", "/openapi.json", "").Header().Get("Etag")
	catalog.specs = append(catalog.specs, &taskpacks.Spec{Name: "zoo.main.feed", Doc: "Feeds.\n\nAll <animals>."})
	catalog.version++
	w := s.do("GET", "/openapi.json", "")
	if w.Header().Get("Etag") == before || !strings.Contains(w.Body.String(), `"summary":"Feeds.","description":"Feeds.\n\nAll <animals>.","operationId":"run_zoo_main_feed"`) {
		t.Errorf("the new type is not shown: %s", w.Header().Get("Etag"))
	}
}

// TestDescriptionNeeds: what may be done without a token is said, and which scopes the rest needs.
func TestDescriptionNeeds(t *testing.T) {
	for mode, want := range map[Anonymous]map[string]string{
		AnonymousNone:   {"POST /task": `[{"bearer":[]}]`, "GET /cluster": `[{"bearer":["tasks:read"]}]`},
		AnonymousSubmit: {"POST /task": `[{"bearer":[]},{}]`, "GET /task": `[{"bearer":[]}]`, "POST /run/test.main.secret": `[{"bearer":[]}]`},
		AnonymousRead: {"POST /task": `[{"bearer":[]},{}]`, "GET /task": `[{"bearer":[]},{}]`, "GET /cluster": `[{"bearer":["tasks:read"]},{}]`,
			"GET /ping": `[]`, "POST /users": `[{"bearer":["users:write"]}]`, "POST /token": `[{"basic":[]},{}]`, "POST /run/test.main.add": `[{"bearer":[]},{}]`},
	} {
		s := newSetup(func(o *Options) { o.Anonymous = mode })
		token := s.people.add(t, "ann", []string{auth.TasksRead}, nil)
		var doc struct {
			Paths map[string]map[string]struct{ Security json.RawMessage }
		}
		if err := json.Unmarshal(s.do("GET", "/openapi.json", "", "Authorization", token).Body.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		for route, want := range want {
			method, path, _ := strings.Cut(route, " ")
			if got := string(doc.Paths[path][strings.ToLower(method)].Security); got != want {
				t.Errorf("%s: %s needs %s, want %s", mode, route, got, want)
			}
		}
	}
}

// BenchmarkDescribe writes the description with 300 types of task; it is written once for each change of the catalog.
func BenchmarkDescribe(b *testing.B) {
	b.ReportAllocs()
	d := describerOf(AnonymousRead)
	catalog := newCatalog()
	hypot := *catalog.byKey["test.main.hypot"]
	for i := range 300 {
		hypot.Name = fmt.Sprintf("pack%d.main.f%d", i/10, i)
		spec := hypot
		catalog.specs = append(catalog.specs, &spec)
	}
	d.api.Catalog = catalog
	size := 0
	for b.Loop() {
		catalog.version++
		f, err := d.get(description{types: true})
		if err != nil {
			b.Fatal(err)
		}
		size = len(f.plain)
	}
	b.ReportMetric(float64(size), "bytes")
}

func BenchmarkOpenAPI(b *testing.B) { benchmark(b, benchSetup(), http.MethodGet, "/openapi.json", "") }
