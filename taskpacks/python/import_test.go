package python

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pytasks/taskpacks"
)

// What cannot be imported is told as Python tells it, from the pack's first line on.
func TestImportErrors(t *testing.T) {
	o := options(t, "")
	base, err := findInterpreter(t.Context(), o.Python, o.Envs)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, main              string
		typ, message, traceback string
	}{
		{"syntax", "def f(:\n", "SyntaxError", "invalid syntax", `main.py", line 1`},
		{"missing", "import math\nimport no_such_module\n", "ModuleNotFoundError", "No module named 'no_such_module'", `main.py", line 2`},
		{"own module", "from . import nothing\n", "ImportError", "cannot import name 'nothing'", `main.py", line 1`},
		{"no tasks", "def f(): pass\n", "PackError", "the pack has no tasks: put functions under @task", ""},
		{"old init", "def init(celery_app): pass\n", "TypeError", "init() got an unexpected keyword argument 'authorized_task'", ""},
		{"failing init", "def init(celery_app, **_):\n 1/0\n", "ZeroDivisionError", "division by zero", `main.py", line 2, in init`},
		{"exit", "import sys\nsys.exit(3)\n", "SystemExit", "the pack's import called sys.exit(3)", `main.py", line 2`},
		{"end", "import os, sys\nprint('last words', file=sys.stderr)\nos._exit(4)\n", "ProcessEnded", "with status 4", "last words"},
		{"star", "from pytasks import task\n@task\ndef f(*args): pass\n", "PackError", "task star.main.f: *args: name every param, a task takes no *args and no **kwargs", ""},
		{"only", "from pytasks import task\n@task\ndef f(x, /): pass\n", "PackError", "param x is positional only", ""},
		{"type", "from pytasks import task\n@task\ndef f(x: list[bytes]): pass\n", "PackError", "param x: a value of type bytes cannot come as JSON: use int, ", ""},
		{"keys", "from pytasks import task\n@task\ndef f(x: dict[int, str]): pass\n", "PackError", "the keys of JSON objects are texts", ""},
		{"field", "from pytasks import task\nimport dataclasses\n@dataclasses.dataclass\nclass C:\n x: set[complex]\n@task\ndef f(c: C): pass\n",
			"PackError", "param c: C.x: a value of type complex cannot come as JSON", ""},
		{"yield", "from pytasks import task\n@task\ndef f(): yield 1\n", "PackError", "it is a generator: return a list instead", ""},
		{"twice", "from pytasks import task\n@task\ndef f(): pass\n@task\ndef f(): pass\n", "PackError", "two tasks are named twice.main.f", "main.py\", line 4"},
		{"class", "from pytasks import task\n@task\nclass C: pass\n", "TypeError", "@task is for functions", `main.py", line 2`},
		{"method", "from pytasks import task\nclass C:\n @task\n def f(self): pass\n", "TypeError", "not for the method C.f", `main.py", line 3`},
		{"timeout", "from pytasks import task\n@task(timeout='30')\ndef f(): pass\n", "ValueError", `task f: timeout='30': use seconds, a timedelta or a text such as "30s"`, `main.py", line 2`},
		{"attempts", "from pytasks import task\n@task(max_attempts=0)\ndef f(): pass\n", "ValueError", "max_attempts=0: use a whole number from 1", ""},
		{"name", "from pytasks import task\n@task(name='other.pack')\ndef f(): pass\n", "ValueError", "one that begins with name.", ""},
		{"option", "from pytasks import task\n@task(retries=3)\ndef f(): pass\n", "TypeError", "unexpected keyword argument 'retries'", ""},
	}
	for _, tt := range tests {
		p := &Pack{dir: folder(t, tt.name, map[string]string{"main.py": tt.main}), host: o.Host, base: base}
		p.Name = strings.ReplaceAll(tt.name, " ", "_")
		_, _, err := p.describe(t.Context())
		var got *ImportError
		if !errors.As(err, &got) {
			t.Errorf("%s: describe = %v, want an *ImportError", tt.name, err)
			continue
		}
		if got.Type != tt.typ || !strings.Contains(got.Message, tt.message) || !strings.Contains(got.Traceback, tt.traceback) {
			t.Errorf("%s: %s: %s\n%s", tt.name, got.Type, got.Message, got.Traceback)
		}
		if strings.Contains(got.Traceback, "runner-") || strings.Contains(got.Traceback, "importlib") {
			t.Errorf("%s: the traceback shows more than the pack:\n%s", tt.name, got.Traceback)
		}
	}

	o.Dir = folder(t, "empty", map[string]string{"README": ""})
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "pack empty: the pack has no tasks: put") {
		t.Errorf("Open of an empty folder = %v", err)
	}
	o.Dir = folder(t, "crash", map[string]string{"main.py": "import os\nos.abort()\n"})
	var crash *taskpacks.Error
	if _, err := Open(t.Context(), o); !errors.As(err, &crash) || crash.Reason != taskpacks.ReasonCrash {
		t.Errorf("Open of a pack that aborts = %v, want a crash", err)
	}
	o.Dir = filepath.Join(o.Dir, "nothing")
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("Open of no folder = %v", err)
	}
}

