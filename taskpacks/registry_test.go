package taskpacks

import (
	"encoding/json"
	"strings"
	"testing"
)

func pack(name string, funcs ...string) Pack {
	p := Pack{Name: name, Version: "1.0"}
	for _, f := range funcs {
		p.Funcs = append(p.Funcs, Define(f, same[empty]))
	}
	return p
}

func TestRegistry(t *testing.T) {
	r, err := NewRegistry(pack("b", "b.main.z", "b.main.a"), pack("a", "a.main.f"))
	if err != nil {
		t.Fatal(err)
	}
	if f, ok := r.Func("b.main.a"); !ok || f.Name != "b.main.a" {
		t.Errorf("Func(b.main.a) = %v, %v", f, ok)
	}
	if f, ok := r.Func("b.main"); ok {
		t.Errorf("Func(b.main) = %v, want none", f)
	}
	var names []string
	for _, s := range r.Specs() {
		names = append(names, s.Name)
	}
	if got, want := strings.Join(names, " "), "a.main.f b.main.a b.main.z"; got != want {
		t.Errorf("Specs() = %s, want %s", got, want)
	}

	other, err := NewRegistry(pack("a", "a.main.f"), pack("b", "b.main.a", "b.main.z"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(r.Manifest())
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(other.Manifest()); string(again) != string(got) {
		t.Errorf("the order of registration shows in the manifest:\n%s\n%s", got, again)
	}
	want := `[{"name":"a","version":"1.0","specs":[{"name":"a.main.f","params":[]}]},` +
		`{"name":"b","version":"1.0","specs":[{"name":"b.main.a","params":[]},{"name":"b.main.z","params":[]}]}]`
	if string(got) != want {
		t.Errorf("manifest\n got %s\nwant %s", got, want)
	}
}

func TestRegistryRefuses(t *testing.T) {
	invalid := pack("a", "a.main.f").Funcs[0]
	invalid.Params = []Param{{Name: "x"}}
	tests := []struct {
		packs []Pack
		want  string
	}{
		{[]Pack{pack("a"), pack("a")}, "pack a is registered twice"},
		{[]Pack{pack("a", "a.main.f", "a.main.f")}, "pack a: func a.main.f is defined twice"},
		{[]Pack{pack("a", "ab.main.f")}, `pack a: func "ab.main.f": use a name that begins with "a."`},
		{[]Pack{pack("a", "a.")}, `use a name that begins with "a."`},
		{[]Pack{pack("")}, `pack "": use a name of letters`},
		{[]Pack{pack("a-b")}, `pack "a-b": use a name of letters`},
		{[]Pack{{Name: "a", Funcs: []Func{{Spec: Spec{Name: "a.main.f"}}}}}, "func a.main.f has no code"},
		{[]Pack{{Name: "a", Funcs: []Func{invalid}}}, `pack a: func a.main.f: param x: the kind "" of types`},
	}
	for _, tt := range tests {
		if _, err := NewRegistry(tt.packs...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NewRegistry = %v, want %q in it", err, tt.want)
		}
	}
}

func TestPackOf(t *testing.T) {
	for name, want := range map[string]string{"test.main.add": "test", "edge.renamed": "edge", "x": "x", "": ""} {
		if got := PackOf(name); got != want {
			t.Errorf("PackOf(%q) = %q, want %q", name, got, want)
		}
	}
}
