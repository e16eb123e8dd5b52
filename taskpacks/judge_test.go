package taskpacks

import (
	"encoding/json"
	"errors"
	"testing"
)

// mustParse is for types that a test writes down.
func mustParse(t *testing.T, text string) Type {
	t.Helper()
	typ, err := ParseType(text)
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

func TestJudgeParsed(t *testing.T) {
	tests := []struct {
		typ  string
		fits []string
		not  []string
	}{
		{"None", []string{"null"}, []string{"0", `""`, "false"}},
		{"int | str", []string{"1", `"a"`}, []string{"1.0", "null", "[]"}},
		{"int | float", []string{"1", "1.0"}, []string{"true"}},
		{"list[int] | dict[str, bool] | None", []string{"[1]", `{"a":true}`, "null"}, []string{"[true]", `{"a":1}`}},
		{"Optional[list[int | str]]", []string{"null", `[1,"a"]`}, []string{`[1,null]`}},
		{"Literal[1, 1.5, 'é', True, None]",
			[]string{"1", "1.5", "1.50", "15e-1", `"é"`, `"\u00e9"`, "true", "null"},
			[]string{"1.0", "2", `"e"`, `"`, "false", `"1"`, "[]", "{}"}},
		{"Literal[0]", []string{"0", "-0"}, []string{"0.0", "-0.0", "1"}},
		{"Literal[1e400]", []string{"1e400"}, []string{"1e500", "1"}},
		{"list[Literal['a', 'b']]", []string{`["a","b","a"]`}, []string{`["a","c"]`}},
	}
	for _, tt := range tests {
		typ := mustParse(t, tt.typ)
		for _, v := range tt.fits {
			if m := typ.judge([]byte(v)); m != nil {
				t.Errorf("%s does not fit %s: %+v", v, tt.typ, m)
			}
		}
		for _, v := range tt.not {
			if m := typ.judge([]byte(v)); m == nil || m.code != CodeType {
				t.Errorf("%s in %s: got %+v, want code %q", v, tt.typ, m, CodeType)
			}
		}
	}
}

func TestJudgeDatetime(t *testing.T) {
	typ := Type{Kind: KindDatetime}
	for _, v := range []string{
		`"2024-02-29"`, `"2000-02-29"`, `"0001-01-01"`, `"9999-12-31T23:59:59.999999Z"`, `"2024-04-30T00:00:00"`,
		`"2024-02-29 12:00:00"`, `"2024-02-29T12:00:00.123456789+05:30"`, `"2024-02-29T12:00:00-00:00"`, `"2024\u002d02-29"`,
	} {
		if m := typ.judge([]byte(v)); m != nil {
			t.Errorf("%s is no datetime: %+v", v, m)
		}
	}
	for _, v := range []string{
		`""`, `"`, `1709208000`, `null`, `"2023-02-29"`, `"1900-02-29"`, `"0000-01-01"`, `"2024-13-01"`, `"2024-00-01"`, `"2024-04-31"`,
		`"2024-2-29"`, `"24-02-29"`, `"2024-02-29T"`, `"2024-02-29T12:00"`, `"2024-02-29T24:00:00"`, `"2024-02-29T12:60:00"`,
		`"2016-12-31T23:59:60Z"`, `"2024-02-29T12:00:00."`, `"2024-02-29T12:00:00.Z"`, `"2024-02-29T12:00:00z"`, `"2024-02-29T12:00:00+24:00"`,
		`"2024-02-29T12:00:00+0530"`, `"2024-02-29Z"`, `"2024-02-29T12:00:00Z "`, `" 2024-02-29"`, `"２024-02-29"`, `"2024-02-29T12:00:00ZZ"`,
	} {
		if typ.judge([]byte(v)) == nil {
			t.Errorf("%s fits a datetime", v)
		}
	}
}

// TestCheckInside says of what is wrong inside a value where it is, once for each param.
func TestCheckInside(t *testing.T) {
	point := Type{Kind: KindObject, Text: "<class 'p.main.Point'>", Fields: []Param{
		{Name: "x", Type: mustParse(t, "float"), Required: true},
		{Name: "y", Type: mustParse(t, "float"), Required: true},
		{Name: "tags", Type: mustParse(t, "list[str]"), Default: json.RawMessage("[]")},
		{Name: "size", Type: Type{Kind: KindInt, Bits: 8}},
	}}
	spec := &Spec{Params: []Param{
		{Name: "p", Type: point},
		{Name: "l", Type: Type{Kind: KindList, Of: &point}},
		{Name: "u", Type: mustParse(t, "list[int] | dict[str, str] | None")},
		{Name: "big", Type: Type{Kind: KindUnion, AnyOf: []Type{{Kind: KindInt, Bits: 8}, {Kind: KindStr}}}},
		{Name: "none", Type: Type{Kind: KindUnion}},
	}}
	const wantPoint = "<class 'p.main.Point'>"
	tests := []struct {
		args string
		want Fault // but for its message; zero = no fault
	}{
		{`{"p":{"x":1,"y":2.5}}`, Fault{}},
		{`{"p":{"size":7,"tags":["a"],"\u0079":2.5,"x":1}}`, Fault{}},
		{`{"p":{"x":1}}`, Fault{Param: "p", Code: CodeType, Got: "nothing at .y", Want: wantPoint}},
		{`{"p":{"x":1,"y":true,"z":1}}`, Fault{Param: "p", Code: CodeType, Got: "<class 'bool'> at .y", Want: wantPoint}},
		{`{"p":{"x":1,"y":1,"z":1}}`, Fault{Param: "p", Code: CodeType, Got: "a field that is not declared at .z", Want: wantPoint}},
		{`{"p":{"x":1,"y":1,"size":128}}`, Fault{Param: "p", Code: CodeRange, Got: "<class 'int'> at .size", Want: wantPoint}},
		{`{"p":[1,2]}`, Fault{Param: "p", Code: CodeType, Got: "<class 'list'>", Want: wantPoint}},
		{`{"l":[{"x":1,"y":1},{"x":1,"y":1,"tags":["a",1]}]}`,
			Fault{Param: "l", Code: CodeType, Got: "<class 'int'> at [1].tags[1]", Want: "list[p.main.Point]"}},
		{`{"u":5}`, Fault{Param: "u", Code: CodeType, Got: "<class 'int'>", Want: "list[int] | dict[str, str] | None"}},
		{`{"u":{"a":"b","c":1}}`, Fault{Param: "u", Code: CodeType, Got: "<class 'int'> at .c", Want: "list[int] | dict[str, str] | None"}},
		{`{"big":128}`, Fault{Param: "big", Code: CodeRange, Got: "<class 'int'>", Want: "int | str"}},
		{`{"none":1}`, Fault{Param: "none", Code: CodeType, Got: "<class 'int'>"}},
	}
	for _, tt := range tests {
		var got Fault
		if faults := (*FaultsError)(nil); errors.As(spec.Check(json.RawMessage(tt.args)), &faults) {
			if got = faults.Faults[0]; len(faults.Faults) != 1 {
				t.Errorf("Check(%s) finds %d faults, want 1: %+v", tt.args, len(faults.Faults), faults.Faults)
			}
		}
		got.Message = ""
		if got != tt.want {
			t.Errorf("Check(%s)\n got %+v\nwant %+v", tt.args, got, tt.want)
		}
	}
}

// TestObjectManyFields has more fields than are judged without allocating.
func TestObjectManyFields(t *testing.T) {
	typ := Type{Kind: KindObject}
	for _, c := range "abcdefghijklmnop" {
		typ.Fields = append(typ.Fields, Param{Name: string(c), Type: Type{Kind: KindInt}})
	}
	if m := typ.judge([]byte(`{"p":1,"a":2}`)); m != nil {
		t.Errorf("judge = %+v", m)
	}
	if m := typ.judge([]byte(`{"p":"1","a":2}`)); m == nil || m.at != ".p" {
		t.Errorf("judge = %+v, want a misfit at .p", m)
	}
}

func TestJudgeAllocates(t *testing.T) {
	typ := Type{Kind: KindObject, Fields: []Param{
		{Name: "at", Type: Type{Kind: KindDatetime}}, {Name: "of", Type: mustParse(t, "list[Literal['a', 'b']]")},
	}}
	value := []byte(`{"at":"2024-02-29T12:00:00Z","of":["b","a","b"]}`)
	if got := testing.AllocsPerRun(100, func() { typ.judge(value) }); got > 0 {
		t.Errorf("judge allocates %v times, want 0", got)
	}
}

func BenchmarkJudgeDatetime(b *testing.B) {
	typ, value := Type{Kind: KindDatetime}, []byte(`"2024-02-29T12:00:00.123456+01:00"`)
	b.ReportAllocs()
	for b.Loop() {
		if m := typ.judge(value); m != nil {
			b.Fatal(m)
		}
	}
}