// TestImportLies: a pack that speaks to the node in the runner's place cannot make it read signatures that it would stumble over.
func TestImportLies(t *testing.T) {
	for specs, want := range map[string]string{
		`[{"name": "lies.main.f", "params": [{"name": "x", "type": {"kind": "optional"}}]}]`: "func lies.main.f: param x: an optional type needs",
		`[{"name": "lies.main.f", "params": [{"name": "x", "type": {"kind": "number"}}]}]`:   `the kind "number" of types is not known`,
	} {
		_, err := Open(t.Context(), options(t, folder(t, "lies", map[string]string{"main.py": `
import os

text = b'{"specs": ` + specs + `}'
for fd in range(100, 110):
    try:
        os.write(fd, len(text).to_bytes(4, "big") + text)
    except OSError:
        pass
os._exit(0)
`})))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: Open = %v, want %s", specs, err, want)
		}
	}
}

// cancelWriter cancels when something is printed.
type cancelWriter func()

func (c cancelWriter) Write(p []byte) (int, error) { c(); return len(p), nil }

func TestImportHangs(t *testing.T) {
	o := options(t, folder(t, "hangs", map[string]string{"main.py": "import time\nprint('here')\ntime.sleep(60)\n"}))
	ctx, cancel := context.WithCancel(t.Context())
	ctx = taskpacks.WithCall(ctx, taskpacks.Call{Log: cancelWriter(cancel)})
	if _, err := Open(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("Open of a pack that hangs = %v, want context.Canceled", err)
	}
}

func TestLeftOut(t *testing.T) {
	o := options(t, folder(t, "edge", map[string]string{"main.py": `
def init(celery_app, **_):
    @celery_app.task(name="somewhere.else")
    def named(): pass

    @celery_app.task
    def only(x, /): pass

    @celery_app.task
    def twice(): return 1

    @celery_app.task(name="tasks.packs.edge.main.twice")
    def again(): return 2

    celery_app.task(twice, name="tasks.packs.edge.direct")
`}))
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	p, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	compareSpecs(t, p, []string{`{"name":"edge.main.twice","params":[]}`, `{"name":"edge.direct","params":[]}`})
	for _, want := range []string{
		"task somewhere.else is left out: its name does not begin with tasks.packs.edge.",
		"task edge.main.only is left out: param x is positional only",
		"task tasks.packs.edge.main.twice is defined twice: the first counts",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
}

func TestNotEligible(t *testing.T) {
	o := options(t, "testdata/inpackage")
	for _, script := range []string{"", "#!/bin/sh\necho 'Python 3.7 is too old' >&2\nexit 1\n", "#!/bin/sh\necho hello\n"} {
		o.Python = filepath.Join(t.TempDir(), "python3")
		if script != "" {
			if err := os.WriteFile(o.Python, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(t.Context(), o); !errors.Is(err, taskpacks.ErrNotEligible) {
			t.Errorf("Open with the interpreter %q = %v, want ErrNotEligible", script, err)
		}
	}
}

func TestOptions(t *testing.T) {
	needPython(t)
	if _, err := Open(t.Context(), Options{}); err == nil {
		t.Error("Open takes empty Options")
	}
	o := options(t, "testdata/inpackage")
	o.Manifest = &taskpacks.Manifest{Name: "other", Version: "1.2"}
	p, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "other" || p.Version != "1.2" || p.Funcs[0].Name != "other.double" {
		t.Errorf("pack %s %s with %s; the manifest says other 1.2", p.Name, p.Version, p.Funcs[0].Name)
	}
	if err := p.Test(t.Context(), io.Discard); err != nil {
		t.Errorf("Test of a pack without tests: %v", err)
	}
}
