package taskpacks

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestTypeSchema(t *testing.T) {
	whole := Type{Kind: KindInt, Bits: 64}
	tests := []struct {
		typ  Type
		want string
	}{
		{Type{Kind: KindInt}, `{"type":"integer"}`},
		{Type{Kind: KindInt, Bits: 8}, `{"type":"integer","minimum":-128,"maximum":127}`},
		{whole, `{"type":"integer","minimum":-9223372036854775808,"maximum":9223372036854775807}`},
		{Type{Kind: KindInt, Bits: 64, Unsigned: true}, `{"type":"integer","minimum":0,"maximum":18446744073709551615}`},
		{Type{Kind: KindInt, Bits: 16, Unsigned: true}, `{"type":"integer","minimum":0,"maximum":65535}`},
		{Type{Kind: KindFloat, Bits: 64}, `{"type":"number"}`},
		{mustParse(t, "Any"), `{}`},
		{mustParse(t, "list[Any]"), `{"type":"array"}`},
		{mustParse(t, "dict"), `{"type":"object"}`},
		{mustParse(t, "dict[str, list[bool]]"), `{"type":"object","additionalProperties":{"type":"array","items":{"type":"boolean"}}}`},
		{mustParse(t, "Optional[str]"), `{"anyOf":[{"type":"string"},{"type":"null"}]}`},
		{mustParse(t, "int | datetime"), `{"anyOf":[{"type":"integer"},{"type":"string","format":"date-time"}]}`},
		{mustParse(t, `Literal[1, 'a"', None]`), `{"enum":[1,"a\"",null]}`},
		{Type{Kind: KindObject}, `{"type":"object","properties":{},"required":[],"additionalProperties":false}`},
	}
	for _, tt := range tests {
		if got := string(tt.typ.Schema()); got != tt.want {
			t.Errorf("Schema of %s\n got %s\nwant %s", tt.typ, got, tt.want)
		}
	}
}

func TestSpecSchema(t *testing.T) {
	spec := &Spec{Doc: "adds <two> \"numbers\"", Params: []Param{
		{Name: "y", Type: mustParse(t, "int"), Required: true},
		{Name: "any", Type: mustParse(t, "Any"), Default: json.RawMessage("null")},
		{Name: "p", Required: true, Type: Type{Kind: KindObject, Fields: []Param{{Name: "a", Type: mustParse(t, "str"), Default: json.RawMessage(`"x"`)}}}},
	}}
	want := `{"$schema":"https://json-schema.org/draft/2020-12/schema","description":"adds <two> \"numbers\"",` +
		`"type":"object","properties":{"y":{"type":"integer"},"any":{"default":null},` +
		`"p":{"type":"object","properties":{"a":{"type":"string","default":"x"}},"required":[],"additionalProperties":false}},` +
		`"required":["y","p"],"additionalProperties":false}`
	if got := string(spec.Schema()); got != want {
		t.Errorf("Schema\n got %s\nwant %s", got, want)
	}
}

// TestSchemaAgrees holds what the schema takes against what Check takes.
func TestSchemaAgrees(t *testing.T) {
	types := []string{"int", "float", "str", "bool", "list", "dict", "Any", "None", "list[int]", "dict[str, float]", "Optional[int]",
		"int | str", "Literal[1, 'a', True]", "list[Literal['a'] | None]", "datetime"}
	values := []string{"1", "2", "1.5", `"a"`, `"b"`, "true", "false", "null", "[]", "[1]", `["a",null]`, "{}", `{"k":1.5}`, `{"k":"v"}`,
		`"2024-02-29T12:00:00Z"`}
	for _, text := range types {
		spec := &Spec{Params: []Param{{Name: "x", Type: mustParse(t, text), Required: true}}}
		schema := decodeExact(t, spec.Schema())
		args := []string{"{}", `{"x":1,"y":1}`}
		for _, v := range values {
			args = append(args, `{"x":`+v+`}`)
		}
		for _, a := range args {
			got, want := meets(decodeExact(t, []byte(a)), schema), spec.Check(json.RawMessage(a)) == nil
			if got != want {
				t.Errorf("%s of x: %s meets the schema %s: %v, want %v", a, text, spec.Schema(), got, want)
			}
		}
	}
}

func decodeExact(t *testing.T, raw []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

// meets judges v by the keywords of JSON Schema that Schema writes.
func meets(v, schema any) bool {
	rules, isObject := schema.(map[string]any)
	if !isObject {
		return schema.(bool)
	}
	if want, ok := rules["type"]; ok && !hasType(v, want.(string)) {
		return false
	}
	if anyOf, ok := rules["anyOf"].([]any); ok && !slices.ContainsFunc(anyOf, func(s any) bool { return meets(v, s) }) {
		return false
	}
	if enum, ok := rules["enum"].([]any); ok && !slices.ContainsFunc(enum, func(e any) bool { return reflect.DeepEqual(v, e) }) {
		return false
	}
	if rules["format"] == "date-time" && !strings.HasSuffix(v.(string), "Z") {
		return false
	}
	if list, ok := v.([]any); ok && rules["items"] != nil {
		return !slices.ContainsFunc(list, func(e any) bool { return !meets(e, rules["items"]) })
	}
	object, ok := v.(map[string]any)
	if !ok {
		return true
	}
	if required, ok := rules["required"].([]any); ok && slices.ContainsFunc(required, func(name any) bool { _, ok := object[name.(string)]; return !ok }) {
		return false
	}
	properties, _ := rules["properties"].(map[string]any)
	for name, value := range object {
		rule, ok := properties[name]
		if !ok {
			rule = rules["additionalProperties"]
		}
		if rule != nil && !meets(value, rule) {
			return false
		}
	}
	return true
}

func hasType(v any, want string) bool {
	switch v := v.(type) {
	case json.Number:
		return want == "number" || want == "integer" && !strings.ContainsAny(string(v), ".eE")
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case []any:
		return want == "array"
	case map[string]any:
		return want == "object"
	}
	return want == "null"
}
