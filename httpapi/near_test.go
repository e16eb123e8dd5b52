package httpapi

import (
	"fmt"
	"strings"
	"testing"
)

func TestNear(t *testing.T) {
	for name, want := range map[string]string{
		"prioritty": "priority", "Priority": "priority", "priorty": "priority", "pirority": "priority", "timeuot": "timeout", "time_out": "timeout",
		"dealy": "delay", "retyr": "retry", "retries": "", "tag": "tags", "tgas": "tags", "arg": "args", "argss": "args", "tpye": "type",
		// These mean something of their own.
		"meta": "", "data": "", "date": "", "time": "", "tape": "", "tabs": "", "entry": "", "name": "", "x": "", "": "", "eat": "", "i": "", "idd": "",
		"prio": "", "extra": "", "comment": "", "äöü": "", strings.Repeat("p", 1000): "",
	} {
		if got := near([]byte(name), names...); got != want {
			t.Errorf("%.20q: got %q, want %q", name, got, want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { near([]byte("prioxxxx"), names...) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSubmitSlip: a misspelt option is not left out in silence; what only looks like one is, as it always was.
func TestSubmitSlip(t *testing.T) {
	s := newSetup()
	const task = `"type":"test.main.none","args":{}`
	for more, want := range map[string]string{
		`,"prioritty":9`: "prioritty is not known here: did you mean priority?", `,"Timeout":9`: "did you mean timeout?",
		`,"prioritty":9,"priority":1`: "", `,"meta":{"a":1}`: "", `,"extra":1,"data":2,"note":3`: "",
		`,"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"prioritty":1`: "", // not all of any number are looked at
	} {
		w := s.do("POST", "/task", "{"+task+more+"}")
		batch := s.do("POST", "/tasks/batch", "{\"tasks\":[{"+task+"},{"+task+more+"}]}")
		if want == "" {
			wantStatus(t, w, 200)
			wantStatus(t, batch, 200)
			continue
		}
		wantStatus(t, w, 422)
		wantStatus(t, batch, 422)
		a, b := decode(t, w), decode(t, batch)
		if !strings.Contains(a.Message, want) || len(a.faults(t)) != 1 || b.faults(t)[0].Task == nil || *b.faults(t)[0].Task != 1 {
			t.Errorf("%s: got %s and %s", more, w.Body, batch.Body)
		}
	}
	for _, c := range [][3]string{
		{"/task", `{"tpye":"test.main.none","args":{}}`, "tpye is not known here: did you mean type?"},
		{"/task", `{"type":"test.main.none","arg":{}}`, "arg is not known here: did you mean args?"},
		{"/tasks/batch", `{"task":[]}`, "task is not known here: did you mean tasks?"},
		{"/token", `{"User":"ann","password":"x"}`, "User is not known here: did you mean user?"},
		{"/token", `{"user":"ann","pasword":"x"}`, "pasword is not known here: did you mean password?"},
	} {
		w := s.do("POST", c[0], c[1])
		wantStatus(t, w, 400)
		if a := decode(t, w); a.Detail != c[2] || !strings.Contains(fmt.Sprint(a.fields(t)), "Missing required parameter") {
			t.Errorf("%s: got %s, want the detail %q", c[1], w.Body, c[2])
		}
	}
}
