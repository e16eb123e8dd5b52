package taskpacks

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
)

// everything has a param of each supported kind.
type everything struct {
	I8      int8               `json:"i8"`
	U16     uint16             `json:"u16"`
	I       int                `json:"i"`
	I64     int64              `json:"i64"`
	Big     big.Int            `json:"big"`
	BigP    *big.Int           `json:"bigp"`
	F32     float32            `json:"f32"`
	F64     float64            `json:"f64"`
	Own     Float              `json:"own"`
	Number  json.Number        `json:"number"`
	S       string             `json:"s,omitempty"`
	B       bool               `json:"b"`
	List    []int64            `json:"list"`
	Anys    []any              `json:"anys"`
	Nested  [][]string         `json:"nested"`
	Raws    []json.RawMessage  `json:"raws"`
	Dict    map[string]float64 `json:"dict"`
	AnyDict map[string]any     `json:"anydict"`
	Struct  struct{ A int64 }  `json:"struct"`
	Any     any                `json:"any"`
	Raw     json.RawMessage    `json:"raw"`
	Time    time.Time          `json:"time"`
	Opt     *int64             `json:"opt"`
	OptList *[]bool            `json:"optlist"`
	Untagged,
	//lint:ignore U1000 unexported fields are no parameters
	hidden int
	Skipped chan int `json:"-"`
}

func same[A any](_ context.Context, in A) (A, error) { return in, nil }

func TestDefineParams(t *testing.T) {
	fn := Define("p.main.f", same[everything])
	want := []string{
		"i8 <class 'int'>", "u16 <class 'int'>", "i <class 'int'>", "i64 <class 'int'>", "big <class 'int'>", "bigp <class 'int'>",
		"f32 <class 'float'>", "f64 <class 'float'>", "own <class 'float'>", "number <class 'float'>", "s <class 'str'>", "b <class 'bool'>",
		"list list[int]", "anys <class 'list'>", "nested list[list[str]]", "raws <class 'list'>", "dict dict[str, float]",
		"anydict <class 'dict'>", "struct <class 'dict'>", "any typing.Any", "raw typing.Any", "time typing.Any",
		"opt? typing.Optional[int]", "optlist? typing.Optional[list[bool]]", "Untagged <class 'int'>",
	}
	var got []string
	for _, p := range fn.Params {
		mark := "?"
		if p.Required {
			mark = ""
		}
		got = append(got, p.Name+mark+" "+p.Type.String())
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("params\n got %q\nwant %q", got, want)
	}
}

// TestCallExact sends each kind through a func and back: what comes out is what went in, to the last digit.
func TestCallExact(t *testing.T) {
	fn := Define("p.main.f", same[everything])
	args := `{"i8":-128,"u16":65535,"i":7,"i64":9223372036854775807,"big":-1606938044258990275541962092341162602522202993782792835301376,` +
		`"bigp":1606938044258990275541962092341162602522202993782792835301376,"f32":0.5,"f64":2.5,"own":5.0,"number":1.10,"s":"<é\"\u2028>",` +
		`"b":true,"list":[1,-2],"anys":[1,1.0,1e2,100000000000000000001,{"a":[2.0]}],"nested":[["a"],[]],"raws":[1.0,null],` +
		`"dict":{"k":1.5},"anydict":{"a":1.0,"b":1},"struct":{"A":3},"any":{"z":1.0,"y":[1,9007199254740993]},"raw":{"b":1.00,"a":1},` +
		`"time":"2024-02-29T12:00:00Z","opt":null,"optlist":[true],"Untagged":4}`
	got, err := fn.Call(t.Context(), json.RawMessage(args))
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	// A map's keys come back sorted, a string with its escapes undone where JSON needs none.
	want := strings.NewReplacer(`"z":1.0,"y":[1,9007199254740993]`, `"y":[1,9007199254740993],"z":1.0`).Replace(args)
	if string(got) != want {
		t.Errorf("Call\n got %s\nwant %s", got, want)
	}
}

