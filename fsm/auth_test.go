package fsm

import (
	"slices"
	"strings"
	"testing"
)

// TestKeysPut checks that signing keys replace those of the version that they name.
func TestKeysPut(t *testing.T) {
	m := newMachine(t)
	is := func(version uint64, want ...string) {
		t.Helper()
		m.mustFlush()
		var got []string
		for _, k := range m.Keys().GetKeys() {
			got = append(got, k.Id)
		}
		if !slices.Equal(got, want) || m.Keys().GetVersion() != version {
			t.Fatalf("entry %d: keys are %v of version %d, want %v of %d", m.index, got, m.Keys().GetVersion(), want, version)
		}
	}
	m.gives(Code_CONFLICT, keysPut(1, "a"))
	m.gives(Code_MISFIT, keysPut(0))
	is(0)
	m.ok(keysPut(0, "a"))
	first := m.index
	m.ok(keysPut(0, "a")) // the second try
	is(first, "a")
	if m.changes[first-1].Keys == false || m.changes[m.index-1].Keys {
		t.Errorf("the observer was told %+v", m.changes)
	}
	m.gives(Code_CONFLICT, keysPut(0, "b"))
	m.gives(Code_CONFLICT, keysPut(first+1, "a"))
	m.ok(keysPut(first, "b", "a"))
	second := m.index
	m.gives(Code_CONFLICT, keysPut(first, "c", "a")) // another node was faster
	m.ok(keysPut(first, "b", "a"))
	is(second, "b", "a")
	outs := m.do(keysPut(second, "c"), keysPut(second, "d"))
	if outs[0].Code != Code_OK || outs[1].Code != Code_CONFLICT {
		t.Errorf("two in one entry gave %v", outs)
	}
	is(m.index, "c")
}

// TestKeysMisfit checks the bounds of signing keys.
func TestKeysMisfit(t *testing.T) {
	m := newMachine(t)
	m.gives(Code_MISFIT, keysPut(0, strings.Split("abcdefghi", "")...))
	for name, spoil := range map[string]func(k *SigningKey){
		"no id":          func(k *SigningKey) { k.Id = "" },
		"long id":        func(k *SigningKey) { k.Id = strings.Repeat("i", 65) },
		"long algorithm": func(k *SigningKey) { k.Algorithm = strings.Repeat("i", 65) },
		"long secret id": func(k *SigningKey) { k.SealedBy = strings.Repeat("i", 65) },
		"long public":    func(k *SigningKey) { k.PublicDer = make([]byte, maxKeyBytes+1) },
		"long sealed":    func(k *SigningKey) { k.Sealed = make([]byte, maxKeyBytes+1) },
	} {
		c := keysPut(0, "a", "b")
		spoil(c.GetKeysPut().Keys[1])
		if out := m.do(c)[0]; out.Code != Code_MISFIT {
			t.Errorf("%s: %v, want %v", name, out.Code, Code_MISFIT)
		}
	}
	m.ok(keysPut(0, strings.Split("abcdefgh", "")...))
}

// TestSecretPut tells of a rotation from its start to its end.
func TestSecretPut(t *testing.T) {
	m := newMachine(t)
	to := func(secret string, phase uint32) *Rotation {
		return &Rotation{From: "s1", To: secret, Sealed: []byte(secret), Phase: phase, Version: 77, StartedMs: 77}
	}
	is := func(secret string, phase uint32, version uint64, started int64) {
		t.Helper()
		m.mustFlush()
		if r := m.Rotation(); r.GetTo() != secret || r.GetPhase() != phase || r.GetVersion() != version || r.GetStartedMs() != started {
			t.Fatalf("entry %d: the rotation is %v, want %s in phase %d of version %d since %d", m.index, r, secret, phase, version, started)
		}
	}
	m.ok(secretPut(0, nil), secretPut(5, nil)) // it is over
	m.gives(Code_CONFLICT, secretPut(5, to("s2", 1)))
	for _, r := range []*Rotation{to("", 1), to("s2", 0), to(strings.Repeat("s", 65), 1), {To: "s2", Phase: 1, From: strings.Repeat("s", 65)},
		{To: "s2", Phase: 1, Sealed: make([]byte, maxKeyBytes+1)}} {
		m.gives(Code_MISFIT, secretPut(0, r))
	}
	is("", 0, 0, 0)
	m.ok(secretPut(0, to("s2", 1)))
	first, began := m.index, m.clock
	is("s2", 1, first, began)
	m.clock += 1000
	m.ok(secretPut(0, to("s2", 1)))
	is("s2", 1, first, began)
	m.gives(Code_CONFLICT, secretPut(0, to("s3", 1)))
	m.gives(Code_CONFLICT, secretPut(0, nil))
	m.ok(secretPut(first, to("s2", 2)))
	second := m.index
	is("s2", 2, second, began)
	m.gives(Code_CONFLICT, secretPut(first, to("s2", 1)))
	m.gives(Code_CONFLICT, secretPut(first, nil))
	m.ok(secretPut(first, to("s2", 2)))
	is("s2", 2, second, began)
	m.changes = nil
	m.ok(secretPut(second, nil), secretPut(second, nil))
	is("", 0, 0, 0)
	if !m.changes[0].Rotation || m.changes[1].Rotation {
		t.Errorf("the observer was told %+v", m.changes)
	}
	m.ok(secretPut(0, to("s3", 1)))
	is("s3", 1, m.index, m.clock)
}
