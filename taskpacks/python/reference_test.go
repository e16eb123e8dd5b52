package python

import (
	"encoding/json"
	"strings"
	"testing"

	"pytasks/taskpacks"
)

func TestReferencePack(t *testing.T) {
	p := mustOpen(t, "testdata/reference")

	t.Run("specs", func(t *testing.T) {
		want := []string{
			`{"name":"reference.main.add","params":[{"name":"x","type":{"kind":"int"},"required":true},` +
				`{"name":"y","type":{"kind":"int"},"required":true}],"doc":"Adds two numbers."}`,
			`{"name":"reference.main.hypot","params":[{"name":"x","type":{"kind":"float"},"required":true},` +
				`{"name":"y","type":{"kind":"float"},"required":true}]}`,
			`{"name":"reference.main.absolute","params":[{"name":"x","type":{"kind":"float"},"required":true},` +
				`{"name":"y","type":{"kind":"float"},"required":true}]}`,
			`{"name":"reference.main.secret","params":[{"name":"x","type":{"kind":"int"},"required":true}],"protected":true}`,
			`{"name":"reference.main.upside_down","params":[],"protected":true}`,
			`{"name":"reference.renamed","params":[]}`,
			`{"name":"reference.main.bare","params":[{"name":"x","type":{"kind":"any"},"required":true},` +
				`{"name":"y","type":{"kind":"any"},"default":2},{"name":"scale","type":{"kind":"int","text":"int"},"default":1}]}`,
			`{"name":"reference.main.strange","params":[{"name":"x","type":{"kind":"any","text":"\u003cclass 'bytes'\u003e"},"required":true},` +
				`{"name":"y","type":{"kind":"any","text":"no such thing"},"default":null}]}`,
			`{"name":"reference.main.bound","params":[{"name":"x","type":{"kind":"int"},"required":true}],"max_attempts":3}`,
			`{"name":"reference.main.again","params":[],"max_attempts":3}`,
			`{"name":"reference.main.fails","params":[]}`,
			`{"name":"reference.main.leaves","params":[{"name":"code","type":{"kind":"int"},"required":true}]}`,
			`{"name":"reference.main.forgotten","params":[]}`,
			`{"name":"reference.main.yields","params":[]}`,
		}
		compareSpecs(t, p, want)
	})

	results := []struct{ name, args, want string }{
		{"add", `{"x":1,"y":2}`, `3`},
		{"add", `{"x":1` + strings.Repeat("0", 6000) + `,"y":2}`, `1` + strings.Repeat("0", 5999) + `2`},
		{"hypot", `{"x":3,"y":4.0}`, `5.0`},
		{"absolute", `{"x":3,"y":4.0}`, `5.0`},
		{"secret", `{"x":7}`, `7`},
		{"upside_down", `{}`, `null`},
		{"reference.renamed", ``, `"renamed"`},
		{"bare", `{"x":{"a":[1,1.0,null]}}`, `[{"a":[1,1.0,null]},2,1]`},
		{"strange", `{"x":1}`, `[1,null]`},
		{"bound", `{"x":2}`, `["tasks.packs.reference.main.bound","id","node",1,3]`},
		{"forgotten", `{}`, `null`},
	}
	for _, tt := range results {
		got := run(t.Context(), t, p, tt.name, tt.args, nil)
		if got.err != nil || got.result != tt.want {
			t.Errorf("%s(%.40s) = %.80s, %v; want %.80s", tt.name, tt.args, got.result, got.err, tt.want)
		}
		if want := []string{"0.5 half", "0 only text"}; tt.name == "bound" && strings.Join(got.progress, "|") != strings.Join(want, "|") {
			t.Errorf("progress of %s = %q, want %q", tt.name, got.progress, want)
		}
	}

	failures := []struct {
		name, args, typ, message string
		permanent                bool
	}{
		{"fails", `{}`, "ZeroDivisionError", "division by zero", true},
		{"leaves", `{"code":0}`, "SystemExit", "the task called sys.exit(0)", true},
		{"leaves", `{"code":3}`, "SystemExit", "the task called sys.exit(3)", true},
		{"again", `{}`, "Retry", "no line", false},
		{"yields", `{}`, "ResultError", "the result cannot be written as JSON: result is a generator: return a list", true},
	}
	for _, tt := range failures {
		got := run(t.Context(), t, p, tt.name, tt.args, nil)
		err := got.failure(t)
		if err.Type != tt.typ || err.Message != tt.message || taskpacks.IsPermanent(got.err) != tt.permanent {
			t.Errorf("%s(%s): %s: %s, permanent %v; want %s: %s, %v",
				tt.name, tt.args, err.Type, err.Message, taskpacks.IsPermanent(got.err), tt.typ, tt.message, tt.permanent)
		}
		if strings.Contains(err.Traceback, "runner") {
			t.Errorf("%s: the traceback shows the runner:\n%s", tt.name, err.Traceback)
		}
	}

	got := run(t.Context(), t, p, "add", `{"x":1.0,"z":2}`, nil)
	if want := "the passed param x doesnt match the required type: <class 'int'>."; got.err == nil || got.err.Error() != want ||
		!taskpacks.IsPermanent(got.err) {
		t.Errorf("a float for an int: %v, want %s", got.err, want)
	}
}

func TestReferenceInitInPackage(t *testing.T) {
	p := mustOpen(t, "testdata/inpackage")
	compareSpecs(t, p, []string{
		`{"name":"inpackage.double","params":[{"name":"x","type":{"kind":"int"},"required":true}],"protected":true}`,
	})
	if got := run(t.Context(), t, p, "inpackage.double", `{"x":21}`, nil); got.result != "42" {
		t.Errorf("double(21) = %s, %v", got.result, got.err)
	}
}

// The last attempt of a task that is tried again by self.retry ends with its own exception.
func TestReferenceRetryEnds(t *testing.T) {
	p := mustOpen(t, folder(t, "edge", map[string]string{"main.py": `
def init(celery_app, **_):
    @celery_app.task(bind=True, max_retries=1)
    def again(self):
        self.retry(exc=OSError("no line"))

    @celery_app.task(bind=True)
    def limited(self):
        self.retry(max_retries=1)

    @celery_app.task(bind=True, max_retries=None)
    def endless(self):
        self.retry()
`}))
	attempts := map[string]int{"edge.main.again": 2, "edge.main.limited": 4, "edge.main.endless": 100} // untold, Celery retries three times
	for _, f := range p.Funcs {
		if f.MaxAttempts != attempts[f.Name] {
			t.Errorf("%s: %d attempts, want %d", f.Name, f.MaxAttempts, attempts[f.Name])
		}
	}
	for name, want := range map[string]string{"again": "OSError", "limited": "RuntimeError"} {
		got := run(t.Context(), t, p, name, `{}`, nil)
		if err := got.failure(t); err.Type != want || !taskpacks.IsPermanent(got.err) {
			t.Errorf("%s, attempt 2: %s, permanent %v; want a permanent %s", name, err.Type, taskpacks.IsPermanent(got.err), want)
		}
	}
}

func compareSpecs(t *testing.T, p *Pack, want []string) {
	t.Helper()
	for i := range max(len(p.Funcs), len(want)) {
		got, wanted := "", ""
		if i < len(p.Funcs) {
			text, err := json.Marshal(p.Funcs[i].Spec)
			if err != nil {
				t.Fatal(err)
			}
			got = string(text)
		}
		if i < len(want) {
			wanted = want[i]
		}
		if got != wanted {
			t.Errorf("spec %d\n got %s\nwant %s", i, got, wanted)
		}
	}
}
