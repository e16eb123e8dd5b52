package taskpacks

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

func TestDepth(t *testing.T) {
	tests := []struct {
		raw  string
		want int
	}{
		{``, 0}, {`5`, 0}, {`"[[["`, 0}, {`[]`, 1}, {`{"a":[1,{"b":2}]}`, 3}, {`[[1],[[2]],3]`, 3},
		{`["\"[", 1]`, 1}, {`"unclosed [`, 0},
		{strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), 100_000},
	}
	for _, tt := range tests {
		if got := Depth([]byte(tt.raw)); got != tt.want {
			t.Errorf("Depth(%.40s) = %d, want %d", tt.raw, got, tt.want)
		}
	}
}

func TestMembers(t *testing.T) {
	raw := []byte(` { "a" : [1, {"b": "]"}] ,"\u0062":"\"}" , "c": -1.5e3}`)
	want := [][2]string{{"a", `[1, {"b": "]"}]`}, {"b", `"\"}"`}, {"c", `-1.5e3`}}
	walk, ok := membersOf(raw)
	if !ok {
		t.Fatalf("membersOf(%s) says it is no object", raw)
	}
	for _, w := range want {
		key, value, ok := walk.next()
		if got := [2]string{unescape(key), string(value.of(raw))}; !ok || got != w {
			t.Errorf("next() = %q, %v; want %q", got, ok, w)
		}
	}
	if key, _, ok := walk.next(); ok {
		t.Errorf("next() after the last member gives %q", key)
	}
}

// FuzzCheck looks for arguments that make the scanner panic or run for ever, and holds its verdict on valid JSON against one
// reached by way of encoding/json.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		`{"x":1,"y":2}`, `{"x":1.0}`, `{"x":1,"x":true,"y":null}`, `{"\u0078":-0,"y":[1,2,{"a":"]"}]}`, `{"d":{"a":{"b":1}},"x":1}`,
		`{`, `{"`, `{"x"`, `{"x":`, `{"x":"`, `{"x":"\`, `{"x":,}`, `{"x":1,,"y"}`, `[]`, `null`, ``, `{"x":1}}`, "{\"\xff\":1}", `{"y":[`, `{"y":["`,
		`{"x":99999999999999999999}`, `{"x":1e400,"o":null,"o":1}`, `{"s":"\ud800","x":1}`, `{"é":1,"\u00e9":2}`,
	} {
		f.Add([]byte(seed))
	}
	type args struct {
		X int64              `json:"x"`
		Y []float64          `json:"y" default:"[]"`
		D map[string]float64 `json:"d" default:"{}"`
		S string             `json:"s" default:"\"\""`
		O *bool              `json:"o"`
	}
	fn := Define("p.main.f", func(_ context.Context, in args) (int64, error) { return in.X, nil })
	f.Fuzz(func(t *testing.T, raw []byte) {
		Depth(raw)
		err := fn.Check(raw)
		_, callErr := fn.Call(t.Context(), raw)
		if !json.Valid(raw) {
			return
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil || members == nil {
			if err == nil {
				t.Errorf("Check(%q) = nil for what is no object", raw)
			}
			return
		}
		want := members["x"] != nil && fitsGo[int64](members["x"]) && (members["y"] == nil || fitsGo[[]float64](members["y"])) &&
			(members["d"] == nil || fitsGo[map[string]float64](members["d"])) && (members["s"] == nil || fitsGo[string](members["s"])) &&
			(members["o"] == nil || string(members["o"]) == "null" || fitsGo[bool](members["o"]))
		for name := range members {
			want = want && strings.Contains(" x y d s o ", " "+name+" ")
		}
		if got := err == nil; got != want {
			t.Errorf("Check(%q) = %v, want a fit: %v", raw, err, want)
		}
		if err == nil && callErr != nil {
			t.Errorf("Call(%q) = %v, though Check found no fault", raw, callErr)
		}
	})
}

// fitsGo reports whether encoding/json decodes raw into a T without taking a null, at any place, for a zero.
func fitsGo[T any](raw []byte) bool {
	var v T
	var pointers any
	switch any(v).(type) {
	case []float64:
		pointers = new([]*float64)
	case map[string]float64:
		pointers = new(map[string]*float64)
	}
	if json.Unmarshal(raw, &v) != nil || string(raw) == "null" {
		return false
	}
	if pointers == nil {
		return true
	}
	if json.Unmarshal(raw, pointers) != nil {
		return false
	}
	switch p := pointers.(type) {
	case *[]*float64:
		for _, e := range *p {
			if e == nil {
				return false
			}
		}
	case *map[string]*float64:
		for _, e := range *p {
			if e == nil {
				return false
			}
		}
	}
	return true
}