func TestCallArgs(t *testing.T) {
	type args struct {
		X int64           `json:"x"`
		Z float64         `json:"z" default:"1.5"`
		M map[string]int  `json:"m" default:"{\"a\":1}"`
		O *int            `json:"o" default:"3"`
		S struct{ A int } `json:"s" default:"{}"`
	}
	fn := Define("p.main.f", same[args])
	tests := []struct {
		args, want string // want: a result, or the beginning of an error
	}{
		{`{"x":1}`, `{"x":1,"z":1.5,"m":{"a":1},"o":3,"s":{"A":0}}`},
		{`{"x":1,"m":{"b":2},"z":2,"o":null}`, `{"x":1,"z":2,"m":{"b":2},"o":null,"s":{"A":0}}`},
		{`{"m":{"b":2},"x":1,"m":{"c":3},"x":2}`, `{"x":2,"z":1.5,"m":{"c":3},"o":3,"s":{"A":0}}`},
		{`{"\u0078":1,"X":2}`, `{"x":1,"z":1.5,"m":{"a":1},"o":3,"s":{"A":0}}`},
		{`{}`, `the required param x was not passed. `},
		{``, `the required param x was not passed. `},
		{`[]`, `the args must be a JSON object.`},
		{`{"x":1.0}`, `the passed param x doesnt match the required type: <class 'int'>.`},
		{`{"x":9223372036854775808}`, `the passed param x does not fit in 64 bits.`},
		{`{"x":1,"s":{"A":"a"}}`, `the passed param s doesnt match the required type: <class 'dict'>.`},
	}
	for range 2 { // the second call must not see what the first one did to a default
		for _, tt := range tests {
			result, err := fn.Call(t.Context(), json.RawMessage(tt.args))
			got := string(result)
			if err != nil {
				got = err.Error()
				if !IsPermanent(err) || ErrorType(err) != "FaultsError" {
					t.Errorf("Call(%s) fails with %s, permanent %v; want a permanent FaultsError", tt.args, ErrorType(err), IsPermanent(err))
				}
			}
			if got != tt.want {
				t.Errorf("Call(%s)\n got %s\nwant %s", tt.args, got, tt.want)
			}
		}
	}
}

// TestCallWithoutParams: a func that asks for nothing still refuses what is no object.
func TestCallWithoutParams(t *testing.T) {
	fn := Define("p.main.f", same[empty])
	for args, wantErr := range map[string]bool{``: false, `{}`: false, `{"x":1}`: false, `[]`: true, `null`: true} {
		if _, err := fn.Call(t.Context(), json.RawMessage(args)); (err != nil) != wantErr {
			t.Errorf("Call(%s) = %v, want an error: %v", args, err, wantErr)
		}
	}
}

// TestCallKeepsArgs changes the arguments' bytes after the call, as a caller who reuses its buffer does.
func TestCallKeepsArgs(t *testing.T) {
	type args struct {
		V json.RawMessage `json:"v"`
		S string          `json:"s"`
	}
	var kept args
	fn := Define("p.main.f", func(_ context.Context, in args) (any, error) { kept = in; return nil, nil })
	buf := []byte(`{"v":[1],"s":"a"}`)
	if _, err := fn.Call(t.Context(), buf); err != nil {
		t.Fatal(err)
	}
	clear(buf)
	if string(kept.V) != "[1]" || kept.S != "a" {
		t.Errorf("after the call the func holds %q and %q, want [1] and a", kept.V, kept.S)
	}
}

type recursive []recursive

type empty struct{}

func TestDefinePanics(t *testing.T) {
	tests := []struct {
		define func()
		want   string
	}{
		{define[int], "the arguments must be a struct, not int"},
		{define[*empty], "the arguments must be a struct"},
		{define[struct{ C chan int }], "field C: the type chan int is not supported"},
		{define[struct{ M map[int]string }], "field M: the type map[int]string is not supported: the keys"},
		{define[struct{ L [][2]int }], "field L: the type [2]int is not supported"},
		{define[struct{ B []byte }], "field B: the type []uint8 is not supported: use string"},
		{define[struct{ R recursive }], "nested too deeply"},
		{define[struct{ E error }], "field E: the type error is not supported"},
		{define[struct{ empty }], "field empty is embedded"},
		{define[struct {
			A int
			B int `json:"A"`
		}], "field B: the param A is there twice"},
		{define[struct {
			S string `default:"text"`
		}], "field S: the default text is no JSON"},
		{define[struct {
			N int8 `default:"300"`
		}], "field N: the default 300 does not fit the type <class 'int'>"},
		{define[struct {
			S struct{ A int } `default:"{\"A\":true}"`
		}], "does not fit"},
		{func() { Define("p.main.f", func(context.Context, empty) (func(), error) { return nil, nil }) }, "a result of kind func"},
	}
	for _, tt := range tests {
		got := func() (got any) {
			defer func() { got = recover() }()
			tt.define()
			return nil
		}()
		text, _ := got.(string)
		if !strings.HasPrefix(text, "taskpacks.Define: p.main.f: ") || !strings.Contains(text, tt.want) {
			t.Errorf("Define panics with %v, want %q in it", got, tt.want)
		}
	}
}

func define[A any]() {
	Define("p.main.f", func(context.Context, A) (any, error) { return nil, nil })
}

