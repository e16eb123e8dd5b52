package taskpacks

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestTypeString(t *testing.T) {
	whole, list := Type{Kind: KindInt, Bits: 64}, Type{Kind: KindList}
	listOfInt := Type{Kind: KindList, Of: &whole}
	tests := []struct {
		typ  Type
		want string
	}{
		{whole, "<class 'int'>"},
		{Type{Kind: KindFloat}, "<class 'float'>"},
		{Type{Kind: KindStr}, "<class 'str'>"},
		{Type{Kind: KindBool}, "<class 'bool'>"},
		{list, "<class 'list'>"},
		{Type{Kind: KindDict}, "<class 'dict'>"},
		{Type{Kind: KindAny}, "typing.Any"},
		{listOfInt, "list[int]"},
		{Type{Kind: KindDict, Of: &listOfInt}, "dict[str, list[int]]"},
		{Type{Kind: KindOptional, Of: &whole}, "typing.Optional[int]"},
		{Type{Kind: KindOptional, Of: &list}, "typing.Optional[list]"},
		{Type{Kind: KindList, Of: &whole, Text: "<class 'list'>"}, "<class 'list'>"},
	}
	for _, tt := range tests {
		if got := tt.typ.String(); got != tt.want {
			t.Errorf("String() = %q, want %q", got, tt.want)
		}
	}
}

// TestJudge holds every kind of value against every kind of type.
func TestJudge(t *testing.T) {
	values := []string{`1`, `-0`, `1606938044258990275541962092341162602522202993782792835301376`, `1.0`, `1e2`, `-2.5E-1`,
		`true`, `"x"`, `[]`, `{}`, `null`}
	tests := []struct {
		typ  Type
		fits string // of values
	}{
		{Type{Kind: KindInt}, `1 -0 1606938044258990275541962092341162602522202993782792835301376`},
		{Type{Kind: KindInt, Bits: 64}, `1 -0`},
		{Type{Kind: KindFloat}, `1 -0 1606938044258990275541962092341162602522202993782792835301376 1.0 1e2 -2.5E-1`},
		{Type{Kind: KindStr}, `"x"`},
		{Type{Kind: KindBool}, `true`},
		{Type{Kind: KindList}, `[]`},
		{Type{Kind: KindDict}, `{}`},
		{Type{Kind: KindOptional, Of: &Type{Kind: KindBool}}, `true null`},
		{Type{Kind: KindAny}, strings.Join(values, " ")},
	}
	for _, tt := range tests {
		for _, v := range values {
			want := strings.Contains(" "+tt.fits+" ", " "+v+" ")
			if got := tt.typ.judge([]byte(v)) == nil; got != want {
				t.Errorf("%s fits %s (%d bits): %v, want %v", v, tt.typ, tt.typ.Bits, got, want)
			}
		}
	}
}

func TestJudgeBits(t *testing.T) {
	tests := []struct {
		typ  Type
		fits []string
		not  []string
	}{
		{Type{Kind: KindInt, Bits: 64}, []string{"9223372036854775807", "-9223372036854775808"}, []string{"9223372036854775808"}},
		{Type{Kind: KindInt, Bits: 8}, []string{"-128", "127"}, []string{"128", "-129"}},
		{Type{Kind: KindInt, Bits: 64, Unsigned: true}, []string{"0", "-0", "18446744073709551615"}, []string{"-1", "18446744073709551616"}},
		{Type{Kind: KindFloat, Bits: 64}, []string{"1e308", "1e-400", "5"}, []string{"1e309", "-1e400"}},
		{Type{Kind: KindFloat, Bits: 32}, []string{"1e38"}, []string{"1e39"}},
		{Type{Kind: KindFloat}, []string{"1e400"}, nil},
	}
	for _, tt := range tests {
		for _, v := range tt.fits {
			if m := tt.typ.judge([]byte(v)); m != nil {
				t.Errorf("%s does not fit %+v: %+v", v, tt.typ, m)
			}
		}
		for _, v := range tt.not {
			if m := tt.typ.judge([]byte(v)); m == nil || m.code != CodeRange {
				t.Errorf("%s in %+v: got %+v, want code %q", v, tt.typ, m, CodeRange)
			}
		}
	}
}

func testSpec() *Spec {
	whole := &Type{Kind: KindInt, Bits: 64}
	return &Spec{Name: "p.main.f", Params: []Param{
		{Name: "x", Type: *whole, Required: true},
		{Name: "y", Type: Type{Kind: KindFloat}, Required: true},
		{Name: "l", Type: Type{Kind: KindList, Of: whole}, Default: json.RawMessage("[1]")},
		{Name: "d", Type: Type{Kind: KindDict, Of: &Type{Kind: KindList, Of: &Type{Kind: KindStr}}}},
		{Name: "été", Type: Type{Kind: KindOptional, Of: whole}},
	}}
}

