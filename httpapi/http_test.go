package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/fsm"
)

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestRouteTable(t *testing.T) {
	seen := map[string]bool{}
	for _, rt := range (&api{Options: Options{Registry: prometheus.NewRegistry()}}).routes() {
		if rt.summary == "" || rt.handle == nil || seen[rt.method+rt.pattern] {
			t.Errorf("bad route %s %s", rt.method, rt.pattern)
		}
		seen[rt.method+rt.pattern] = true
	}
}

func TestPaths(t *testing.T) {
	s := newSetup()
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/nope", 404, ""},
		{"GET", "/task/", 404, ""},
		{"POST", "/task/", 404, ""},
		{"GET", "/tasks/", 404, ""},
		{"GET", "/TASKS", 404, ""},
		{"GET", "/task/a/b", 404, ""},
		{"GET", "/task/a%2Fb", 404, ""},
		{"OPTIONS", "/nope", 404, ""},
		{"POST", "/", 405, "GET, HEAD, OPTIONS"},
		{"DELETE", "/task", 405, "GET, HEAD, OPTIONS, POST"},
		{"GET", "/tasks/batch", 405, "OPTIONS, POST"},
		{"GET", "/task/a/cancel", 405, "OPTIONS, POST"},
		{"GET", "/task/a/retry", 405, "OPTIONS, POST"},
		{"GET", "/nodes/a", 405, "DELETE, OPTIONS"},
		{"PUT", "/ping", 405, "GET, HEAD, OPTIONS"},
		{"OPTIONS", "/task", 200, "GET, HEAD, OPTIONS, POST"},
		{"OPTIONS", "/ping", 200, "GET, HEAD, OPTIONS"},
	} {
		w := s.do(tt.method, tt.path, "")
		if w.Code != tt.status || w.Header().Get("Allow") != tt.allow {
			t.Errorf("%s %s: got %d, Allow %q; want %d, %q", tt.method, tt.path, w.Code, w.Header().Get("Allow"), tt.status, tt.allow)
			continue
		}
		switch tt.status {
		case 200:
			if w.Body.Len() > 0 {
				t.Errorf("%s %s: body %q", tt.method, tt.path, w.Body)
			}
		case 405:
			if a := decode(t, w); a.Message != "The method is not allowed for the requested URL." {
				t.Errorf("%s %s: message %q", tt.method, tt.path, a.Message)
			}
		default:
			if a := decode(t, w); a.Message == "" {
				t.Errorf("%s %s: no message", tt.method, tt.path)
			}
		}
	}
}

// HEAD answers as GET without the body, over the wire.
func TestHead(t *testing.T) {
	s := newSetup()
	s.tasks.tasks["big"] = &fsm.Task{Name: "big", Args: []byte(`{"x":"` + strings.Repeat("x", 10_000) + `"}`), Status: fsm.Status_PENDING}
	server := httptest.NewServer(s)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}} // which hides lengths
	defer client.CloseIdleConnections()
	for _, path := range []string{"/ping", "/", "/docs/swagger-ui.css", "/openapi.json", "/tasks", "/task/big", "/task/none", "/livez"} {
		get, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := io.ReadAll(get.Body)
		get.Body.Close()
		head, err := client.Head(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(head.Body)
		head.Body.Close()
		if head.StatusCode != get.StatusCode || len(got) > 0 || head.ContentLength != int64(len(want)) || get.ContentLength != int64(len(want)) {
			t.Errorf("%s: HEAD %d with length %d and %d bytes; GET %d with length %d and %d bytes", path,
				head.StatusCode, head.ContentLength, len(got), get.StatusCode, get.ContentLength, len(want))
		}
	}
}

func TestPanic(t *testing.T) {
	s := newSetup()
	s.tasks.task = func(context.Context, string) (*fsm.Task, error) { panic("secret detail") }
	w := s.do("GET", "/task/a", "")
	wantStatus(t, w, 500)
	if a := decode(t, w); a.Message != "Internal Server Error" || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("body: %s", w.Body)
	}
	// The next request is served as ever.
	wantStatus(t, s.do("GET", "/ping", ""), 200)

	s.tasks.task = func(context.Context, string) (*fsm.Task, error) { panic(http.ErrAbortHandler) }
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v, want http.ErrAbortHandler", v)
		}
	}()
	s.do("GET", "/task/a", "")
}

