package node

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// zipOf returns a zip of a pack of testdata below one parent folder, as code hosts make it.
func zipOf(t *testing.T, pack, parent string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if _, err := w.Create(parent + "/"); err != nil {
		t.Fatal(err)
	}
	root := os.DirFS(filepath.Join("testdata", "packs", pack))
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		f, err := w.Create(parent + "/" + path)
		if err == nil {
			_, err = f.Write(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestProcessIndex: packs are installed by their names in an index of the reference's shape, on start and later, and by URL; what
// has another SHA-256 is refused, and addresses of this machine unless that is allowed.
func TestProcessIndex(t *testing.T) {
	needPython(t)
	archive := zipOf(t, "classic", "pytasks-classic-master")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/classic.zip" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(archive)
	}))
	defer server.Close()
	sum := sha256.Sum256(archive)
	link := server.URL + "/classic.zip"
	index := filepath.Join(t.TempDir(), "packages.json")
	entry := `%q:{"name":%q,"author":"someone","version":"1.0","link":%q%s}`
	text := fmt.Sprintf("{"+entry+","+entry+","+entry+"}", "classic", "classic", link, `,"sha256":"`+hex.EncodeToString(sum[:])+`"`,
		"changed", "changed", link, `,"sha256":"`+strings.Repeat("0", 64)+`"`, "second", "second", link, "")
	if err := os.WriteFile(index, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	ps := startCluster(t, 3, "--index", index, "--allow-private", "--packs", "classic")
	ps.packReady("classic", 3)
	ps.workersReady()
	ps[1].gives("classic.main.add", `{"x":1,"y":2}`, "3")
	ps[2].tools("pack", "install", "second")
	ps[0].gives("second.main.hypot", `{"x":3,"y":4}`, "5.0")
	ps[1].tools("pack", "install", link, "--name", "third", "--sha256", hex.EncodeToString(sum[:]))
	ps[0].gives("third.main.hypot", `{"x":6,"y":8}`, "10.0")
	for _, tt := range []struct{ want, what, flag, value string }{
		{"has the SHA-256", "changed", "", ""},
		{"has the SHA-256", link, "--sha256", strings.Repeat("0", 64)},
		{"absent", "absent", "", ""},
		{"404", server.URL + "/nothing.zip", "", ""},
	} {
		args := []string{"pack", "install", tt.what}
		if tt.flag != "" {
			args = append(args, tt.flag, tt.value)
		}
		if out, err := ps[0].tool(args...); err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("install %s printed %q, want %q in it", tt.what, out, tt.want)
		}
	}
	ps[2].tools("manager", "-i", "second", "-pl", "file://"+index, "--api", "/api")
	if out, err := ps[2].tool("manager", "-i", "absent", "second", "-pl", index); err == nil || !strings.Contains(out, "absent") || !strings.Contains(out, "second 1.0 is installed") {
		t.Errorf("manager printed %q, %v; want it to install the one and tell of the other", out, err)
	}
	for _, p := range ps { // a restart installs nothing that is there
		p.kill()
		p.start()
	}
	ps.ready()
	ps.packReady("classic", 3)

	alone := startCluster(t, 1)[0]
	start := time.Now()
	if out, err := alone.tool("pack", "install", link); err == nil || !strings.Contains(out, "--allow-private") || time.Since(start) > 20*time.Second {
		t.Errorf("install from this machine's own address printed %q, %v; want it refused at once", out, err)
	}
}
