package node

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pytasks/cluster/secret"
)

// TestPrintConfig: what is printed gives the same configuration when it is read again, and no secret is in it.
func TestPrintConfig(t *testing.T) {
	s := secret.New()
	env := map[string]string{"PYTASKS_SECRET": s.Text(), "JWT_PRIVATE_PEM": "the private key", "PYTASKS_MAX_ARGS": "3MiB", "USE_JWT_EXPIRE": "no"}
	args := []string{"start", "--print-config", "--name", "a", "--data-dir", "/tmp/a", "--http", "0.0.0.0:80", "--join", "b:1,c:2", "--drain-timeout", "90s", "--cors-origin", "*"}
	code, out, errs := runCLI(t, env, args...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if !strings.Contains(out, "# secret "+s.ID()+": *** (used)") || strings.Contains(out, s.Text()[8:20]) || strings.Contains(out, "the private key") {
		t.Errorf("printed: %s", out)
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := load(t, args[2:], env, "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := load(t, nil, nil, out)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read again it is\n%+v, want\n%+v", got, want)
	}
	if code, _, errs := runCLI(t, nil, "start", "--print-config", "--name", "a", "--slots", "0"); code == 0 || !strings.Contains(errs, "--slots 0") {
		t.Errorf("a wrong configuration: exit code %d, %s", code, errs)
	}
}
