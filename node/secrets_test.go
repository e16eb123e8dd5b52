package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pytasks/cluster/secret"
	"pytasks/fsm"
)

func idsOf(all ...secret.Secret) string {
	var ids []string
	for _, s := range all {
		ids = append(ids, s.ID())
	}
	return strings.Join(ids, " ")
}

// TestSecretsFollow: a node follows a rotation through its phases, and comes back from a restart in each of them with the file
// that the operator gave at first.
func TestSecretsFollow(t *testing.T) {
	dir, old, next := t.TempDir(), secret.New(), secret.New()
	var log bytes.Buffer
	open := func(given ...secret.Secret) *secrets {
		t.Helper()
		s, err := openSecrets(dir, given, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open(old)
	rotation := func(phase uint32) *fsm.Rotation {
		return &fsm.Rotation{From: old.ID(), To: next.ID(), Sealed: old.Seal(rotationLabel, []byte(next.Text())), Phase: phase}
	}
	for _, step := range []struct {
		rotation *fsm.Rotation
		want     string
	}{{nil, idsOf(old)}, {rotation(1), idsOf(old, next)}, {rotation(1), idsOf(old, next)}, {rotation(2), idsOf(next, old)}, {nil, idsOf(next)}, {nil, idsOf(next)}} {
		if err := s.follow(step.rotation); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.ids(), " "); got != step.want {
			t.Fatalf("after %v: honours %s, want %s", step.rotation, got, step.want)
		}
		if s = open(old); strings.Join(s.ids(), " ") != step.want {
			t.Fatalf("after a restart: honours %v, want %s", s.ids(), step.want)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, secret.KeptFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if !strings.Contains(log.String(), "has been replaced") || strings.Contains(log.String(), old.Text()[8:20]) || strings.Contains(log.String(), next.Text()[8:20]) {
		t.Errorf("the log says %s", log.String())
	}
	if s = open(next); strings.Join(s.ids(), " ") != idsOf(next) {
		t.Errorf("given the new one: honours %v", s.ids())
	}
	other := secret.New() // the operator means it
	if s = open(other, old); strings.Join(s.ids(), " ") != idsOf(other, old) {
		t.Errorf("given another one: honours %v", s.ids())
	}
	if err := s.follow(&fsm.Rotation{From: secret.New().ID(), To: secret.New().ID(), Phase: 1}); err == nil || !strings.Contains(err.Error(), "does not have") {
		t.Errorf("a rotation from a secret that is not here: %v", err)
	}
	if open().ring != nil {
		t.Error("a node that was given none has one")
	}
}

// TestSecretsGivenUp: a rotation that ends before its second phase leaves the old secret, and no other.
func TestSecretsGivenUp(t *testing.T) {
	old, next := secret.New(), secret.New()
	s, err := openSecrets(t.TempDir(), []secret.Secret{old}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*fsm.Rotation{{From: old.ID(), To: next.ID(), Sealed: old.Seal(rotationLabel, []byte(next.Text())), Phase: 1}, nil} {
		if err := s.follow(r); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(s.ids()); got != "["+old.ID()+"]" {
		t.Errorf("honours %s, want the old one alone", got)
	}
}

func TestSecretsFileDamaged(t *testing.T) {
	dir, s := t.TempDir(), secret.New()
	file := filepath.Join(dir, secret.KeptFile)
	for _, c := range []struct {
		text, want string
		mode       os.FileMode
	}{{"nonsense", "is damaged", 0o600}, {`{"secrets":["pts1_x"]}`, "cut off", 0o600}, {`{}`, "chmod 0600 " + file, 0o644}} {
		if err := os.WriteFile(file, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := openSecrets(dir, []secret.Secret{s}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.text, err, c.want)
		}
	}
}
