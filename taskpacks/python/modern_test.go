package python

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pytasks/taskpacks"
)

func TestModernPack(t *testing.T) {
	p := mustOpen(t, "testdata/modern")
	t.Run("log", func(t *testing.T) { testLog(t, p) }) // first: it sees what the import prints
	t.Run("specs", func(t *testing.T) { testModernSpecs(t, p) })
	t.Run("results", func(t *testing.T) { testModernResults(t, p) })
	t.Run("failures", func(t *testing.T) { testModernFailures(t, p) })
	t.Run("folders", func(t *testing.T) { testFolders(t, p) })
	t.Run("thread", func(t *testing.T) { testThread(t, p) })
	t.Run("broken", func(t *testing.T) { testBroken(t, p) })
	t.Run("stop", func(t *testing.T) { testStop(t, p) })
	t.Run("tests", func(t *testing.T) { testPackTests(t, p) })
	t.Run("close", func(t *testing.T) { testClose(t, p) })
}

func testModernSpecs(t *testing.T, p *Pack) {
	var names []string
	for i := range p.Funcs {
		names = append(names, p.Funcs[i].Name)
		f := &p.Funcs[i]
		switch f.Name {
		case "modern.main.careful":
			if f.Timeout != 90*time.Second || f.MaxAttempts != 3 || !f.Protected || f.Doc != "What it does, in two lines." {
				t.Errorf("careful: %+v", f.Spec)
			}
		case "modern.main.short":
			if f.Timeout != 1500*time.Millisecond || f.MaxAttempts != 0 || f.Protected || f.Doc != "" {
				t.Errorf("short: %+v", f.Spec)
			}
		}
	}
	if len(names) < 5 || names[len(names)-1] != "modern.extra.more" {
		t.Errorf("funcs = %v, want those of main and modern.extra.more", names)
	}
}

func testModernResults(t *testing.T, p *Pack) {
	results := []struct{ name, args, want string }{
		{"add", `{"x":1,"y":2}`, `3`},
		{"careful", `{}`, `null`},
		{"short", `{}`, `3`},
		{"modern.other.full", `{}`, `6`},
		{"wrapped", `{"x":3}`, `[3.0,3.0]`},
		{"awaited", `{"x":3}`, `3`},
		{"area", `{}`, `6`},
		{"modern.extra.more", `{}`, `"more"`},
		{"litter", `{}`, `null`},
		{"surroundings", `{}`, `[false,false,"kept",false]`},
		{"descriptors", `{}`, `[2,[],[]]`},
		{"leaves_thread", `{"again":true}`, `null`},
		{"forks", `{}`, `true`},
		{"processes", `{"way":"fork"}`, `9`},
		{"processes", `{"way":"spawn"}`, `9`},
	}
	for _, tt := range results {
		got := run(t.Context(), t, p, tt.name, tt.args, nil)
		if got.err != nil || got.result != tt.want {
			t.Errorf("%s(%s) = %s, %v; want %s", tt.name, tt.args, got.result, got.err, tt.want)
		}
		if tt.name == "forks" && got.progress != nil {
			t.Errorf("the fork of the worker told of its progress: %q", got.progress)
		}
	}
}

