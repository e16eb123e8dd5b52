package taskpacks

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	if err := testSpec().Validate(); err != nil {
		t.Errorf("Validate = %v", err)
	}
	deep := strings.Repeat(`{"kind":"list","of":`, maxTypeDepth+1) + `{"kind":"int"}` + strings.Repeat("}", maxTypeDepth+1)
	tests := []struct{ typ, want string }{
		{`{"kind":"list"}`, ""},
		{`{"kind":"union","any_of":[{"kind":"int","bits":64},{"kind":"null"}]}`, ""},
		{`{"kind":"literal","values":[1,"a",null]}`, ""},
		{`{"kind":"object","fields":[{"name":"a","type":{"kind":"float","bits":32},"default":null}]}`, ""},
		{`{"kind":"optional"}`, "an optional type needs the type that it may hold"},
		{`{"kind":"dict","of":{"kind":"optional"}}`, "an optional type needs"},
		{`{}`, `the kind "" of types is not known`},
		{`{"kind":"union","any_of":[{"kind":"tuple"}]}`, `the kind "tuple" of types is not known`},
		{`{"kind":"int","bits":65}`, "no int has 65 bits"},
		{`{"kind":"int","bits":-1}`, "no int has -1 bits"},
		{`{"kind":"float","bits":16}`, "no float has 16 bits"},
		{`{"kind":"literal","values":[[1]]}`, `the literal value "[1]" is no JSON string`},
		{`{"kind":"object","fields":[{"name":"a","type":{"kind":"int"}},{"name":"a","type":{"kind":"int"}}]}`, `param x: field "a": give each field a name of its own`},
		{`{"kind":"object","fields":[{"name":"a","type":{"kind":"nope"}}]}`, `param x: field a: the kind "nope"`},
		{deep, "the type is nested too deeply, 16 types at most"},
	}
	for _, tt := range tests {
		spec := &Spec{Name: "p.main.f", Params: []Param{{Name: "x"}}}
		if err := json.Unmarshal([]byte(tt.typ), &spec.Params[0].Type); err != nil {
			t.Fatal(err)
		}
		err := spec.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "func p.main.f: param ") || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("Validate of %.100s = %v, want %q in it", tt.typ, err, tt.want)
		}
	}
}

// FuzzValidate looks for specs that are found good and then panic.
func FuzzValidate(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"optional"}`, `{"kind":"list","of":{"kind":"int","bits":64,"unsigned":true}}`, `{"kind":"int","bits":-3}`,
		`{"kind":"union","any_of":[{"kind":"literal","values":[1,"a",null]},{"kind":"dict","of":{"kind":"datetime"}}]}`,
		`{"kind":"object","fields":[{"name":"a","type":{"kind":"float"},"required":true,"default":1.0}]}`,
	} {
		for _, value := range []string{`1`, `"a"`, `[1]`, `{"a":"2024-01-01"}`, `{"a":1.5}`} {
			f.Add(seed, value)
		}
	}
	f.Fuzz(func(t *testing.T, typ, value string) {
		spec := &Spec{Params: []Param{{Name: "x"}}}
		if json.Unmarshal([]byte(typ), &spec.Params[0].Type) != nil || spec.Validate() != nil {
			return
		}
		_ = spec.Check(json.RawMessage(`{"x":` + value + `}`))
		_ = spec.Params[0].Type.String()
		if schema := spec.Schema(); !json.Valid(schema) {
			t.Errorf("the schema of %s is no JSON: %s", typ, schema)
		}
	})
}