func TestMetrics(t *testing.T) {
	s := newSetup()
	s.tasks.tasks["a"] = &fsm.Task{Name: "a", Args: []byte("{}"), Status: fsm.Status_PENDING}
	s.tasks.task = nil
	for range 3 {
		s.do("GET", "/task/a", "")
	}
	s.do("GET", "/task/b", "")
	s.do("POST", "/task", "{}")
	s.do("GET", "/some/path", "")
	s.do("GET", "/other/path", "")
	s.tasks.task = func(context.Context, string) (*fsm.Task, error) { panic("x") }
	s.do("GET", "/task/a", "")

	w := s.do("GET", "/metrics", "")
	wantStatus(t, w, 200)
	for _, line := range []string{
		`pytasks_http_requests_total{code="200",method="GET",route="/task/:id"} 3`,
		`pytasks_http_requests_total{code="404",method="GET",route="/task/:id"} 1`,
		`pytasks_http_requests_total{code="500",method="GET",route="/task/:id"} 1`,
		`pytasks_http_requests_total{code="400",method="POST",route="/task"} 1`,
		`pytasks_http_requests_total{code="404",method="any",route="none"} 2`,
		`pytasks_http_request_duration_seconds_count{route="/task/:id"} 5`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

func TestCORS(t *testing.T) {
	const own, other = "https://app.example", "https://other.example"
	for _, tt := range []struct {
		name    string
		origins []string
		origin  string
		allow   string
		vary    string
	}{
		{"off", nil, own, "", ""},
		{"any, no origin", []string{"*"}, "", "*", ""},
		{"any", []string{"*"}, own, own, "Origin"},
		{"one, no origin", []string{own}, "", own, ""},
		{"one, that", []string{own}, own, own, "Origin"},
		{"one, other scheme", []string{own}, "http://app.example", "", "Origin"},
		{"one, longer", []string{own}, own + ".evil.com", "", "Origin"},
		{"list, first", []string{own, " " + other}, own, own, "Origin"},
		{"list, second", []string{own, " " + other}, other, other, "Origin"},
		{"list, none", []string{own, other}, "https://x.example", "", "Origin"},
		{"list, no origin", []string{own, other}, "", "", "Origin"},
		{"no pattern", []string{".*"}, own, "", "Origin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSetup(func(o *Options) { o.CORSOrigins = tt.origins })
			for _, path := range []string{"/ping", "/nope"} {
				w := s.do("GET", path, "", "Origin", tt.origin)
				if got := w.Header().Get("Access-Control-Allow-Origin"); got != tt.allow {
					t.Errorf("%s: allowed %q, want %q", path, got, tt.allow)
				}
				if got := w.Header().Get("Vary"); got != tt.vary {
					t.Errorf("%s: Vary %q, want %q", path, got, tt.vary)
				}
				if w.Header().Get("Access-Control-Allow-Credentials") != "" {
					t.Error("credentials are allowed")
				}
			}
			w := s.do("OPTIONS", "/task", "", "Origin", tt.origin,
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "x-b, content-type,Authorization")
			wantStatus(t, w, 200)
			methods, headers := "", ""
			if tt.allow != "" {
				methods, headers = "DELETE, GET, HEAD, OPTIONS, POST", "Authorization, content-type, x-b"
			}
			if got := w.Header().Get("Access-Control-Allow-Methods"); got != methods {
				t.Errorf("preflight methods: got %q, want %q", got, methods)
			}
			if got := w.Header().Get("Access-Control-Allow-Headers"); got != headers {
				t.Errorf("preflight headers: got %q, want %q", got, headers)
			}
		})
	}
}

func TestToken(t *testing.T) {
	s := newSetup()
	for _, tt := range []struct {
		body, field string
		status      int
		message     string
	}{
		{``, "user", 400, "Input payload validation failed"},
		{`[]`, "user", 400, "Input payload validation failed"},
		{`{"password":"p"}`, "user", 400, "Input payload validation failed"},
		{`{"user":"u"}`, "password", 400, "Input payload validation failed"},
		{`{"user":"testuser","password":"testpass"}`, "", 401, "Your credentials are invalid."},
		{`{"user":null,"password":5}`, "", 401, "Your credentials are invalid."},
	} {
		for _, method := range []string{"GET", "POST"} {
			w := s.do(method, "/token", tt.body)
			wantStatus(t, w, tt.status)
			a := decode(t, w)
			if a.Message != tt.message {
				t.Errorf("%s %s: message %q, want %q", method, tt.body, a.Message, tt.message)
			}
			if tt.field != "" && !strings.HasPrefix(a.fields(t)[tt.field], "You need to inform "+tt.field+" Missing required parameter in the JSON body") {
				t.Errorf("%s %s: errors %s", method, tt.body, a.Errors)
			}
		}
	}
	for token, message := range map[string]string{
		"":         "This endpoint requires the 'Authentication: Bearer JWT_token' header.",
		"Bearer":   "This token is invalid",
		"Bearer x": "This token is invalid",
	} {
		w := s.do("GET", "/protected", "", "Authorization", token)
		wantStatus(t, w, 401)
		if a := decode(t, w); a.Message != message || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("token %q: %q", token, a.Message)
		}
	}
}

// TestRequestID: what is refused has an id, in the body and in a header, and in the log where something broke: the client's own
// if it gave one.
func TestRequestID(t *testing.T) {
	var log bytes.Buffer
	s := newSetup(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	s.tasks.task = func(_ context.Context, id string) (*fsm.Task, error) {
		switch id {
		case "broken":
			return nil, errors.New("inner matters")
		case "panics":
			panic("outer matters")
		}
		return nil, fsm.ErrNotFound
	}
	seen := map[string]bool{}
	for _, path := range []string{"/task/none", "/task/broken", "/task/panics", "/nothing", "/task/none?wait=x"} {
		for _, given := range []string{"", "my-id:1", "not one\x01", strings.Repeat("x", 65)} {
			w := s.do("GET", path, "", "X-Request-Id", given)
			var body struct {
				ID string `json:"request_id"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.ID == "" || body.ID != w.Header().Get("X-Request-Id") {
				t.Fatalf("%s: got %s with the header %q, %v", path, w.Body, w.Header().Get("X-Request-Id"), err)
			}
			if own := given == "my-id:1"; own != (body.ID == given) || !own && seen[body.ID] {
				t.Errorf("%s with the id %q: got %q", path, given, body.ID)
			}
			seen[body.ID] = true
			if logged := strings.Contains(log.String(), "request="+body.ID); logged != (w.Code == 500) {
				t.Errorf("%s: %d, logged with its id: %t", path, w.Code, logged)
			}
			log.Reset()
		}
	}
}