func testModernFailures(t *testing.T, p *Pack) {
	tests := []struct {
		how, typ, message, traceback string
		permanent                    bool
	}{
		{"permanent", "Permanent", "never again", "pytasks.Permanent: never again\n", true},
		{"retry", "Retry", "later", "raise Retry(", false},
		{"exit", "SystemExit", "the task called sys.exit()", "sys.exit()", false},
		{"text", "SystemExit", "the task called sys.exit('told so')", `sys.exit("told so")`, false},
		{"interrupt", "KeyboardInterrupt", "", "raise KeyboardInterrupt", false},
		{"deep", "RecursionError", "maximum recursion depth exceeded", "Previous line repeated", false},
		{"unprintable", "Unprintable", "(no message: its __str__ raised RuntimeError)", "raise Unprintable", false},
		{"long", "ValueError", "axxx", "zzz", false},
		{"surrogate", "ValueError", "\ufffd", "ValueError: ", false},
		{"chain", "ValueError", "second", "KeyError: 'first'\n\nThe above exception was the direct cause", false},
	}
	for _, tt := range tests {
		got := run(t.Context(), t, p, "fails", `{"how":"`+tt.how+`"}`, nil)
		err := got.failure(t)
		if tt.how == "long" {
			if !strings.HasSuffix(err.Message, "xz") || len(err.Message) > 8<<10 || len(err.Traceback) > 8<<10 {
				t.Errorf("long: a message of %d bytes and a traceback of %d, want the ends of both in 8 KiB", len(err.Message), len(err.Traceback))
			}
			tt.traceback = "\n...\n"
		}
		if err.Type != tt.typ || !strings.HasPrefix(err.Message, tt.message) || !strings.Contains(err.Traceback, tt.traceback) ||
			taskpacks.IsPermanent(got.err) != tt.permanent || err.Reason != taskpacks.ReasonError {
			t.Errorf("%s: permanent %v, %#v", tt.how, taskpacks.IsPermanent(got.err), err)
		}
		lines := strings.SplitN(err.Traceback, "\n", 3)
		if tt.how != "chain" && (lines[0] != "Traceback (most recent call last):" || !strings.HasPrefix(lines[1], `  File "modern/main.py", line `)) ||
			strings.Contains(err.Traceback, "runner") {
			t.Errorf("%s: the traceback does not begin in the pack:\n%s", tt.how, err.Traceback)
		}
	}

	for name, want := range map[string]string{"await_fails": "LookupError", "bad_progress": "ValueError"} {
		err := run(t.Context(), t, p, name, `{}`, nil).failure(t)
		first, _, _ := strings.Cut(strings.TrimPrefix(err.Traceback, "Traceback (most recent call last):\n"), "\n")
		if err.Type != want || !strings.HasPrefix(first, `  File "modern/main.py", line `) || strings.Contains(err.Traceback, "runner") {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func testLog(t *testing.T, p *Pack) {
	first := run(t.Context(), t, p, "tells", `{}`, nil)
	if want := `["id",2,"node","id","2","node"]`; first.result != want {
		t.Errorf("current call = %s, %v; want %s", first.result, first.err, want)
	}
	if want := "imported\nsaidwarned"; first.log.String() != want {
		t.Errorf("log of the first call = %q, want %q", first.log.String(), want)
	}
	if got := strings.Join(first.progress, "|"); got != "0.5 half|1 " {
		t.Errorf("progress = %q", got)
	}
	second := run(t.Context(), t, p, "tells", `{}`, nil)
	if want := "saidwarned"; second.log.String() != want {
		t.Errorf("log of the second call = %q, want %q", second.log.String(), want)
	}
}

// Each call finds its folder empty; one where something was left is not used again.
func testFolders(t *testing.T, p *Pack) {
	used := map[string]bool{}
	for _, name := range []string{"where", "leaves_file", "leaves_folder", "where"} {
		var where struct {
			Folder, Input string
			Files         []string
		}
		got := run(t.Context(), t, p, name, `{}`, nil)
		if err := json.Unmarshal([]byte(got.result), &where); err != nil {
			t.Fatalf("%s: %s, %v", name, got.result, got.err)
		}
		if !strings.HasPrefix(filepath.Base(where.Folder), "run-") || len(where.Files) > 0 || where.Input != "" {
			t.Errorf("%s ran in %s with the files %v and the input %q; want an empty folder of the host and no input", name, where.Folder, where.Files, where.Input)
		}
		if used[where.Folder] {
			t.Errorf("%s ran in %s, where another call had left something", name, where.Folder)
		}
		used[where.Folder] = strings.HasPrefix(name, "leaves")
	}
}

// A thread that a call left behind does not hold its answer, and what it tells later is nobody's progress.
func testThread(t *testing.T, p *Pack) {
	before := run(t.Context(), t, p, "pid", `{}`, nil)
	pid, err := strconv.Atoi(before.result)
	if err != nil {
		t.Fatal(before.err)
	}
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil { // between two calls it stops nothing
		t.Fatal(err)
	}
	if got := run(t.Context(), t, p, "leaves_thread", `{}`, nil); got.err != nil || got.progress != nil {
		t.Fatalf("leaves_thread: %v, progress %q", got.err, got.progress)
	}
	if after := run(t.Context(), t, p, "pid", `{}`, nil); after.result != before.result {
		t.Errorf("the worker changed from %s to %s", before.result, after.result)
	}
	if got := run(t.Context(), t, p, "late_progress", `{}`, nil); got.err != nil {
		t.Error(got.err)
	}
}

// A worker that the pack's code has broken ends, whatever threads it has.
func testBroken(t *testing.T, p *Pack) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got := run(ctx, t, p, "breaks_json", `{}`, nil); got.err != nil {
		t.Fatal(got.err)
	}
	if err := run(ctx, t, p, "pid", `{}`, nil).failure(t); err.Reason != taskpacks.ReasonCrash {
		t.Errorf("a call of a worker that is broken: %#v, want a crash", err)
	}
}

// A call that is stopped may clean up; then its worker is gone.
func testStop(t *testing.T, p *Pack) {
	for _, name := range []string{"waits", "awaits"} {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		got := run(ctx, t, p, name, `{}`, cancel)
		if !errors.Is(got.err, context.Canceled) {
			t.Errorf("%s: %s, %v; want context.Canceled", name, got.result, got.err)
		}
		if err := got.failure(t); err.Type != "TaskStopped" {
			t.Errorf("%s said at its end: %#v", name, err)
		}
		if want := "0 waiting|1 cleaned up"; strings.Join(got.progress, "|") != want {
			t.Errorf("%s: progress %q, want %q", name, got.progress, want)
		}
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("%s took %v to stop: SIGINT does not reach it", name, took)
		}
	}
}

func testPackTests(t *testing.T, p *Pack) {
	var out strings.Builder
	if err := p.Test(t.Context(), &out, "-v"); err != nil || !strings.Contains(out.String(), "test_add") || !strings.Contains(out.String(), "OK") {
		t.Errorf("Test = %v, output:\n%s", err, out.String())
	}
	files := map[string]string{
		"main.py":          "from pytasks import task\n@task\ndef f(): return 1\n",
		"tests/test_it.py": "import unittest\nfrom main import f\nclass T(unittest.TestCase):\n def test(self): self.assertEqual(f(), 2)\n",
	}
	p = mustOpen(t, folder(t, "fails", files))
	out.Reset()
	if err := p.Test(t.Context(), &out); err == nil || !strings.Contains(out.String(), "AssertionError: 1 != 2") {
		t.Errorf("Test of a pack whose test fails = %v, output:\n%s", err, out.String())
	}
	delete(files, "tests/test_it.py")
	p = mustOpen(t, folder(t, "none", files))
	out.Reset()
	if err := p.Test(t.Context(), &out); err != nil || !strings.Contains(out.String(), "test_*.py") {
		t.Errorf("Test of a pack without tests = %v, output:\n%s", err, out.String())
	}
}

func testClose(t *testing.T, p *Pack) {
	if got := run(t.Context(), t, p, "pid", `{}`, nil); got.err != nil {
		t.Fatal(got.err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := run(t.Context(), t, p, "pid", `{}`, nil); got.err == nil {
		t.Error("a closed pack still runs calls")
	}
}
