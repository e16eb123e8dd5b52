package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// item is an entry of an archive that a test makes.
type item struct {
	name, text string
	mode       fs.FileMode // 0 = 0644, or a folder's if the name ends with a slash
	typ        byte        // of a tar entry; 0 = by the name
	link       string
}

func makeZip(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, i := range items {
		h := &zip.FileHeader{Name: i.name, Method: zip.Deflate}
		if i.mode != 0 {
			h.SetMode(i.mode)
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(f, i.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func makeTar(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, i := range items {
		h := &tar.Header{Name: i.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(i.text)), Linkname: i.link}
		if strings.HasSuffix(i.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if i.typ != 0 {
			h.Typeflag = i.typ
		}
		if i.mode != 0 {
			h.Mode = int64(i.mode.Perm())
		}
		if i.typ == tar.TypeXGlobalHeader {
			h = &tar.Header{Typeflag: i.typ, Name: i.name, PAXRecords: map[string]string{"comment": i.text}}
			i.text = ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tree returns what a folder holds: by path, a file's mode and text, "dir" and its mode for a folder.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		text := []byte("dir")
		if !d.IsDir() {
			text, err = os.ReadFile(path)
		}
		all[filepath.ToSlash(name)] = info.Mode().Perm().String() + " " + string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func unpack(t testing.TB, data []byte, l Limits) (got map[string]string, root string, err error) {
	t.Helper()
	dir := t.TempDir()
	root, err = Unpack(bytes.NewReader(data), int64(len(data)), dir, l)
	return tree(t, dir), root, err
}

const dirText, fileText, execText = "-rwxr-xr-x dir", "-rw-r--r-- ", "-rwxr-xr-x "

func TestUnpack(t *testing.T) {
	hosted := []item{
		{name: "pack-master/"},
		{name: "pack-master/main.py", text: "x"},
		{name: "pack-master/bin/run", text: "#!", mode: 0o700},
		{name: "pack-master/empty/"},
		{name: "pack-master/pack-master/é x.txt", mode: 0o666},
	}
	stripped := map[string]string{
		"main.py": fileText + "x", "bin": dirText, "bin/run": execText + "#!", "empty": dirText,
		"pack-master": dirText, "pack-master/é x.txt": fileText,
	}
	tests := []struct {
		name     string
		items    []item
		wantRoot string
		want     map[string]string
	}{
		{"as a host makes it", hosted, "pack-master", stripped},
		{"without the folder's own entry", hosted[1:], "pack-master", stripped},
		{"with what macOS adds", append([]item{{name: "__MACOSX/"}, {name: "__MACOSX/pack-master/._main.py"}}, hosted...), "pack-master", stripped},
		{"flat", []item{{name: "main.py"}, {name: "resources/a.py"}}, "",
			map[string]string{"main.py": fileText, "resources": dirText, "resources/a.py": fileText}},
		{"two folders", []item{{name: "a/x"}, {name: "b/"}}, "", map[string]string{"a": dirText, "a/x": fileText, "b": dirText}},
		{"one folder below another", []item{{name: "a/b/x"}}, "a", map[string]string{"b": dirText, "b/x": fileText}},
		{"dots before", []item{{name: "./"}, {name: "./main.py"}}, "", map[string]string{"main.py": fileText}},
		{"a folder twice, after its file", []item{{name: "main.py"}, {name: "a/x"}, {name: "a/"}, {name: "a/"}}, "",
			map[string]string{"main.py": fileText, "a": dirText, "a/x": fileText}},
		{"an archive inside", []item{{name: "inner.zip", text: string(makeZip(t, item{name: "../x"}))}}, "",
			map[string]string{"inner.zip": fileText + string(makeZip(t, item{name: "../x"}))}},
	}
	for _, tt := range tests {
		global := item{name: "pax_global_header", typ: tar.TypeXGlobalHeader, text: "0123abcd"}
		for kind, data := range map[string][]byte{"zip": makeZip(t, tt.items...), "tar": makeTar(t, append([]item{global}, tt.items...)...)} {
			got, root, err := unpack(t, data, Limits{})
			if err != nil || root != tt.wantRoot || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%s of %s: root %q, %v\n got %q\nwant %q, root %q", kind, tt.name, root, err, got, tt.want, tt.wantRoot)
			}
		}
	}
}

func TestUnpackNeedsEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	data := makeZip(t, item{name: "x"})
	_, err := Unpack(bytes.NewReader(data), int64(len(data)), dir, Limits{})
	if err == nil || !strings.Contains(err.Error(), "the folder must be empty, and holds kept") {
		t.Errorf("Unpack = %v, want it refused", err)
	}
	if got := tree(t, dir); len(got) != 1 {
		t.Errorf("the folder holds %q, want what was there", got)
	}
}

// TestUnpackLarge has more content than a list of files may have bytes.
func TestUnpackLarge(t *testing.T) {
	noise := make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	got, _, err := unpack(t, makeZip(t, item{name: "noise", text: string(noise)}), Limits{Files: 1})
	if err != nil || got["noise"] != fileText+string(noise) {
		t.Errorf("Unpack of 2 MiB = %v, and gives %d bytes", err, len(got["noise"])-len(fileText))
	}
}

// TestUnpackUmask gives the same modes under any umask.
func TestUnpackUmask(t *testing.T) {
	data := makeZip(t, item{name: "main.py"}, item{name: "bin/run", mode: 0o700})
	dir := t.TempDir()
	defer syscall.Umask(syscall.Umask(0o077))
	_, err := Unpack(bytes.NewReader(data), int64(len(data)), dir, Limits{})
	want := map[string]string{"main.py": fileText, "bin": dirText, "bin/run": execText}
	if got := tree(t, dir); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Unpack = %v, got %q, want %q", err, got, want)
	}
}
