package cli

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pytasks/fsm"
	"pytasks/node/backup"
	"pytasks/node/datadir"
)

// snapshotOf returns the file of a small cluster.
func snapshotOf(t *testing.T) []byte {
	t.Helper()
	s, err := fsm.Open(fsm.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Rehome(); err != nil { // a log entry
		t.Fatal(err)
	}
	var state, file bytes.Buffer
	export, err := s.Export(&state)
	if err != nil {
		t.Fatal(err)
	}
	w, err := backup.NewWriter(&file, backup.Header{
		Cluster: "0d8a4c5e-6a1e-4c4b-9f5e-0123456789ab", Node: "n1", Index: export.Index, Term: 1, StateBytes: int64(state.Len()),
	})
	if err == nil {
		err = w.State(&state)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// TestSaveBroken: a stream that ends too soon, however politely, leaves no file; nor does an answer that refuses.
func TestSaveBroken(t *testing.T) {
	whole := snapshotOf(t)
	var answer http.HandlerFunc
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer server.Close()
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		code   int
		want   string
	}{
		{"the node dies", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(whole[:len(whole)/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, ExitFailed, "is not written: read snapshot: the snapshot was cut off on its way"},
		{"a proxy ends it", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole[:len(whole)-1]) }, ExitFailed, "the file is damaged at byte "},
		{"a proxy changes it", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(string(whole), "n1", "n2", 1))
		}, ExitFailed, "the file is damaged at byte "},
		{"no snapshot at all", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, ExitFailed, "the file is no snapshot"},
		{"forbidden", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"this needs the scope admin","code":"forbidden"}`)
		}, ExitFailed, "pytasks: this needs the scope admin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer = tt.answer
			dir := t.TempDir()
			file := filepath.Join(dir, "cluster.snapshot")
			wantIn(t, execute(t, tt.code, "snapshot", "save", file, "--addr", server.URL), tt.want)
			if left := namesIn(t, dir); len(left) > 0 {
				t.Errorf("%v are left behind", left)
			}
			if err := os.WriteFile(file, []byte("the one of yesterday"), 0o600); err != nil {
				t.Fatal(err)
			}
			execute(t, tt.code, "snapshot", "save", file, "--addr", server.URL, "--force")
			if kept, err := os.ReadFile(file); err != nil || string(kept) != "the one of yesterday" || len(namesIn(t, dir)) != 1 {
				t.Errorf("the file that was there is now %q, %v", kept, err)
			}
		})
	}
	answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole) }
	file := filepath.Join(t.TempDir(), "cluster.snapshot")
	wantIn(t, execute(t, ExitOK, "snapshot", "save", file, "--addr", server.URL, "--json"), `"index":1`, `"node":"n1"`)
	wantIn(t, execute(t, ExitUnreachable, "snapshot", "save", file+"2", "--addr", "127.0.0.1:1"), "cannot reach")
	wantIn(t, execute(t, ExitUsage, "snapshot", "save"), "needs FILE")
}

// TestRestoreFormats: files that earlier releases wrote are read, and restored.
func TestRestoreFormats(t *testing.T) {
	paths, err := filepath.Glob("testdata/snapshots/*.snapshot")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are %v, %v; want one of each format", paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			wantIn(t, execute(t, ExitOK, "snapshot", "inspect", path), "4: 1 SCHEDULED, 2 SUCCESS, 1 REVOKED", "hello 0.1+", "All checksums are right.")
			dir := filepath.Join(t.TempDir(), "data")
			wantIn(t, execute(t, ExitOK, "snapshot", "restore", path, "--data-dir", dir, "--json"), `"blobs":3`, `"users":2`, `"packs":1`)
			wantIn(t, execute(t, ExitFailed, "cluster", "recover", "--data-dir", dir), "is the only one that votes already: there is nothing to recover, start it")
		})
	}
}

// TestRestoreBroken: what cannot be restored to its end leaves the directory as it was.
func TestRestoreBroken(t *testing.T) {
	whole, err := os.ReadFile("testdata/snapshots/format1.snapshot")
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)-1] ^= 1
	file, dir := filepath.Join(t.TempDir(), "damaged"), t.TempDir()
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	wantIn(t, execute(t, ExitFailed, "snapshot", "restore", file, "--data-dir", dir), "the checksum of the whole is another one")
	if left := namesIn(t, dir); len(left) > 0 {
		t.Errorf("%v are left behind", left)
	}
}

// TestRestoreUnfinished: a directory in which a restore stopped in the middle is no node's.
func TestRestoreUnfinished(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, datadir.RestoringFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(dir); err == nil || !strings.Contains(err.Error(), "did not come to its end: empty the directory, and restore it again") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, datadir.IdentityFile)); err == nil {
		t.Error("it has got an identity all the same")
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
