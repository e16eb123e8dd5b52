package httpapi

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"pytasks/fsm"
)

func TestOptions(t *testing.T) {
	retry := func(attempts uint32, initial int64, factor float64, most int64, jitter float64) *fsm.Retry {
		return &fsm.Retry{MaxAttempts: attempts, InitialMs: initial, Factor: factor, MaxMs: most, Jitter: jitter}
	}
	for _, tt := range []struct {
		options string
		want    *fsm.New
	}{
		{`"priority":null,"delay":null,"eta":null,"timeout":null,"retry":null,"id":null,"tags":null,"where":null`, &fsm.New{}},
		{`"priority":9`, &fsm.New{Priority: 9}},
		{`"delay":1.5`, &fsm.New{DelayMs: 1500}},
		{`"delay":"1m30s"`, &fsm.New{DelayMs: 90_000}},
		{`"delay":"2"`, &fsm.New{DelayMs: 2000}},
		{`"delay":0`, &fsm.New{}},
		{`"delay":1e3`, &fsm.New{DelayMs: 1_000_000}},
		{`"delay":"87600h"`, &fsm.New{DelayMs: 87_600 * 3_600_000}},
		{`"eta":"2030-01-02T03:04:05.678+01:00"`, &fsm.New{EtaMs: 1_893_549_845_678}},
		{`"eta":1893549845.678`, &fsm.New{EtaMs: 1_893_549_845_678}},
		{`"eta":0`, &fsm.New{EtaMs: 1}},
		{`"timeout":0.001`, &fsm.New{TimeoutMs: 1}},
		{`"timeout":"10ms"`, &fsm.New{TimeoutMs: 10}},
		{`"retry":{}`, &fsm.New{Retry: retry(3, 1000, 2, 300_000, 0.2)}},
		{`"retry":{"max_attempts":100,"initial":0.5,"factor":1,"max":"1s","jitter":0}`, &fsm.New{Retry: retry(100, 500, 1, 1000, 0)}},
		{`"retry":{"initial":"10m"}`, &fsm.New{Retry: retry(3, 600_000, 2, 600_000, 0.2)}},
		{`"id":"a.B_9:-"`, &fsm.New{Name: "a.B_9:-"}},
		{`"id":"` + strings.Repeat("x", 128) + `"`, &fsm.New{Name: strings.Repeat("x", 128)}},
		{`"tags":[]`, &fsm.New{}},
		{`"where":{}`, &fsm.New{}},
		{`"where":{"zone":"eu","gpu":"a100/80.G_x-"}`, &fsm.New{Where: "gpu=a100/80.G_x-,zone=eu"}},
		{`"tags":["a","\u00e9 ",  "a"]`, &fsm.New{Tags: []string{"a", "é "}}},
		{`"tags":["` + strings.Repeat("ü", 64) + `"]`, &fsm.New{Tags: []string{strings.Repeat("ü", 64)}}},
	} {
		s := newSetup()
		w := s.do("POST", "/task", `{"type":"test.main.none","args":{},`+tt.options+`}`)
		if w.Code != 200 {
			t.Errorf("%s: got %d: %s", tt.options, w.Code, w.Body)
			continue
		}
		got := s.tasks.last(t)
		if tt.want.Priority == 0 && !strings.Contains(tt.options, `"priority":0`) {
			tt.want.Priority = fsm.DefaultPriority
		}
		tt.want.Key, tt.want.Type, tt.want.Args = got.Key, "test.main.none", []byte("{}")
		if !proto.Equal(got, tt.want) {
			t.Errorf("%s:\n got %v\nwant %v", tt.options, got, tt.want)
		}
	}
}

