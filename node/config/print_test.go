package config

import (
	"reflect"
	"strings"
	"testing"

	"pytasks/cluster/secret"
)

// TestPrintConfig: what is printed gives the same configuration when it is read again, and no secret is in it.
func TestPrintConfig(t *testing.T) {
	s := secret.New()
	env := map[string]string{"PYTASKS_SECRET": s.Text(), "JWT_PRIVATE_PEM": "the private key", "PYTASKS_MAX_ARGS": "3MiB", "USE_JWT_EXPIRE": "no"}
	args := []string{"--name", "a", "--data-dir", "/tmp/a", "--http", "0.0.0.0:80", "--join", "b:1,c:2", "--drain-timeout", "90s", "--cors-origin", "*"}
	want, err := load(t, args, env, "")
	if err != nil {
		t.Fatal(err)
	}
	given := want
	if err := given.LoadGiven(func(name string) string { return env[name] }); err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	if err := Write(&printed, &given); err != nil {
		t.Fatal(err)
	}
	out := printed.String()
	if !strings.Contains(out, "# secret "+s.ID()+": *** (used)") || strings.Contains(out, s.Text()[8:20]) || strings.Contains(out, "the private key") {
		t.Errorf("printed: %s", out)
	}
	got, err := load(t, nil, nil, out)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read again it is\n%+v, want\n%+v", got, want)
	}
}