func TestCheck(t *testing.T) {
	const wantInt, wantFloat = "<class 'int'>", "<class 'float'>"
	tests := []struct {
		args string
		want []Fault
	}{
		{`{"x":1,"y":2}`, nil},
		{` { "y" : 1e400 , "x" : -0 } `, nil},
		{`{"x":1,"y":2.0,"l":[],"d":{"k":["v"]},"été":null}`, nil},
		{`{"\u0078":1,"y":2,"\u00e9t\u00e9":7}`, nil},
		{`{"x":true,"y":2,"x":1}`, nil}, // the last one counts
		{`{"x":1,"y":2,"x":true}`, []Fault{{"x", CodeType, "the passed param x doesnt match the required type: <class 'int'>.", "<class 'bool'>", wantInt}}},
		{`{}`, []Fault{
			{"x", CodeMissing, "the required param x was not passed. ", "", wantInt},
			{"y", CodeMissing, "the required param y was not passed. ", "", wantFloat}}},
		{``, []Fault{
			{"x", CodeMissing, "the required param x was not passed. ", "", wantInt},
			{"y", CodeMissing, "the required param y was not passed. ", "", wantFloat}}},
		{`{"b":1,"a":[2,{"x":1}],"b":2,"y":null,"X":1}`, []Fault{
			{"x", CodeMissing, "the required param x was not passed. ", "", wantInt},
			{"y", CodeType, "the passed param y doesnt match the required type: <class 'float'>.", "<class 'NoneType'>", wantFloat},
			{"b", CodeUnknown, "the passed param b is not required.", "", ""},
			{"a", CodeUnknown, "the passed param a is not required.", "", ""},
			{"X", CodeUnknown, "the passed param X is not required.", "", ""}}},
		{`{"x":9223372036854775808,"y":1,"l":[1,2.0],"d":{"k":["a",[]]}}`, []Fault{
			{"x", CodeRange, "the passed param x does not fit in 64 bits.", wantInt, wantInt},
			{"l", CodeType, "the passed param l doesnt match the required type: list[int].", "<class 'float'> at [1]", "list[int]"},
			{"d", CodeType, "the passed param d doesnt match the required type: dict[str, list[str]].", "<class 'list'> at .k[1]", "dict[str, list[str]]"}}},
		{`null`, []Fault{{"", CodeArgs, "the args must be a JSON object.", "", "<class 'dict'>"}}},
		{`[["x",1]]`, []Fault{{"", CodeArgs, "the args must be a JSON object.", "", "<class 'dict'>"}}},
	}
	for _, tt := range tests {
		var got []Fault
		if err := testSpec().Check(json.RawMessage(tt.args)); err != nil {
			var faults *FaultsError
			if !errors.As(err, &faults) {
				t.Fatalf("Check(%s) = %T, want *FaultsError", tt.args, err)
			}
			got = faults.Faults
			if err.Error() != got[0].Message {
				t.Errorf("Check(%s).Error() = %q, want the first message %q", tt.args, err, got[0].Message)
			}
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Check(%s)\n got %+v\nwant %+v", tt.args, got, tt.want)
		}
	}
}

// TestCheckManyUnknown sends more undeclared params than are worth listing.
func TestCheckManyUnknown(t *testing.T) {
	var args strings.Builder
	args.WriteString(`{"x":1,"y":2`)
	for i := range 100_000 {
		fmt.Fprintf(&args, `,"u%d":0`, i)
	}
	args.WriteString("}")
	var faults *FaultsError
	if err := testSpec().Check(json.RawMessage(args.String())); !errors.As(err, &faults) || len(faults.Faults) != maxUnknown {
		t.Errorf("Check = %v, want %d faults", err, maxUnknown)
	}
}

// TestCheckManyParams has more params than are checked without allocating.
func TestCheckManyParams(t *testing.T) {
	spec := &Spec{}
	var args []string
	for i := range 3 * inlineParams {
		name := fmt.Sprintf("p%d", i)
		spec.Params = append(spec.Params, Param{Name: name, Type: Type{Kind: KindInt}, Required: true})
		args = append([]string{fmt.Sprintf("%q:%d", name, i)}, args...)
	}
	if err := spec.Check(json.RawMessage("{" + strings.Join(args, ",") + "}")); err != nil {
		t.Errorf("Check = %v", err)
	}
	if err := spec.Check(json.RawMessage("{" + strings.Join(args[1:], ",") + "}")); err == nil {
		t.Error("Check misses no param, though the last one is absent")
	}
}

func TestSpecTravels(t *testing.T) {
	want := testSpec()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Spec
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(&got, want) {
		t.Errorf("through JSON: %v\n got %+v\nwant %+v", err, &got, want)
	}
}

func TestCheckAllocates(t *testing.T) {
	spec, args := testSpec(), json.RawMessage(`{"x":1,"y":2}`)
	if got := testing.AllocsPerRun(100, func() { _ = spec.Check(args) }); got > 0 {
		t.Errorf("Check allocates %v times, want 0", got)
	}
}

func BenchmarkCheck(b *testing.B) {
	spec, args := testSpec(), json.RawMessage(`{"x":1,"y":2}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := spec.Check(args); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDepth(b *testing.B) {
	raw := []byte(`{"type":"test.main.add","args":{"x":1,"y":2}}`)
	b.ReportAllocs()
	for b.Loop() {
		Depth(raw)
	}
}
