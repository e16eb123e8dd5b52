package httpapi

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"pytasks/fsm"
)

const (
	typeMissing = "You need to inform type Missing required parameter in the JSON body"
	argsMissing = "You need to inform args dict Missing required parameter in the JSON body"
)

// TestLargeBodiesWait: large bodies wait for one another, for a time; small ones pass.
func TestLargeBodiesWait(t *testing.T) {
	const size = 600 << 10
	s := newSetup(func(o *Options) { o.MaxBody, o.MaxLargeBodies, o.WriteTimeout = 1<<20, 1<<20, 50*time.Millisecond })
	entered, leave, result := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.tasks.submit = func(_ context.Context, b *fsm.Submit) (*fsm.Outcome, error) {
		if len(b.Tasks[0].Args) > 1000 {
			entered <- struct{}{}
			<-leave
		}
		return &fsm.Outcome{Ids: idsOf(b.Tasks), Status: fsm.Status_PENDING}, nil
	}
	s.tasks.wait = func(context.Context, string) (*fsm.Task, error) {
		<-result
		return nil, fsm.ErrUnknown
	}
	large := `{"type":"test.main.echo","args":{"value":"` + strings.Repeat("x", size) + `"}}`
	post := func(path, body string) <-chan int {
		answered := make(chan int, 1)
		go func() { answered <- s.do("POST", path, body).Code }()
		return answered
	}
	first := post("/task?wait=2m", large)
	<-entered
	w := s.do("POST", "/task", large)
	wantStatus(t, w, 503)
	if a := decode(t, w); a.Code != "busy" || w.Header().Get("Retry-After") == "" {
		t.Errorf("a second large body: got %+v, Retry-After %q, want busy", a, w.Header().Get("Retry-After"))
	}
	wantStatus(t, s.do("POST", "/task", `{"type":"test.main.none","args":{}}`), 200)

	leave <- struct{}{} // it is queued, and only its result is waited for
	third := post("/task", large)
	<-entered
	leave <- struct{}{}
	if got := <-third; got != 200 {
		t.Errorf("a large body after the first is queued: got %d, want 200", got)
	}
	select {
	case got := <-first:
		t.Errorf("the first was answered %d, want it to wait for its result", got)
	default:
	}
	for _, body := range []string{large[:len(large)-1], large[:len(large)-2] + ",}"} { // what is refused gives its room back
		wantStatus(t, s.do("POST", "/task", body), 400)
	}
	last := post("/task", large)
	<-entered
	leave <- struct{}{}
	if got := <-last; got != 200 {
		t.Errorf("a large body after refused ones: got %d, want 200", got)
	}
	close(result)
	if got := <-first; got != 202 {
		t.Errorf("the first: got %d, want 202", got)
	}
}

// What is a 400 of the contract, in its order.
func TestSubmitBadBody(t *testing.T) {
	s := newSetup()
	for _, tt := range []struct {
		name, body, field, text string
	}{
		{"empty", "", "type", typeMissing},
		{"null", "null", "type", typeMissing},
		{"list", "[]", "type", typeMissing},
		{"list with the text type", `["type"]`, "type", typeMissing},
		{"number", "5", "type", typeMissing},
		{"text", `"type"`, "type", typeMissing},
		{"true", "true", "type", typeMissing},
		{"no JSON", "{", "type", typeMissing},
		{"trailing comma", `{"type":"test.main.none","args":{},}`, "type", typeMissing},
		{"something after it", `{"type":"test.main.none","args":{}} x`, "type", typeMissing},
		{"single quotes", `{'type':'test.main.none'}`, "type", typeMissing},
		{"bad UTF-8", "{\"type\":\"test.main.none\xff\",\"args\":{}}", "type", typeMissing},
		{"NaN", `{"type":"test.main.hypot","args":{"x":NaN,"y":1}}`, "type", typeMissing},
		{"Infinity", `{"type":"test.main.hypot","args":{"x":-Infinity,"y":1}}`, "type", typeMissing},
		{"type absent", `{"args":{}}`, "type", typeMissing},
		{"type and args absent", `{}`, "type", typeMissing},
		{"type no text", `{"type":5,"args":{}}`, "type", `You need to inform type as a text, such as "test.main.add": got 'int'`},
		{"args absent", `{"type":"test.main.add"}`, "args", argsMissing},
		{"args absent of an unknown type", `{"type":"nope"}`, "args", argsMissing},
		{"args null", `{"type":"test.main.add","args":null}`, "args", "You need to inform args dict 'NoneType' object is not iterable"},
		{"args int", `{"type":"nope","args":5}`, "args", "You need to inform args dict 'int' object is not iterable"},
		{"args float", `{"type":"nope","args":5e1}`, "args", "You need to inform args dict 'float' object is not iterable"},
		{"args bool", `{"type":"nope","args":true}`, "args", "You need to inform args dict 'bool' object is not iterable"},
		{"args pairs", `{"type":"nope","args":[["x",1],["y",2]]}`, "args", "You need to inform args dict 'list' object is not a dict"},
		{"args text", `{"type":"nope","args":""}`, "args", "You need to inform args dict 'str' object is not a dict"},
		{
			"nested", `{"type":"test.main.echo","args":{"value":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`,
			"args", "You need to inform args dict nested at most 100 levels deep",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := s.do("POST", "/task", tt.body, "Content-Type", "application/json")
			wantStatus(t, w, 400)
			a := decode(t, w)
			if a.Message != "Input payload validation failed" {
				t.Errorf("message: got %q", a.Message)
			}
			if got := a.fields(t); len(got) != 1 || got[tt.field] != tt.text {
				t.Errorf("errors: got %v, want %s: %s", got, tt.field, tt.text)
			}
		})
	}
	if len(s.tasks.submits) > 0 {
		t.Errorf("%d refused tasks were submitted", len(s.tasks.submits))
	}
}

