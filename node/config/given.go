package config

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"pytasks/cluster/secret"
)

// LoadGiven reads the secrets that the node is given: from the files that its options
// name, else from the environment.
func (c *Config) LoadGiven(getenv func(string) string) (err error) {
	switch text := strings.TrimSpace(getenv("PYTASKS_SECRET")); {
	case c.SecretFile != "":
		if c.Secrets, err = secret.ReadFile(c.SecretFile); err != nil {
			return fmt.Errorf("--secret-file: %w", err)
		}
	case text != "":
		s, err := secret.Parse(text)
		if err != nil {
			return fmt.Errorf("PYTASKS_SECRET: %w", err)
		}
		c.Secrets = []secret.Secret{s}
	}
	if c.JWTPrivatePEM, err = givenPEM("--jwt-private-key", c.JWTPrivateKey, getenv("JWT_PRIVATE_PEM"), true); err != nil {
		return err
	}
	c.JWTPublicPEM, err = givenPEM("--jwt-public-key", c.JWTPublicKey, getenv("JWT_PUBLIC_PEM"), false)
	return err
}

// givenPEM returns the text of a key, nil if none is given.
func givenPEM(flag, file, text string, private bool) ([]byte, error) {
	if file == "" {
		return bytes.TrimSpace([]byte(text)), nil
	}
	if private {
		if err := CheckPrivate(file); err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return pem, nil
}

// CheckPrivate refuses a file with a secret, or the folder of such files, that others can read.
func CheckPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); !secret.Private(info) {
		want := fs.FileMode(0o600)
		if info.IsDir() {
			want = 0o700
		}
		return fmt.Errorf("%s has the mode %04o, so that others on this machine can read what is secret in it: chmod %04o %[1]s", path, mode, want)
	}
	return nil
}
