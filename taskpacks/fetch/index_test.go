package fetch

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const physics = `{"physicsjs": {"name": "physicsjs", "author": "somebody", "version": "1.0",
	"link": "https://host.example/pytasks-physicsjs/archive/refs/heads/master.zip"}}`

func TestParseIndex(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	got, err := ParseIndex([]byte(`{"a": {"link": "https://h/a.zip", "name": "other", "stars": 5, "sha256": "` + strings.ToUpper(sum) + `"},
		"b_2": {"link": "file:///b.tar.gz", "version": "2", "author": "x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Entry{
		{Name: "a", Link: "https://h/a.zip", SHA256: sum},
		{Name: "b_2", Link: "file:///b.tar.gz", Version: "2", Author: "x"},
	} {
		if e, ok, err := got.Entry(want.Name); err != nil || !ok || e != want {
			t.Errorf("Entry = %+v, %v, %v; want %+v", e, ok, err, want)
		}
	}
	if e, ok, err := got.Entry("c"); ok || err != nil {
		t.Errorf("Entry of nothing = %+v, %v, %v", e, ok, err)
	}
	if got, err := ParseIndex([]byte(physics)); err != nil {
		t.Error(err)
	} else if e, _, err := got.Entry("physicsjs"); err != nil || e.Author != "somebody" {
		t.Errorf("Entry = %+v, %v", e, err)
	}
}

// TestBadEntriesHideNothing: what is wrong with one pack is that pack's, and told to who asks for it.
func TestBadEntriesHideNothing(t *testing.T) {
	index, err := ParseIndex([]byte(`{"good": {"link": "https://h/a.zip"}, "not-ours": {"link": 5}, "text": "https://h/a.zip",
		"empty": {}, "relative": {"link": "a.zip"}, "short": {"link": "https://h/a.zip", "sha256": "abcd"},
		"strange": {"link": "https://h/a.zip", "sha256": "` + strings.Repeat("x", 64) + `"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if e, ok, err := index.Entry("good"); !ok || err != nil || e.Link != "https://h/a.zip" {
		t.Errorf("Entry = %+v, %v, %v", e, ok, err)
	}
	for name, want := range map[string]string{
		"text": "entry \"text\"", "empty": "give the whole URL", "relative": "give the whole URL",
		"short": "give 64 hexadecimal digits", "strange": "give 64 hexadecimal digits",
	} {
		if _, _, err := index.Entry(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Entry(%s): %v, want %q in the error", name, err, want)
		}
	}
}

func TestParseIndexRefuses(t *testing.T) {
	tests := []struct{ data, want string }{
		{``, "the index is not an object of packs"},
		{`[]`, "the index is not an object of packs"},
		{`null`, "the index is not an object of packs: it is null"},
		{strings.Repeat(" ", maxIndex+1), "the index has 8388609 bytes, 8388608 at most"},
	}
	for _, tt := range tests {
		if got, err := ParseIndex([]byte(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseIndex(%.60s) = %v, %v; want %q in the error", tt.data, got, err, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/index.json":
			io.WriteString(w, physics)
		case "/large.json":
			io.WriteString(w, strings.Repeat(" ", maxIndex+1))
		default:
			http.NotFound(w, r)
		}
	})
	file := filepath.Join(t.TempDir(), "index.json")
	own := `{"physicsjs": {"link": "https://own.example/p.zip"}, "edge": {"link": "https://own.example/e.zip"}}`
	if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(filepath.Dir(file), "huge.json")
	if err := errors.Join(os.WriteFile(huge, nil, 0o600), os.Truncate(huge, maxIndex+1)); err != nil {
		t.Fatal(err)
	}
	web, absent, large := s.URL+"/index.json", s.URL+"/absent.json", s.URL+"/large.json"
	const hosted = "https://host.example/pytasks-physicsjs/archive/refs/heads/master.zip"
	tests := []struct {
		indexes []string
		name    string
		want    string // the link, or a part of the error
	}{
		{[]string{web}, "physicsjs", hosted},
		{[]string{web, file}, "physicsjs", hosted},
		{[]string{file, web}, "physicsjs", "https://own.example/p.zip"},
		{[]string{"file://" + file}, "edge", "https://own.example/e.zip"},
		{[]string{absent, large, file + ".absent", web}, "physicsjs", hosted},
		{[]string{web, file}, "phisicjs", "pack phisicjs: no index has it; did you mean physicsjs?"},
		{[]string{web, file}, "Edge", "did you mean edge?"},
		{[]string{web, file}, "physics", "did you mean physicsjs?"},
		{[]string{web, file}, "unrelated", "pack unrelated: no index has it"},
		{[]string{absent, web}, "edge", "pack edge: not every index could be read: fetch " + absent + ": the server answers 404"},
		{[]string{file + ".absent"}, "edge", "no such file"},
		{[]string{filepath.Dir(file)}, "edge", "it is not a file"},
		{[]string{"file://elsewhere/x"}, "edge", "a file lies on this machine: write file:///path"},
		{[]string{huge}, "edge", "it has 8388609 bytes, 8388608 at most"},
		{[]string{large}, "edge", "it has more than 8388608 bytes"},
		{[]string{"ftp://h/index.json"}, "edge", `the scheme "ftp" is not known`},
		{nil, "edge", "there are no indexes"},
		{[]string{web}, "a-b", `pack "a-b": use a name of`},
	}
	c := New(Config{AllowPrivate: true})
	for _, tt := range tests {
		entry, err := c.Find(t.Context(), tt.indexes, tt.name)
		if wantEntry := strings.HasPrefix(tt.want, "https://"); wantEntry != (err == nil) || wantEntry && entry.Link != tt.want {
			t.Errorf("Find(%q, %s) = %+v, %v; want %s", tt.indexes, tt.name, entry, err, tt.want)
		} else if err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Find(%q, %s) = %v; want %q in it", tt.indexes, tt.name, err, tt.want)
		}
		if unknown := strings.Contains(tt.want, "no index has it"); unknown && !errors.Is(err, ErrNotFound) {
			t.Errorf("Find(%q, %s) = %v; want ErrNotFound", tt.indexes, tt.name, err)
		}
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"phisicjs": "physicsjs", "ab": "a abc ac b", "abcdefgh": "abcdefxx", "zzzzz": "",
	} {
		got := strings.Join(nearest(name, []string{"physicsjs", "a", "b", "abc", "ac", "abcdefxx", "abcdxxxx"}), " ")
		if want != got {
			t.Errorf("nearest(%s) = %q, want %q", name, got, want)
		}
	}
	if got := distance("kitten", "sitting"); got != 3 {
		t.Errorf("distance(kitten, sitting) = %d, want 3", got)
	}
}

func FuzzParseIndex(f *testing.F) {
	for _, seed := range []string{physics, `{}`, `null`, `[]`, `{"a":null}`, `{"a":{"link":"x"}}`, `{"a":{"link":"https://h/a","sha256":"00"}}`, `{"":{"link":":"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		index, err := ParseIndex(text)
		if err != nil {
			return
		}
		for name := range index {
			e, ok, err := index.Entry(name)
			if !ok || err == nil && (e.Name != name || e.Link == "" || len(e.SHA256) != 0 && len(e.SHA256) != 64) {
				t.Errorf("%q: entry %q is %+v, %t", text, name, e, ok)
			}
		}
	})
}