func TestSubmitNesting(t *testing.T) {
	s := newSetup()
	nest := func(n int) string { // args are one level themselves
		return `{"type":"test.main.echo","args":{"value":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}}`
	}
	wantStatus(t, s.do("POST", "/task", nest(100)), 200)
	wantStatus(t, s.do("POST", "/task", nest(101)), 400)
}

func TestSubmitContentType(t *testing.T) {
	s := newSetup()
	for _, tt := range []struct {
		header string
		want   int
	}{
		{"application/json", 200},
		{"Application/JSON; charset=utf-8", 200},
		{"application/vnd.task+json", 200},
		{"application/json; =broken", 200},
		{"", 400},
		{"text/plain", 400},
		{"application/x-www-form-urlencoded", 400},
		{"text/json", 400},
		{"application/jsonp", 400},
	} {
		w := s.do("POST", "/task", `{"type":"test.main.none","args":{}}`, "Content-Type", tt.header)
		if w.Code != tt.want {
			t.Errorf("%q: got %d, want %d: %s", tt.header, w.Code, tt.want, w.Body)
			continue
		}
		if tt.want == 400 {
			a := decode(t, w)
			text := a.fields(t)["type"]
			if !strings.HasPrefix(text, typeMissing) || !strings.Contains(text, "Content-Type") || !strings.Contains(a.Detail, "application/json") {
				t.Errorf("%q: %q does not give the content type as the reason", tt.header, text)
			}
		}
	}
}

func TestSubmitEncodings(t *testing.T) {
	const body = `{"type":"test.main.echo","args":{"value":"ü€😀"}}`
	utf16Body := func(low, high int) string {
		var b bytes.Buffer
		for _, u := range utf16.Encode([]rune(body)) {
			pair := [2]byte{}
			pair[low], pair[high] = byte(u), byte(u>>8)
			b.Write(pair[:])
		}
		return b.String()
	}
	for name, sent := range map[string]string{
		"UTF-8":             body,
		"UTF-8 with a mark": "\xEF\xBB\xBF" + body,
		"UTF-16LE":          utf16Body(0, 1),
		"UTF-16BE":          utf16Body(1, 0),
		"UTF-16LE marked":   "\xFF\xFE" + utf16Body(0, 1),
		"UTF-16BE marked":   "\xFE\xFF" + utf16Body(1, 0),
	} {
		s := newSetup()
		wantStatus(t, s.do("POST", "/task", sent), 200)
		if got, want := string(s.tasks.last(t).Args), `{"value":"ü€😀"}`; got != want {
			t.Errorf("%s: args %q, want %q", name, got, want)
		}
	}
	s := newSetup()
	for name, sent := range map[string]string{
		"odd length":     "\xFF\xFE{\x00}",
		"half a pair":    "\xFF\xFE{\x00\"\x00\x00\xd8",
		"lone surrogate": "\xFF\xFE{\x00\"\x00\x00\xd8\"\x00",
	} {
		if w := s.do("POST", "/task", sent); w.Code != 400 {
			t.Errorf("%s: got %d, want 400", name, w.Code)
		}
	}
}

func TestSubmitLimits(t *testing.T) {
	s := newSetup(func(o *Options) { o.MaxBody, o.MaxArgs = 200, 100 })
	task := func(n int) string { // args of n bytes
		return `{"type":"test.main.echo","args":{"value":"` + strings.Repeat("x", n-len(`{"value":""}`)) + `"}}`
	}
	wantStatus(t, s.do("POST", "/task", task(100)), 200)

	w := s.do("POST", "/task", task(101))
	wantStatus(t, w, 413)
	if a := decode(t, w); !strings.Contains(a.Message, "the limit is 100") {
		t.Errorf("message %q does not name the limit", a.Message)
	}
	wantStatus(t, s.do("POST", "/task", task(100)+strings.Repeat(" ", 200-len(task(100)))), 200)
	for _, known := range []bool{true, false} {
		r, _ := http.NewRequest("POST", "/task", strings.NewReader(strings.Repeat(" ", 201)))
		r.Header.Set("Content-Type", "application/json")
		if !known {
			r.ContentLength = -1 // as with a chunked body
		}
		w := serve(s, r)
		wantStatus(t, w, 413)
		if a := decode(t, w); !strings.Contains(a.Message, "200 bytes") {
			t.Errorf("message %q does not name the limit", a.Message)
		}
	}
}

func TestSubmitChunked(t *testing.T) {
	s := newSetup()
	value := strings.Repeat("x", 100_000) // the buffer has to grow
	r, _ := http.NewRequest("POST", "/task", strings.NewReader(`{"type":"test.main.echo","args":{"value":"`+value+`"}}`))
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = -1
	wantStatus(t, serve(s, r), 200)
	if got := string(s.tasks.last(t).Args); got != `{"value":"`+value+`"}` {
		t.Errorf("args of %d bytes differ", len(got))
	}
}
