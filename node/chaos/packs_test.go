//go:build linux

package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pytasks/taskpacks/archive"
)

// packArchive is the archive of a small pack, "shell", that needs nothing but sh.
func packArchive(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"package.json": `{"name":"shell","version":"1.0","kind":"command","tasks":{"hello":{"argv":["./hello.sh"],"output":"json"}}}`,
		"hello.sh":     "#!/bin/sh\necho '\"hello\"'\n",
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	var b bytes.Buffer
	check(t, archive.Pack(&b, dir))
	return b.String()
}

// crashInInstall crashes the node at which a pack is installed before the log names it: then no node has it. Installed
// again, every node has it, and runs it.
func (r *run) crashInInstall(point string) {
	r.Helper()
	n, body := r.all.follower(), packArchive(r)
	install := func() error {
		a, err := n.send(30*time.Second, http.MethodPost, "/packs", body, "Content-Type", "application/gzip")
		return statusError(a, err, http.StatusOK)
	}
	r.crash(n, point, 1, func() { _ = install() })
	r.restart(n)
	for _, other := range r.all {
		eventually(r, healIn, other.name+" knows of no pack", func() error {
			a, err := other.send(5*time.Second, http.MethodGet, "/packs/shell", "")
			return statusError(a, err, http.StatusNotFound)
		})
	}
	eventually(r, healIn, "the pack is installed", install)
	eventually(r, healIn, "all nodes have it", func() error {
		text, err := n.get("/packs/shell")
		if err != nil {
			return err
		}
		var view struct {
			Nodes []struct{ Name, Status, Error string }
		}
		if err := json.Unmarshal(text, &view); err != nil {
			return err
		}
		ready := 0
		for _, at := range view.Nodes {
			if at.Status == "ready" {
				ready++
			}
		}
		if ready != len(r.all) {
			return fmt.Errorf("%d of %d are ready: %s", ready, len(r.all), text)
		}
		return nil
	})
	for _, other := range r.all {
		id := other.submit(`{"type":"shell.main.hello","args":{}}`)
		eventually(r, healIn, "its task runs", func() error {
			task, err := n.task(id)
			if err == nil && task.Status != "SUCCESS" {
				err = fmt.Errorf("it is %+v", task)
			}
			return err
		})
	}
}
