package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pytasks/cluster/secret"
)

func TestSecretNew(t *testing.T) {
	one, err := secret.Parse(execute(t, ExitOK, "secret", "new"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "secret")
	execute(t, ExitOK, "secret", "new", file)
	all, err := secret.ReadFile(file) // which looks at its mode, too
	if err != nil || len(all) != 1 || all[0] == one {
		t.Fatalf("got %d secrets, %v", len(all), err)
	}
	wantIn(t, execute(t, ExitFailed, "secret", "new", file), "file exists")
	if again, err := secret.ReadFile(file); err != nil || again[0] != all[0] {
		t.Errorf("the file was written over: %v", err)
	}
	wantIn(t, execute(t, ExitFailed, "secret", "show", "--data-dir", t.TempDir()), "has followed no rotation")
	if err := os.WriteFile(file, []byte(strings.Replace(one.Text(), "pts1", "pts9", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	wantIn(t, execute(t, ExitUsage, "secret", "rotate", "--secret-file", file), "a secret begins with pts1_")
}
