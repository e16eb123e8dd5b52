package node

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// unpackBundle returns the files of a bundle by their names below its folder.
func unpackBundle(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for in := tar.NewReader(packed); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		folder, name, _ := strings.Cut(h.Name, "/")
		if folder != strings.TrimSuffix(filepath.Base(file), ".tar.gz") {
			t.Errorf("%s is in the folder %s", name, folder)
		}
		files[name] = string(text)
	}
}

// TestProcessDebugBundle: a bundle has what all nodes say of themselves, says which is not reached, and holds nothing private.
func TestProcessDebugBundle(t *testing.T) {
	ps := startCluster(t, 3, "--pprof")
	p := ps[0]
	private := map[string]string{
		"the secret": testSecret().Text(), "an argument": "private-argument", "a tag": "private-tag",
		"a password": strings.TrimSpace(p.tools("user", "add", "private-user", "--scopes", "tasks:write")),
		"a user":     "private-user",
	}
	private["the password of the first user"] = ps.adminPassword()
	private["a token"] = member(p.must(http.StatusOK, http.MethodPost, "/token", `{"user":"private-user","password":"`+private["a password"]+`"}`).body, "token")
	p.must(http.StatusOK, http.MethodPost, "/task?wait=10s", `{"type":"test.main.echo","args":{"value":"private-argument"},"tags":["private-tag"]}`, bearer(private["a token"])...)

	dir := t.TempDir()
	file := filepath.Join(dir, "whole.tar.gz")
	said := p.tools("debug", "bundle", file, "--pprof")
	files := unpackBundle(t, file)
	for _, n := range ps {
		for name, part := range map[string]string{
			"cluster.json": `"leader"`, "nodes.json": `"name":"` + n.name + `"`, "readyz.txt": "leader", "metrics.txt": "pytasks_build_info", "goroutines.txt": "goroutine profile", "heap.pb.gz": "",
		} {
			name = "nodes/" + n.name + "/" + name
			if text, ok := files[name]; !ok || !strings.Contains(text, part) {
				t.Errorf("%s is there: %v, and %q is not in it", name, ok, part)
			}
			holds(t, said, name)
		}
	}
	holds(t, files["status.txt"], "3 nodes", "n1", "n2", "n3")
	holds(t, files["about.txt"], "client ", "clock ", "cluster.json")
	for what, text := range private {
		for name, in := range files {
			if strings.Contains(in, text) {
				t.Errorf("%s is in %s", what, name)
			}
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the bundle is %v, %v, want 0600", info.Mode(), err)
	}
	if _, err := p.tool("debug", "bundle", file); err == nil {
		t.Error("a bundle is written over another")
	}

	ps[2].kill()
	eventually(t, 20*time.Second, "the death is known", func() error {
		if a, err := send(p, http.MethodGet, "/nodes", ""); err != nil || !bytes.Contains(a.body, []byte(`"failed"`)) {
			return errors.New(string(a.body))
		}
		return nil
	})
	file = filepath.Join(dir, "part.tar.gz")
	p.tools("debug", "bundle", file)
	files = unpackBundle(t, file)
	holds(t, files["about.txt"], "not reached: ")
	holds(t, files["status.txt"], "n3")
	if _, ok := files["nodes/n3/cluster.json"]; ok {
		t.Error("a dead node is in the bundle")
	}
}
