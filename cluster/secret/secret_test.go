package secret

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unique"
)

func TestParse(t *testing.T) {
	s := New()
	text := s.Text()
	back, err := Parse(" " + text + "\n")
	if err != nil || back != s {
		t.Fatalf("got %v, want the secret back", err)
	}
	if other := New(); other == s || other.ID() == s.ID() {
		t.Fatal("two secrets are the same")
	}
	for i := len(prefix); i < len(text); i++ { // every typing error is found
		wrong := []byte(text)
		wrong[i] = map[bool]byte{true: 'B', false: 'A'}[text[i] == 'A']
		if _, err := Parse(string(wrong)); err == nil || !strings.Contains(err.Error(), "typing error") {
			t.Errorf("character %d changed: got %v, want a typing error", i, err)
		}
	}
	for text, want := range map[string]string{
		"": "begins with pts1_", "password": "begins with pts1_", text[:20]: "cut off", text + "A": "it has 54 characters, not 53", text[:len(text)-1]: "cut off",
		text[:6] + strings.Repeat("\n", len(text)-7) + "A": "typing error", // decoders skip line breaks
		"pts2_" + text[5:]: "begins with pts1_", text[:len(text)-1] + "!": "typing error",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
		if len(text) > 20 && err != nil && strings.Contains(err.Error(), text[8:20]) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

// TestHidden: nothing prints a secret by accident.
func TestHidden(t *testing.T) {
	s := New()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "in", struct{ S Secret }{s})
	asJSON, err := json.Marshal(map[string]any{"secret": s, "list": []Secret{s}})
	if err != nil {
		t.Fatal(err)
	}
	raw := fmt.Sprint(s.bytes()[:8])
	identity := NewIdentity(NewRing(s), "a", time.Now)
	if _, err := identity.certificate(); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "ring", NewRing(s), "identity", identity)
	for _, around := range []any{struct{ s Secret }{s}, &struct{ s []Secret }{[]Secret{s}}, NewRing(s), identity} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%d"} {
			if text := fmt.Sprintf(verb, around); strings.Contains(text, raw[1:len(raw)-1]) {
				t.Errorf("%T printed as %s", around, text)
			}
		}
	}
	for _, text := range []string{
		s.String(), fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %x %d", s, s, s, s, s, s), fmt.Sprintf("%+v", struct{ S Secret }{s}), log.String(), string(asJSON),
	} {
		if strings.Contains(text, s.Text()[8:20]) || strings.Contains(text, raw[1:len(raw)-1]) || !strings.Contains(text, hidden) {
			t.Errorf("printed as %s", text)
		}
	}
}

func TestDerived(t *testing.T) {
	var key [size]byte
	for i := range key {
		key[i] = byte(i)
	}
	s := Secret{unique.Make(key)}
	// A cluster's nodes may be of different releases: what is derived never changes.
	ca, _, err := s.authority()
	if err != nil {
		t.Fatal(err)
	}
	const want = "pts1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9UPC1S 02d6cacea61b " +
		"0b9c58f84b9364d1777aa8aa719faefee18a68a9d680d4a73f3162e4994fb4f0 f6cb4aeb2253e694832a2a9299948d3ccdf54362bbdbc0aa19d91d0ac295739d"
	if got := fmt.Sprintf("%s %s %x %x", s.Text(), s.ID(), s.GossipKey(), sha256.Sum256(ca.Raw)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if bytes.Equal(s.GossipKey(), s.derive("authority", 32)) {
		t.Error("two purposes have one key")
	}
}

func TestSeal(t *testing.T) {
	s, text := New(), []byte("a private key")
	sealed := s.Seal("key", text)
	if bytes.Contains(sealed, text) || bytes.Equal(sealed, s.Seal("key", text)) {
		t.Error("it is not sealed, or the same twice")
	}
	if got, err := s.Open("key", sealed); err != nil || !bytes.Equal(got, text) {
		t.Errorf("got %q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another secret": func() ([]byte, error) { return New().Open("key", sealed) },
		"another label":  func() ([]byte, error) { return s.Open("password", sealed) },
		"a bit":          func() ([]byte, error) { sealed[20] ^= 1; return s.Open("key", sealed) },
		"cut off":        func() ([]byte, error) { return s.Open("key", sealed[:5]) },
		"nothing":        func() ([]byte, error) { return s.Open("key", nil) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: it opens, as %q", name, got)
		}
	}
}

func TestReadFile(t *testing.T) {
	a, b := New(), New()
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("# of the test\n\n"+a.Text()+"\n"+b.Text()+"\n", 0o600)
	if all, err := ReadFile(file); err != nil || len(all) != 2 || all[0] != a || all[1] != b {
		t.Fatalf("got %d secrets and %v, want both in order", len(all), err)
	}
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{a.Text(), 0o644, "chmod 0600 " + file}, {a.Text(), 0o640, "chmod 0600"}, {"# none\n", 0o600, "holds no secret"},
		{a.Text() + "\nnonsense", 0o600, ":2: a secret begins with"}, {strings.Repeat("#\n", maxFile), 0o600, "at most"},
	} {
		write(c.text, c.mode)
		if _, err := ReadFile(file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q in it", err, c.want)
		}
	}
	if _, err := ReadFile(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("a folder: got %v", err)
	}
}

func TestRing(t *testing.T) {
	a, b, c := New(), New(), New()
	r := NewRing(a, b)
	var seen []Secret
	r.Watch(func(all []Secret) { seen = all })
	want := func(all ...Secret) {
		t.Helper()
		if got := r.Secrets(); !equal(got, all) || !equal(seen, all) || r.Current() != all[0] {
			t.Errorf("got %d secrets, %d were told, want %d in their order", len(got), len(seen), len(all))
		}
	}
	want(a, b)
	r.Add(c)
	r.Add(c)
	want(a, b, c)
	r.Use(c.ID())
	want(c, a, b)
	r.Use("none")
	r.Drop(c.ID()) // in use
	want(c, a, b)
	r.Drop(a.ID())
	want(c, b)
	if s, ok := r.Find(b.ID()); !ok || s != b {
		t.Error("b is not found")
	}
	if _, ok := r.Find(a.ID()); ok {
		t.Error("a is still honoured")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(New().Text())
	f.Add(prefix)
	f.Add(prefix + "A" + strings.Repeat("\n", 46) + "A") // the decoder skips line breaks
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := Parse(text); err == nil && s.Text() != strings.TrimSpace(text) {
			t.Error("another text was taken for that of a secret")
		}
	})
}
