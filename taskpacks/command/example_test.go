package command

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"pytasks/taskpacks"
)

// TestExample builds the example as its README says, and runs it.
func TestExample(t *testing.T) {
	for _, tool := range []string{"make", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on the PATH", tool)
		}
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("example")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "make", "-B", "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	m, err := taskpacks.ReadManifest(dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	pack, err := Open(dir, m, newHost(t))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, args, want, err string }{
		{"hypot", `{"x": 3, "y": -4.0}`, `5`, ""},
		{"hypot", `{"x": 1e308, "y": 1.7e308}`, "", "hypot exited with status 1: the hypotenuse over 1e308 and 1.7e308 is too long for a number"},
		{"wordcount", `{"text": "to be\n or \"not\" to\u0020be \\ ü\u00fc\n"}`, `{"lines": 2, "words": 8}`, ""},
		{"wordcount", `{"text": ""}`, `{"lines": 0, "words": 0}`, ""},
		{"wordcount", `{"text": "` + strings.Repeat(`a b\n`, 1<<17) + `"}`, `{"lines": 131072, "words": 262144}`, ""},
		{"fail", `{}`, "", "fail exited with status 1: no luck"},
		{"fail", `{"status": 75, "message": "a\n-b"}`, "", "fail exited with status 75: -b"},
	}
	for _, tt := range tests {
		got, err := fn(t, &pack, tt.name).Call(t.Context(), json.RawMessage(tt.args))
		if string(got) != tt.want || (err != nil || tt.err != "") && (err == nil || err.Error() != tt.err) {
			t.Errorf("%s(%.60s) = %s, %v\nwant %s %s", tt.name, tt.args, got, err, tt.want, tt.err)
		}
	}
}
