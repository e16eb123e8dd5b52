package python

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const usesWheel = "from pytasks import task\nimport greeting\n@task\ndef hello(): return greeting.TEXT\n"

// wheel returns a wheel of the module greeting with one text.
func wheel(t *testing.T, text string) string {
	t.Helper()
	const info = "greeting-1.0.dist-info/"
	files := []struct{ path, text string }{
		{"greeting/__init__.py", fmt.Sprintf("TEXT = %q\ndef main(): print(TEXT)\n", text)},
		{info + "METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "entry_points.txt", "[console_scripts]\ngreet = greeting:main\n"},
	}
	record := info + "RECORD,,\n"
	for _, f := range files {
		record += f.path + ",,\n"
	}
	files = append(files, struct{ path, text string }{info + "RECORD", record})

	var buf bytes.Buffer
	archive := zip.NewWriter(&buf)
	for _, f := range files {
		w, err := archive.Create(f.path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// Two packs with the same requirements that are opened at once share one environment, made by pip from the packs' wheels.
func TestEnvironment(t *testing.T) {
	if testing.Short() {
		t.Skip("pip takes some seconds")
	}
	files := map[string]string{
		"main.py":                              usesWheel + "import subprocess\n@task\ndef script(): return subprocess.getoutput('greet')\n",
		"requirements.txt":                     "# what it needs\ngreeting == 1.0  # pinned\n\n",
		"wheels/greeting-1.0-py3-none-any.whl": wheel(t, "hello"),
	}
	o := options(t, "")
	packs := make([]*Pack, 2)
	var opened sync.WaitGroup
	for i, name := range []string{"one", "two"} {
		o := o
		o.Dir = folder(t, name, files)
		opened.Go(func() {
			var err error
			if packs[i], err = Open(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	if opened.Wait(); t.Failed() {
		return
	}
	if packs[0].env.path != packs[1].env.path {
		t.Errorf("the environments are %s and %s, want one", packs[0].env.path, packs[1].env.path)
	}
	for name, want := range map[string]string{"hello": `"hello"`, "script": `"hello"`} {
		if got := run(t.Context(), t, packs[1], name, `{}`, nil); got.result != want {
			t.Errorf("%s() = %s, %v; want %s", name, got.result, got.err, want)
		}
	}
}

// fakeUV puts a uv on the PATH that makes an environment without pip and writes down what it is told to install.
func fakeUV(t *testing.T, install string) {
	t.Helper()
	script := `#!/bin/sh
if [ "$1" = venv ]; then
	exec "$3" -m venv --without-pip "$4"
fi
echo "$@" >> "$(dirname "$4")/../installs"
` + install
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "uv"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestEnvironmentIsBuiltOnce(t *testing.T) {
	o := options(t, folder(t, "edge", map[string]string{
		"main.py":          "from pytasks import task\n@task\ndef f(): pass\n",
		"requirements.txt": "something\n",
	}))
	fakeUV(t, "")
	open := func() (env string, installs int) {
		t.Helper()
		p, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		said, err := os.ReadFile(filepath.Join(p.env.path, "installs"))
		if err != nil {
			t.Fatal(err)
		}
		if want := "--compile-bytecode -r " + filepath.Join(o.Dir, "requirements.txt"); !strings.Contains(string(said), want) {
			t.Errorf("uv was told %q, want %q in it", said, want)
		}
		return p.env.path, strings.Count(string(said), "\n")
	}
	first, _ := open()
	if env, installs := open(); env != first || installs != 1 {
		t.Errorf("opened again: %s with %d installs, want %s with one", env, installs, first)
	}
	if err := errors.Join(os.Remove(filepath.Join(first, builtFile)), os.WriteFile(filepath.Join(first, "half"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if env, installs := open(); env != first || installs != 1 || exists(filepath.Join(env, "half")) {
		t.Errorf("an environment that was half built is not made anew")
	}
}

// TestSweep: what nobody uses, and was not opened for long, is removed, and comes back when it is needed.
func TestSweep(t *testing.T) {
	o := options(t, folder(t, "edge", map[string]string{
		"main.py":          "from pytasks import task\n@task\ndef f(): pass\n",
		"requirements.txt": "something\n",
	}))
	fakeUV(t, "")
	for range 2 {
		p, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		env := p.env.path
		for _, step := range []struct {
			unused time.Duration
			closed bool
			stays  bool
		}{{0, false, true}, {time.Hour, true, true}, {0, true, false}} {
			if step.closed {
				p.Close()
			}
			if err := Sweep(o.Envs, step.unused); err != nil {
				t.Fatal(err)
			}
			if exists(env) != step.stays {
				t.Errorf("after Sweep(%v) of an environment in use: %v, it is there: %v", step.unused, !step.closed, exists(env))
			}
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestEnvironmentFails(t *testing.T) {
	o := options(t, folder(t, "edge", map[string]string{"main.py": "", "requirements.txt": "something\n"}))
	fakeUV(t, "echo 'there is no something' >&2\nexit 2\n")
	_, err := Open(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "exit status 2") || !strings.HasSuffix(err.Error(), "there is no something") {
		t.Errorf("Open = %v, want the installer's status and words", err)
	}
}

// TestEnvironmentOfAnother: who found an environment not built, and then busy, takes it when the other has built it, although
// that one uses it on and on.
func TestEnvironmentOfAnother(t *testing.T) {
	dir, envs := folder(t, "edge", map[string]string{"requirements.txt": "something\n"}), t.TempDir()
	key, err := environmentKey(interpreter{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	other, err := tryLock(filepath.Join(envs, key)+lockSuffix, unix.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	open := func(ctx context.Context) error {
		env, err := openEnvironment(ctx, interpreter{}, dir, envs)
		env.release()
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), lockPoll/2)
	defer cancel()
	if err := open(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), key) {
		t.Errorf("opened while another is at it: %v, want the deadline and the environment named", err)
	}
	opened := make(chan error, 1)
	go func() { opened <- open(t.Context()) }()
	time.Sleep(lockPoll / 2)
	err = errors.Join(os.Mkdir(filepath.Join(envs, key), 0o700), os.WriteFile(filepath.Join(envs, key, builtFile), nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-opened:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(50 * lockPoll):
		t.Error("it waits for what another built and uses")
	}
}

func TestEnvironmentKey(t *testing.T) {
	base := interpreter{Executable: "/usr/bin/python3", Version: "3.11.7", Platform: "linux-x86_64"}
	key := func(base interpreter, files map[string]string) string {
		t.Helper()
		key, err := environmentKey(base, folder(t, "edge", files))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	for _, text := range []string{"", "\n  \n# none\n", "\ufeff# none"} {
		if got := key(base, map[string]string{"requirements.txt": text}); got != "" {
			t.Errorf("requirements %q need the environment %s, want none", text, got)
		}
	}
	if got := key(base, map[string]string{"main.py": ""}); got != "" {
		t.Errorf("no requirements need the environment %s, want none", got)
	}

	files := map[string]string{"requirements.txt": "a==1\n-r more.txt\n", "more.txt": "b", "wheels/a.whl": "1"}
	want := key(base, files)
	if got := key(base, map[string]string{"requirements.txt": "# why\n a==1 # here\r\n\n-r more.txt", "more.txt": "b", "wheels/a.whl": "1", "main.py": "x"}); got != want {
		t.Errorf("comments and blanks change the environment")
	}
	for path, text := range map[string]string{"requirements.txt": "a==2\n-r more.txt\n", "more.txt": "c", "wheels/a.whl": "2", "wheels/b.whl": "1"} {
		changed := maps.Clone(files)
		changed[path] = text
		if key(base, changed) == want {
			t.Errorf("another %s does not change the environment", path)
		}
	}
	base.Version = "3.12.0"
	if key(base, files) == want {
		t.Error("another Python does not change the environment")
	}
}

// Installers run code of strangers: they do not see the node's secrets.
func TestInstallersEnvironment(t *testing.T) {
	t.Setenv("PYTASKS_SECRET", "x")
	t.Setenv("https_proxy", "http://proxy")
	t.Setenv("PIP_INDEX_URL", "http://index")
	env := strings.Join(command(t.Context(), "true").Env, "\n")
	if strings.Contains(env, "SECRET") || !strings.Contains(env, "https_proxy=") || !strings.Contains(env, "PIP_INDEX_URL=") || !strings.Contains(env, "PATH=") {
		t.Errorf("installers see\n%s", env)
	}
}
