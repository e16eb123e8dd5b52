package httpapi

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pytasks/fsm"
)

// discard is the cheapest ResponseWriter, so that the handler alone is measured.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

func benchmark(b *testing.B, s *setup, method, target, body string) {
	b.ReportAllocs()
	w := &discard{http.Header{}}
	reader := strings.NewReader(body)
	r, _ := http.NewRequest(method, target, nil)
	r.Header.Set("Content-Type", "application/json")
	r.Body = io.NopCloser(reader)
	r.ContentLength = int64(len(body))
	for b.Loop() {
		reader.Reset(body)
		clear(w.header)
		s.raw.ServeHTTP(w, r)
	}
}

func benchSetup() *setup {
	s := newSetup()
	s.tasks.submit = func(_ context.Context, sub *fsm.Submit) (*fsm.Outcome, error) {
		return &fsm.Outcome{Ids: idsOf(sub.Tasks), Status: fsm.Status_PENDING}, nil
	}
	return s
}

func BenchmarkSubmit(b *testing.B) {
	benchmark(b, benchSetup(), "POST", "/task", `{"type":"test.main.add","args":{"x":1,"y":2}}`)
}

// BenchmarkParse is the part of BenchmarkSubmit that looks at the body.
func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	a := &api{Options: Options{MaxArgs: 64 << 20, Catalog: newCatalog()}}
	c := &call{api: a, who: AnonymousRead.principal(), r: &http.Request{Header: http.Header{"Content-Type": {"application/json"}}}}
	body := []byte(`{"type":"test.main.add","args":{"x":1,"y":2},"priority":5,"tags":["a"]}`)
	for b.Loop() {
		var f fields
		if err := c.scan(body, func(s *scanner, key []byte) { f.set(key, s.value()) }); err != nil {
			b.Fatal(err)
		}
		if p := c.check(&f, new(fsm.New)); p != nil {
			b.Fatal(p)
		}
	}
}

func BenchmarkBatch100(b *testing.B) {
	benchmark(b, benchSetup(), "POST", "/tasks/batch", batchOf(100, `{"type":"test.main.add","args":{"x":1,"y":2}}`))
}

func BenchmarkGet(b *testing.B) {
	s := benchSetup()
	key := fsm.NewKey(time.Now())
	s.tasks.tasks[key.String()] = &fsm.Task{
		Key: key[:], Type: "test.main.add", Args: []byte(`{"x":1,"y":2}`), Status: fsm.Status_SUCCESS, Result: []byte("3"),
		Attempt: 1, Place: &fsm.Place{Node: 1}, CreatedMs: created, StartedMs: created, FinishedMs: created,
	}
	benchmark(b, s, "GET", "/task/"+key.String(), "")
}
