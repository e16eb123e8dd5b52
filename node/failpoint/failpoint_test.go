package failpoint

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSpotsAreInTheSources holds the list against the calls: each point of the list is
// called at one place, and no other is.
func TestSpotsAreInTheSources(t *testing.T) {
	call := regexp.MustCompile(`failpoint\.(?:Point|Err)\("([^"]*)"\)`)
	found := map[string][]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range call.FindAllSubmatch(text, -1) {
			found[string(m[1])] = append(found[string(m[1])], path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, s := range Spots() {
		if listed[s.Name] {
			t.Errorf("%s is listed twice", s.Name)
		}
		listed[s.Name] = true
		if got := found[s.Name]; len(got) != 1 {
			t.Errorf("%s is called in %v, want one place", s.Name, got)
		}
	}
	for name, paths := range found {
		if !listed[name] {
			t.Errorf("%s, called in %v, is not in the list", name, paths)
		}
	}
}

// TestNothingRemains looks into the program as it is shipped: neither a point's name nor
// the variable that arms it is in there.
func TestNothingRemains(t *testing.T) {
	program := filepath.Join(t.TempDir(), "pytasks")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "pytasks").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("pytasks/fsm")) {
		t.Fatal("the program does not name its own packages: this test looks for the wrong thing")
	}
	names := []string{"PYTASKS_FAILPOINTS"}
	for _, s := range Spots() {
		names = append(names, s.Name)
	}
	for _, name := range names {
		if bytes.Contains(text, []byte(name)) {
			t.Errorf("the program holds %q", name)
		}
	}
}