func TestResult(t *testing.T) {
	tests := []struct {
		result any
		want   string // a result, or the text of a *ResultError after its first words
	}{
		{nil, "null"}, {5, "5"}, {int64(-7), "-7"}, {true, "true"}, {"<a>", `"<a>"`}, {uint64(math.MaxUint64), "18446744073709551615"},
		{5.0, "5.0"}, {float32(0.1), "0.1"}, {Float(1e16), "1e+16"}, {big.NewInt(12), "12"}, {(*big.Int)(nil), "null"},
		{[]Float{1, 2.5}, "[1.0,2.5]"}, {struct{}{}, "{}"}, {[]int(nil), "null"},
		{json.RawMessage(`{"a":1.0}`), `{"a":1.0}`}, {json.RawMessage(nil), "null"}, {json.RawMessage(`{"a":`), "the raw message is no valid JSON"},
		{math.NaN(), "NaN is no JSON number"}, {math.Inf(-1), "-Inf is no JSON number"}, {[]float64{math.Inf(1)}, "json: unsupported value: +Inf"},
		{map[string]Float{"a": Float(math.NaN())}, "NaN is no JSON number"}, {[]any{make(chan int)}, "json: unsupported type: chan int"},
	}
	for _, tt := range tests {
		fn := Define("p.main.f", func(context.Context, empty) (any, error) { return tt.result, nil })
		result, err := fn.Call(t.Context(), nil)
		if err == nil {
			if string(result) != tt.want {
				t.Errorf("result %#v is written %s, want %s", tt.result, result, tt.want)
			}
			continue
		}
		if !strings.HasPrefix(err.Error(), "the result cannot be written as JSON: ") || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("result %#v fails with %q, want %q at the end", tt.result, err, tt.want)
		}
		if ErrorType(err) != "ResultError" || !IsPermanent(err) {
			t.Errorf("result %#v fails with %s, permanent %v; want a permanent ResultError", tt.result, ErrorType(err), IsPermanent(err))
		}
	}
}

func TestResultOfValue(t *testing.T) {
	fn := Define("p.main.f", func(context.Context, empty) (big.Int, error) { return *big.NewInt(12), nil })
	if got, err := fn.Call(t.Context(), nil); string(got) != "12" || err != nil {
		t.Errorf("a big.Int that is no pointer is written %s, %v; want 12", got, err)
	}
}

func TestAppendFloat(t *testing.T) {
	tests := []struct {
		f    float64
		want string
	}{
		{0, "0.0"}, {math.Copysign(0, -1), "-0.0"}, {5, "5.0"}, {-1.25, "-1.25"}, {0.1, "0.1"}, {1e-4, "0.0001"}, {1e-5, "1e-05"}, {123456789012345.6, "123456789012345.6"},
		{1e15, "1000000000000000.0"}, {1e16, "1e+16"}, {1.5e300, "1.5e+300"}, {5e-324, "5e-324"}, {math.MaxFloat64, "1.7976931348623157e+308"},
	}
	for _, tt := range tests {
		if got, err := AppendFloat([]byte("x"), tt.f); string(got) != "x"+tt.want || err != nil {
			t.Errorf("AppendFloat(%v) = %s, %v; want x%s", tt.f, got, err, tt.want)
		}
	}
}

func TestOptions(t *testing.T) {
	fn := Define("p.main.f", same[empty], Protected(), Timeout(time.Minute), MaxAttempts(2), Doc("text"))
	want := Spec{Name: "p.main.f", Params: []Param{}, Protected: true, Timeout: time.Minute, MaxAttempts: 2, Doc: "text"}
	if !reflect.DeepEqual(fn.Spec, want) {
		t.Errorf("spec = %+v, want %+v", fn.Spec, want)
	}
}

func TestCallFrom(t *testing.T) {
	want := Call{ID: "1", Attempt: 2, Node: "a"}
	var got Call
	fn := Define("p.main.f", func(ctx context.Context, _ empty) (any, error) {
		var ok bool
		if got, ok = CallFrom(ctx); !ok {
			return nil, errors.New("no call in the context")
		}
		return nil, nil
	})
	if _, err := fn.Call(t.Context(), nil); err == nil {
		t.Error("CallFrom finds a call in a context without one")
	}
	if _, err := fn.Call(WithCall(t.Context(), want), nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("CallFrom = %+v, %v; want %+v", got, err, want)
	}
}

func BenchmarkCall(b *testing.B) {
	type args struct{ X, Y big.Int }
	fn := Define("p.main.f", func(_ context.Context, in args) (*big.Int, error) { return in.X.Add(&in.X, &in.Y), nil })
	raw := json.RawMessage(`{"X":1,"Y":2}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fn.Call(b.Context(), raw); err != nil {
			b.Fatal(err)
		}
	}
}
