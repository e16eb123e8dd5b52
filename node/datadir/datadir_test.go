package datadir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeepPrivate: a data directory that others can read is refused, unless there is nothing in it yet.
func TestKeepPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := Open(dir)
	if err != nil {
		t.Fatalf("an empty one: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "chmod 0700 "+dir) {
		t.Errorf("one that a group can read: %v", err)
	}
}
