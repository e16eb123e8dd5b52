package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pytasks/cluster/secret"
)

// TestGiven: secrets come from files that nobody else can read, or from the environment, and are not printed.
func TestGiven(t *testing.T) {
	a, b := secret.New(), secret.New()
	file := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(file, []byte(a.Text()+"\n"+b.Text()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"PYTASKS_SECRET": b.Text(), "JWT_PRIVATE_PEM": "private text\n", "JWT_PUBLIC_PEM": "public text"}
	getenv := func(name string) string { return env[name] }

	var cfg Config
	if err := cfg.LoadGiven(getenv); err != nil || len(cfg.Secrets) != 1 || cfg.Secrets[0] != b || string(cfg.JWTPrivatePEM) != "private text" || string(cfg.JWTPublicPEM) != "public text" {
		t.Fatalf("by the environment: %v, %d secrets", err, len(cfg.Secrets))
	}
	cfg = Config{SecretFile: file}
	if err := cfg.LoadGiven(getenv); err != nil || len(cfg.Secrets) != 2 || cfg.Secrets[0] != a {
		t.Fatalf("the file wins: %v, %d secrets", err, len(cfg.Secrets))
	}
	if text := fmt.Sprintf("%v %+v", cfg, cfg); strings.Contains(text, a.Text()[10:20]) {
		t.Error("a secret is printed with the configuration")
	}
	cfg = Config{}
	if err := cfg.LoadGiven(func(string) string { return "" }); err != nil || cfg.Secrets != nil || len(cfg.JWTPrivatePEM) != 0 {
		t.Errorf("nothing given: %v, %v", err, cfg)
	}

	key := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, []byte("key"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]struct {
		cfg Config
		env map[string]string
	}{
		"PYTASKS_SECRET: the secret has a typing error": {Config{}, map[string]string{"PYTASKS_SECRET": a.Text()[:20] + "x" + a.Text()[21:]}},
		"--secret-file: open /nowhere":                  {Config{SecretFile: "/nowhere"}, nil},
		"chmod 0600 " + key:                             {Config{JWTPrivateKey: key}, nil},
	} {
		if err := c.cfg.LoadGiven(func(name string) string { return c.env[name] }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
