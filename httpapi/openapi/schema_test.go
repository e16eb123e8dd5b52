package openapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

type lengthOf struct{}

func (lengthOf) JSONSchema() string { return `{"type":["number","string"],"description":"A length."}` }

type innerView struct {
	Deep []innerView `json:"deep,omitempty"`
}

type base struct {
	ID string `json:"id" doc:"Its name."`
}

type thingView struct {
	base
	Hidden string           `json:"-"`
	Kind   string           `json:"kind" enum:"a,b"`
	At     time.Time        `json:"at"`
	Raw    json.RawMessage  `json:"raw,omitempty"`
	Maybe  *innerView       `json:"maybe" doc:"Or null."`
	Absent *float64         `json:"absent,omitempty"`
	Counts map[string]uint8 `json:"counts" required:"true"`
	Length lengthOf         `json:"length,omitempty"`
	Flag   bool             `json:"flag,omitempty"`
	_      int
}

func TestSchemas(t *testing.T) {
	var s Schemas
	if got := textOf(t, s.Of([]thingView{})); got != `{"type":"array","items":{"$ref":"#/components/schemas/Thing"}}` {
		t.Errorf("got %s", got)
	}
	want := `{"Thing":{"type":"object","properties":{"id":{"type":"string","description":"Its name."},"kind":{"type":"string","enum":["a","b"]},` +
		`"at":{"type":"string","format":"date-time"},"raw":{},"maybe":{"anyOf":[{"$ref":"#/components/schemas/Inner"},{"type":"null"}],"description":"Or null."},` +
		`"absent":{"type":"number"},"counts":{"type":"object","additionalProperties":{"type":"integer","minimum":0}},` +
		`"length":{"type":["number","string"],"description":"A length."},"flag":{"type":"boolean"}},"required":["id","kind","at","maybe","counts"]},` +
		`"Inner":{"type":"object","properties":{"deep":{"type":"array","items":{"$ref":"#/components/schemas/Inner"}}}}}`
	if got := textOf(t, s.named); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	var taken Schemas // what is read: nothing is required but what says so, and null is not said to be taken
	taken.Taken(thingView{})
	if got := textOf(t, taken.named.Get("Thing").(Object).Get("required")); got != `["counts"]` {
		t.Errorf("a request needs %s", got)
	}
	if got := textOf(t, taken.Taken(struct {
		A int `json:"a"`
	}{})); got != `{"type":"object","properties":{"a":{"type":"integer"}}}` {
		t.Errorf("got %s", got)
	}
}

// TestSchemasClash: two types of one name are a fault of this program.
func TestSchemasClash(t *testing.T) {
	type Thing struct{}
	defer func() {
		if v := recover(); v == nil || !strings.Contains(v.(string), "would both be called Thing") {
			t.Errorf("got %v", v)
		}
	}()
	var s Schemas
	s.Of(thingView{})
	s.Of(Thing{})
}

// TestOlder: Swagger 2.0 has fewer words, and what is left out makes it take more.
func TestOlder(t *testing.T) {
	for given, want := range map[string]string{
		`{"$ref":"#/components/schemas/A"}`:                     `{"$ref":"#/definitions/A"}`,
		`{"type":["integer","null"],"minimum":1}`:               `{"type":"integer","x-nullable":true,"minimum":1}`,
		`{"type":["number","string","null"],"description":"d"}`: `{"description":"d"}`,
		`{"anyOf":[{"type":"string"},{"type":"null"}]}`:         `{"type":"string","x-nullable":true}`,
		`{"anyOf":[{"type":"string"},{"type":"integer"}]}`:      `{}`,
		`{"type":"null"}`:           `{}`,
		`{"const":1,"$schema":"x"}`: `{}`,
		`{"properties":{"anyOf":{"const":1},"type":{"type":"null"}},"required":[]}`:                `{"properties":{"anyOf":{},"type":{}}}`,
		`{"enum":[{"const":1}],"default":{"type":["a"]}}`:                                          `{"enum":[{"const":1}],"default":{"type":["a"]}}`,
		`{"items":{"anyOf":[]},"additionalProperties":{"const":1},"maximum":18446744073709551615}`: `{"items":{},"additionalProperties":{},"maximum":18446744073709551615}`,
		`{"additionalProperties":false,"required":["a"]}`:                                          `{"additionalProperties":false,"required":["a"]}`,
	} {
		if got := textOf(t, older(MustParse(given))); got != want {
			t.Errorf("%s\n got %s\nwant %s", given, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{`{"b":1.0,"a":[true,null,"<\u001f\"\\é>"],"c":{}}`, `[]`, `12345678901234567890123`, `""`} {
		v, err := Parse([]byte(text))
		if err != nil || textOf(t, v) != text {
			t.Errorf("%s becomes %s, %v", text, textOf(t, v), err)
		}
	}
	for _, text := range []string{``, `{`, `{"a"`, `[1`, `{"a":}`, `1 2`} {
		if v, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s is read as %v", text, v)
		}
	}
}

func textOf(t *testing.T, v any) string {
	t.Helper()
	text, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
