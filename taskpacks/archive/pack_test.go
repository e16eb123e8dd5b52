package archive

import (
	"bytes"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// makeFolder writes files, by path, to a new folder. A text that begins with "-> " makes a link.
func makeFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(name), 0o700)
		if to, ok := strings.CutPrefix(text, "-> "); ok && err == nil {
			err = os.Symlink(to, name)
		} else if err == nil {
			err = os.WriteFile(name, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPack(t *testing.T) {
	files := map[string]string{"main.py": "m", "__init__.py": "", "resources/a.py": "a", "resources/" + strings.Repeat("long", 50): "l", "bin/run": "#!"}
	first := makeFolder(t, files)
	for _, name := range []string{".git/config", ".venv/bin/x", "__pycache__/a.pyc", "resources/__pycache__/x", "a.pyc", "bin/.DS_Store"} {
		files[name] = "left out"
	}
	second := makeFolder(t, files)
	for _, dir := range []string{first, second} {
		if err := os.Chmod(filepath.Join(dir, "bin/run"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filepath.Join(second, "main.py"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}

	var packed, again bytes.Buffer
	if err := Pack(&packed, first); err != nil {
		t.Fatal(err)
	}
	if err := Pack(&again, second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packed.Bytes(), again.Bytes()) {
		t.Error("the same files, packed in two folders, give different bytes")
	}
	got, root, err := unpack(t, packed.Bytes(), Limits{})
	want := map[string]string{
		"main.py": fileText + "m", "__init__.py": fileText, "resources": dirText, "resources/a.py": fileText + "a",
		"resources/" + strings.Repeat("long", 50): fileText + "l", "bin": dirText, "bin/run": execText + "#!", "empty": dirText,
	}
	if err != nil || root != "" || !reflect.DeepEqual(got, want) {
		t.Errorf("Unpack of what Pack made: root %q, %v\n got %q\nwant %q", root, err, got, want)
	}
}

func TestPackRefuses(t *testing.T) {
	tests := []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"x": "", "a/link": "-> /etc/passwd"}, `"a/link" is a link: put the file itself there`},
		{map[string]string{"x": "", "link": "-> x"}, `"link" is a link`},
		{map[string]string{"x": "", "X": ""}, `"x" differs from "X" in upper and lower case`},
		{map[string]string{`a\b`: ""}, `has a \ in its path: use /`},
		{map[string]string{".git/config": ""}, "the folder holds no files"},
		{map[string]string{"pack/main.py": ""}, "there is nothing but the folder pack: pack that one"},
	}
	for _, tt := range tests {
		if err := Pack(&bytes.Buffer{}, makeFolder(t, tt.files)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Pack of %q = %v, want %q in it", tt.files, err, tt.want)
		}
	}
	if err := Pack(&bytes.Buffer{}, filepath.Join(t.TempDir(), "absent")); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("Pack of no folder = %v", err)
	}
}

func TestPackRefusesSocket(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir) // the path of a socket is short
	l, err := net.Listen("unix", "socket")
	if err != nil {
		t.Skipf("no unix sockets: %v", err)
	}
	defer l.Close()
	if err := Pack(&bytes.Buffer{}, dir); err == nil || !strings.Contains(err.Error(), `"socket" is neither a file nor a folder`) {
		t.Errorf("Pack of a socket = %v", err)
	}
}

// FuzzUnpack looks for archives that panic, run away or write what they may not.
func FuzzUnpack(f *testing.F) {
	seeds := [][]item{
		{{name: "p/"}, {name: "p/main.py", text: "x"}},
		{{name: "main.py", text: "x"}, {name: "bin/run", mode: 0o755}},
		{{name: "../x"}}, {{name: "/x"}}, {{name: `a\b`}}, {{name: "a"}, {name: "A"}}, {{name: "a"}, {name: "a/b"}}, nil,
		{{name: "zeros", text: strings.Repeat("0", 1<<17)}},
	}
	for _, items := range seeds {
		f.Add(makeZip(f, items...))
		f.Add(makeTar(f, items...))
	}
	f.Add(makeZip(f, item{name: "a", text: "..", mode: fs.ModeSymlink | 0o777}, item{name: "a/x"}))
	f.Add(makeTar(f, item{name: "a", typ: '2', link: ".."}, item{name: "a/x"}))
	f.Add(makeTar(f, item{name: "a", typ: '1', link: "/etc/passwd"}))
	limits := Limits{Files: 20, Bytes: 1 << 16, Path: 64, Depth: 4}
	f.Fuzz(func(t *testing.T, data []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "target")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := Unpack(bytes.NewReader(data), int64(len(data)), dir, limits)
		if got, err := os.ReadDir(outer); err != nil || len(got) != 1 {
			t.Fatalf("beside the target there is %v, %v", got, err)
		}
		got := tree(t, dir)
		if err != nil && len(got) > 0 {
			t.Fatalf("Unpack = %v, and leaves %q", err, got)
		}
		bytes := 0
		for name, text := range got {
			if bytes += len(text); !strings.HasPrefix(text, fileText) && !strings.HasPrefix(text, execText) || strings.ContainsAny(name, "\\\x00") {
				t.Errorf("there is %q: %.20q", name, text)
			}
		}
		if len(got) > limits.Files || bytes > int(limits.Bytes)+limits.Files*len(dirText) || strings.Contains(root, "/") {
			t.Errorf("there are %d entries, %d bytes, root %q", len(got), bytes, root)
		}
	})
}