func TestOptionsOfSpec(t *testing.T) {
	for _, tt := range []struct {
		options   string
		timeoutMs int64
		attempts  uint32
	}{
		{``, 90_000, 5},
		{`,"timeout":1`, 1000, 5},
		{`,"retry":{"initial":2}`, 90_000, 5},
		{`,"retry":{"max_attempts":1}`, 90_000, 1},
	} {
		s := newSetup()
		wantStatus(t, s.do("POST", "/task", `{"type":"test.main.hypot","args":{"x":1,"y":2}`+tt.options+`}`), 200)
		if n := s.tasks.last(t); n.TimeoutMs != tt.timeoutMs || n.Retry.GetMaxAttempts() != tt.attempts {
			t.Errorf("%q: got %v", tt.options, n)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	s := newSetup()
	for _, tt := range []struct {
		options string
		params  []string
	}{
		{`"priority":10`, []string{"priority"}},
		{`"priority":-1`, []string{"priority"}},
		{`"priority":5.0`, []string{"priority"}},
		{`"priority":"5"`, []string{"priority"}},
		{`"delay":-1`, []string{"delay"}},
		{`"delay":"soon"`, []string{"delay"}},
		{`"delay":true`, []string{"delay"}},
		{`"delay":"NaN"`, []string{"delay"}},
		{`"delay":1e400`, []string{"delay"}},
		{`"delay":315360001`, []string{"delay"}},
		{`"delay":"-1s"`, []string{"delay"}},
		{`"delay":[1]`, []string{"delay"}},
		{`"eta":"tomorrow"`, []string{"eta"}},
		{`"eta":"1969-12-31T00:00:00Z"`, []string{"eta"}},
		{`"eta":-5`, []string{"eta"}},
		{`"eta":1e18`, []string{"eta"}},
		{`"eta":1893549845,"delay":1`, []string{"eta"}},
		{`"timeout":0`, []string{"timeout"}},
		{`"timeout":0.0001`, []string{"timeout"}},
		{`"retry":3`, []string{"retry"}},
		{`"retry":{"max_attempts":0}`, []string{"retry.max_attempts"}},
		{`"retry":{"max_attempts":101,"factor":0.5,"jitter":2,"initial":-1,"max":"x"}`,
			[]string{"retry.max_attempts", "retry.factor", "retry.jitter", "retry.initial", "retry.max"}},
		{`"retry":{"attempts":3}`, []string{"retry.attempts"}},
		{`"id":""`, []string{"id"}},
		{`"id":"a/b"`, []string{"id"}},
		{`"id":"ü"`, []string{"id"}},
		{`"id":7`, []string{"id"}},
		{`"id":"` + strings.Repeat("x", 129) + `"`, []string{"id"}},
		{`"tags":"a"`, []string{"tags"}},
		{`"tags":[""]`, []string{"tags"}},
		{`"tags":[1]`, []string{"tags"}},
		{`"tags":["` + strings.Repeat("x", 65) + `"]`, []string{"tags"}},
		{`"tags":["a"` + strings.Repeat(`,"a"`, 16) + `]`, []string{"tags"}},
		{`"where":"zone=eu"`, []string{"where"}},
		{`"where":[]`, []string{"where"}},
		{`"where":{"zone":1}`, []string{"where"}},
		{`"where":{"zone":""}`, []string{"where"}},
		{`"where":{"zone":null}`, []string{"where"}},
		{`"where":{"zo ne":"eu"}`, []string{"where"}},
		{`"where":{"zone":"e,u"}`, []string{"where"}},
		{`"where":{"zone":"` + strings.Repeat("x", 64) + `"}`, []string{"where"}},
		{`"where":{"a":"1","b":"1","c":"1","d":"1","e":"1","f":"1","g":"1","h":"1","i":"1"}`, []string{"where"}},
		{`"priority":99,"timeout":0,"id":"` + strings.Repeat("ü", 500) + `"`, []string{"priority", "timeout", "id"}},
	} {
		w := s.do("POST", "/task", `{"type":"test.main.none","args":{},`+tt.options+`}`)
		if w.Code != 422 {
			t.Errorf("%s: got %d, want 422: %s", tt.options, w.Code, w.Body)
			continue
		}
		a := decode(t, w)
		var params []string
		for _, f := range a.faults(t) {
			params = append(params, f.Param)
			if f.Message == "" || f.Want == "" || f.Got == "" || len(f.Got) > 100 {
				t.Errorf("%s: fault %+v", tt.options, f)
			}
		}
		if !slices.Equal(params, tt.params) {
			t.Errorf("%s: faults of %q, want %q", tt.options, params, tt.params)
		}
		if a.Message != a.faults(t)[0].Message {
			t.Errorf("%s: message %q is not the first fault's", tt.options, a.Message)
		}
	}
	if len(s.tasks.submits) > 0 {
		t.Errorf("%d refused tasks were submitted", len(s.tasks.submits))
	}
}
