package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pytasks/node/config"
)

// TestDataPool claims directories as nodes do that start and stop: each has one of its own, and whoever
// comes next goes on with the first that is free.
func TestDataPool(t *testing.T) {
	pool := filepath.Join(t.TempDir(), "pool")
	claim := func(name string) (*Dir, config.Config) {
		t.Helper()
		cfg := config.Config{Name: name, DataDir: "elsewhere", DataPool: pool}
		dir, err := Claim(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dir.Close() })
		if want := filepath.Join(pool, cfg.Name); cfg.DataDir != want || dir.Path != want {
			t.Errorf("%s has the directory %s, %s, want %s", cfg.Name, cfg.DataDir, dir.Path, want)
		}
		return dir, cfg
	}
	first, cfg := claim("node")
	if cfg.Name != "node-1" {
		t.Errorf("the first node is %s, want node-1", cfg.Name)
	}
	if second, cfg := claim("node"); cfg.Name != "node-2" || second.ID == first.ID {
		t.Errorf("the second node is %s with the id %s, want node-2 with another id than %s", cfg.Name, second.ID, first.ID)
	}
	if _, cfg := claim("east"); cfg.Name != "east-1" {
		t.Errorf("a node of another name is %s, want east-1", cfg.Name)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if again, cfg := claim("node"); cfg.Name != "node-1" || again.ID != first.ID || again.Boot != first.Boot+1 {
		t.Errorf("after the first has stopped, the next is %s, id %s, boot %d, want node-1, %s, %d", cfg.Name, again.ID, again.Boot, first.ID, first.Boot+1)
	}

	if dir, err := Claim(&config.Config{Name: "a", DataDir: "elsewhere"}); dir != nil || err != nil {
		t.Errorf("without a pool: %v, %v, want nothing", dir, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Claim(&config.Config{Name: "a", DataPool: file}); err == nil || !strings.Contains(err.Error(), "--data-pool") || errors.Is(err, ErrUsed) {
		t.Errorf("a pool that is a file: %v, want an error that names --data-pool", err)
	}
}
