package python

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pytasks/taskpacks"
)

// The funcs of the pack typed return the repr of their arguments.
func TestArguments(t *testing.T) {
	p := mustOpen(t, "testdata/typed")
	tests := []struct{ name, args, want string }{
		{"plain", `{"a":1,"b":2,"c":"x","d":true,"e":[1,1.0],"f":{"k":null},"g":null,"h":1.0,"i":[],"j":{"a":1}}`,
			`(1, 2.0, 'x', True, [1, 1.0], {'k': None}, None, 1.0, [], {'a': 1})`},
		{"plain", `{"a":-0,"b":1e2,"c":"\ud800\u0000","d":false,"e":[],"f":{},"g":null,"h":null,"i":null,"j":12345678901234567890123}`,
			`(0, 100.0, '\ud800\x00', False, [], {}, None, None, None, 12345678901234567890123)`},
		{"defaults", `{"e":"x"}`, `(1, inf, (1, 2), <Color.RED: 'red'>, 'x', None)`},
		{"defaults", `{"a":5,"b":6,"c":[7],"d":"blue","e":"x","f":null}`, `(5, 6.0, (7,), <Color.BLUE: 'blue'>, 'x', None)`},
		{"lists", `{"a":[1,2.5],"b":[1],"c":[1],"d":[1,"red"],"e":[1],"f":[1,[2]],"g":[1]}`,
			`([1.0, 2.5], [1], [1.0], (1, <Color.RED: 'red'>), {1.0}, (1, [2]), [1])`},
		{"dicts", `{"a":{"x":1},"b":{"x":[1]},"c":{"x":1}}`, `({'x': 1.0}, {'x': [1.0]}, {'x': 1})`},
		{"unions", `{"a":1,"b":1,"c":1,"d":null,"e":"2024-02-29"}`, `(1, 1.0, 1.0, None, datetime.date(2024, 2, 29))`},
		{"unions", `{"a":1.0,"b":"x","c":null,"d":{"x":1},"e":"2024-02-29T12:00:00Z"}`,
			`(1.0, 'x', None, Point(x=1.0, y=0.0, tags=[], cached=0), '2024-02-29T12:00:00Z')`},
		{"unions", `{"a":1,"b":"x","c":null,"d":"red","e":"00000000-0000-0000-0000-000000000001"}`,
			`(1, 'x', None, <Color.RED: 'red'>, UUID('00000000-0000-0000-0000-000000000001'))`},
		{"unions", `{"a":1,"b":"x","c":null,"d":"green","e":""}`, `(1, 'x', None, 'green', '')`},
		{"literals", `{"a":1,"b":"blue","c":2,"d":"red"}`, `(1, <Color.BLUE: 'blue'>, <Level.HIGH: 2>, <Color.RED: 'red'>)`},
		{"records", `{"a":{"x":1,"tags":["t"]},"b":{"color":"red","scale":2},"c":{"value":1,"left":{"value":2,"left":{"value":3,"at":{"x":4}}}},"d":{"k":[{"x":1,"y":2}]}}`,
			`(Point(x=1.0, y=0.0, tags=['t'], cached=0), {'color': <Color.RED: 'red'>, 'scale': 2.0}, ` +
				`Tree(value=1.0, left=Tree(value=2.0, left=Tree(value=3.0, left=None, at=Point(x=4.0, y=0.0, tags=[], cached=0)), at=None), at=None), ` +
				`{'k': [Point(x=1.0, y=2.0, tags=[], cached=0)]})`},
		{"times", `{"a":"2024-02-29T12:00:00.5Z","b":"2024-02-29"}`,
			`(datetime.datetime(2024, 2, 29, 12, 0, 0, 500000, tzinfo=datetime.timezone.utc), datetime.date(2024, 2, 29))`},
		{"times", `{"a":"2024-02-29 12:00:00.1234567-01:30","b":"2024-02-29"}`,
			`(datetime.datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=81000))), datetime.date(2024, 2, 29))`},
		{"times", `{"a":"2024-02-29","b":"2024-02-29"}`, `(datetime.datetime(2024, 2, 29, 0, 0), datetime.date(2024, 2, 29))`},
		{"others", `{"a":"{00000000-0000-0000-0000-000000000001}","b":"/a//b","c":1}`,
			`('00000000-0000-0000-0000-000000000001', '/a/b', 1.0)`},
		{"quoted", `{"a":1,"b":1,"c":[1]}`, `(1, 1.0, [1], None)`},
	}
	for _, tt := range tests {
		if got := run(t.Context(), t, p, tt.name, tt.args, nil).text(t); got != tt.want {
			t.Errorf("%s(%s)\n got %s\nwant %s", tt.name, tt.args, got, tt.want)
		}
	}

	faults := []struct{ name, args, typ, message string }{
		{"others", `{"a":"x","b":"y","c":1}`, "ArgumentError", "the param a does not fit: badly formed hexadecimal UUID string"},
		{"others", `{"a":"","b":"y","c":1` + strings.Repeat("0", 400) + `}`, "ArgumentError", "the param a does not fit"},
		{"times", `{"a":"2024-02-29","b":"2024-02-29T00:00:00"}`, "ArgumentError", "the param b does not fit: '2024-02-29T00:00:00' is no date such as 2006-01-02"},
		{"lists", `{"a":[],"b":[],"c":[],"d":[1],"e":[],"f":[],"g":[]}`, "ArgumentError", "the param d does not fit: 1 values were passed, 2 are wanted"},
		{"records", `{"a":{"x":-1},"b":{},"c":{"value":1},"d":{}}`, "ArgumentError", "the param a does not fit: x is negative"},
		{"records", `{"a":{"x":1},"b":{},"c":{"value":1,"left":{"value":1,"left":{"worth":1}}},"d":{}}`, "ArgumentError", "the param c does not fit: "},
		{"lists", `{"a":[],"b":[],"c":[],"d":[1,"red"],"e":[],"f":` + strings.Repeat("[", 1500) + strings.Repeat("]", 1500) + `,"g":[]}`,
			"ArgumentError", "the arguments are nested too deeply"},
	}
	for _, tt := range faults {
		got := run(t.Context(), t, p, tt.name, tt.args, nil)
		if err := got.failure(t); err.Type != tt.typ || !strings.HasPrefix(err.Message, tt.message) || !taskpacks.IsPermanent(got.err) {
			t.Errorf("%s: permanent %v, %+v", tt.name, taskpacks.IsPermanent(got.err), err)
		} else if strings.Contains(tt.message, "negative") != strings.Contains(err.Traceback, "__post_init__") {
			t.Errorf("%s: traceback:\n%s", tt.name, err.Traceback)
		}
	}
}

func TestSignatures(t *testing.T) {
	p := mustOpen(t, "testdata/typed")
	got := map[string]string{}
	texts := map[string]string{}
	for i := range p.Funcs {
		for _, param := range p.Funcs[i].Params {
			name := strings.TrimPrefix(p.Funcs[i].Name, "typed.main.") + "." + param.Name
			texts[name] = param.Type.String()
			param.Type.Text = ""
			param.Name = ""
			text, err := json.Marshal(param)
			if err != nil {
				t.Fatal(err)
			}
			got[name] = strings.TrimPrefix(string(text), `{"name":"","type":`)
		}
	}
	point := `{"kind":"object","fields":[{"name":"x","type":{"kind":"float"},"required":true},{"name":"y","type":{"kind":"float"},"default":0.0},` +
		`{"name":"tags","type":{"kind":"list","of":{"kind":"str"},"text":"typing.List[str]"}}]`
	tests := []struct{ param, text, want string }{
		{"plain.a", "<class 'int'>", `{"kind":"int"},"required":true}`},
		{"plain.g", "None", `{"kind":"null"},"required":true}`},
		{"plain.h", "<class 'object'>", `{"kind":"any"},"required":true}`},
		{"plain.i", "typing.Any", `{"kind":"any"},"required":true}`},
		{"plain.j", "typing.Any", `{"kind":"any"},"required":true}`},
		{"defaults.a", "<class 'int'>", `{"kind":"int"},"default":1}`},
		{"defaults.b", "<class 'float'>", `{"kind":"float"}}`},
		{"defaults.c", "typing.Tuple[int, ...]", `{"kind":"list","of":{"kind":"int"}},"default":[1,2]}`},
		{"defaults.d", "<enum 'Color'>", `{"kind":"literal","values":["red","blue"]},"default":"red"}`},
		{"defaults.e", "<class 'str'>", `{"kind":"str"},"required":true}`},
		{"defaults.f", "typing.Optional[int]", `{"kind":"optional","of":{"kind":"int"}},"default":null}`},
		{"lists.a", "typing.List[float]", `{"kind":"list","of":{"kind":"float"}},"required":true}`},
		{"lists.b", "list[int]", `{"kind":"list","of":{"kind":"int"}},"required":true}`},
		{"lists.d", "", `{"kind":"list"},"required":true}`},
		{"lists.f", "<class 'tuple'>", `{"kind":"list"},"required":true}`},
		{"dicts.b", "typing.Mapping[str, typing.List[float]]", `{"kind":"dict","of":{"kind":"list","of":{"kind":"float"}}},"required":true}`},
		{"dicts.c", "typing.Dict[str, typing.Any]", `{"kind":"dict"},"required":true}`},
		{"unions.a", "typing.Union[int, float]", `{"kind":"union","any_of":[{"kind":"int"},{"kind":"float"}]},"required":true}`},
		{"unions.c", "typing.Optional[float]", `{"kind":"optional","of":{"kind":"float"}},"required":true}`},
		{"literals.a", "typing.Literal['x', 1, None]", `{"kind":"literal","values":["x",1,null]},"required":true}`},
		{"literals.c", "<enum 'Level'>", `{"kind":"literal","values":[1,2]},"required":true}`},
		{"records.a", "<class 'tasks.packs.typed.main.Point'>", point + `},"required":true}`},
		{"records.b", "<class 'tasks.packs.typed.main.Options'>", `{"kind":"object","fields":[` +
			`{"name":"color","type":{"kind":"literal","values":["red","blue"],"text":"\u003cenum 'Color'\u003e"}},` +
			`{"name":"scale","type":{"kind":"float"}}]},"required":true}`},
		{"records.c", "<class 'tasks.packs.typed.main.Tree'>", `{"kind":"object","fields":[{"name":"value","type":{"kind":"float"},"required":true},` +
			`{"name":"left","type":{"kind":"optional","of":{"kind":"dict"},"text":"typing.Optional[ForwardRef('Tree')]"},"default":null},` +
			`{"name":"at","type":{"kind":"optional","of":` + point + `},"text":"typing.Optional[tasks.packs.typed.main.Point]"},"default":null}]},"required":true}`},
		{"times.a", "<class 'datetime.datetime'>", `{"kind":"datetime"},"required":true}`},
		{"times.b", "<class 'datetime.date'>", `{"kind":"datetime"},"required":true}`},
		{"others.a", "<class 'uuid.UUID'>", `{"kind":"str"},"required":true}`},
		{"others.c", "", `{"kind":"float"},"required":true}`},
		{"quoted.a", "int", `{"kind":"int"},"required":true}`},
		{"quoted.c", "no such thing", `{"kind":"any"},"required":true}`},
		{"quoted.d", "Optional[Missing]", `{"kind":"any"},"default":null}`},
	}
	for _, tt := range tests {
		if got[tt.param] != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.param, got[tt.param], tt.want)
		}
		if tt.text != "" && texts[tt.param] != tt.text { // some differ among the versions of Python
			t.Errorf("%s is shown as %q, want %q", tt.param, texts[tt.param], tt.text)
		}
	}
}

// The annotations of a module under this import are texts; one that means nothing does not spoil the others.
func TestTextAnnotations(t *testing.T) {
	const main = `
from __future__ import annotations
import dataclasses
from typing import Annotated, NotRequired, Required, TypedDict
from pytasks import task

@dataclasses.dataclass
class Inner:
    x: float

class Row(TypedDict):
    inner: Annotated[Inner, "why"]
    next: NotRequired[Row]

class Loose(TypedDict, total=False):
    must: Required[int]
    may: int

@task
def f(a: int, b: Inner, c: list[float], d: float | None, e: Row, g: Loose) -> Missing:
    return repr((a, b, c, d, e, g))
`
	p, err := Open(t.Context(), options(t, folder(t, "texts", map[string]string{"main.py": main})))
	if old := (*ImportError)(nil); errors.As(err, &old) && old.Type == "ImportError" {
		t.Skip("this Python is too old for NotRequired")
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Funcs[0].Params[3].Type.String(); got != "float | None" {
		t.Errorf("d is shown as %q", got)
	}
	const args = `{"a":1,"b":{"x":2},"c":[3],"d":4,"e":{"inner":{"x":5},"next":{"inner":{"x":6}}},"g":`
	want := `(1, Inner(x=2.0), [3.0], 4.0, {'inner': Inner(x=5.0), 'next': {'inner': Inner(x=6.0)}}, {'must': 1})`
	if got := run(t.Context(), t, p, "f", args+`{"must":1}}`, nil).text(t); got != want {
		t.Errorf("f got %s, want %s", got, want)
	}
	if got := run(t.Context(), t, p, "f", args+`{"may":1}}`, nil); got.err == nil {
		t.Errorf("a Loose without what it must have was taken: %s", got.result)
	}
}

func TestResults(t *testing.T) {
	p := mustOpen(t, "testdata/typed")
	results := []struct{ what, want string }{
		{"tuple", `[1,2.0,null,true]`},
		{"keys", `{"1":"b","null":"c","1.5":"d"}`},
		{"float", `[5.0,1e+300,0.1]`},
		{"surrogate", `"\ud800\u00e9"`},
		{"dataclass", `{"x":{"x":1,"y":0.0,"tags":[],"cached":0}}`},
		{"enum", `["red",2]`},
		{"time", `["2024-01-02T00:00:00+00:00","2024-01-02"]`},
		{"text", `["00000000-0000-0000-0000-000000000001","/a"]`},
		{"fair", strings.Repeat("[", 400) + "0" + strings.Repeat("]", 400)},
	}
	for _, tt := range results {
		got := run(t.Context(), t, p, "returns", `{"what":"`+tt.what+`"}`, nil)
		if got.err != nil || got.result != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.what, got.result, got.err, tt.want)
		}
	}
	if got := run(t.Context(), t, p, "returns", `{"what":"big"}`, nil); len(got.result) != 5071 || !strings.HasSuffix(got.result, "0001") {
		t.Errorf("7**6000 = %s, %v", got.result, got.err)
	}

	failures := []struct{ what, want string }{
		{"nan", `result["a"][3] is nan`},
		{"inf", `result is -inf`},
		{"nankey", `result has the key nan: keys are texts or numbers`},
		{"set", `result.x is a set: return a list`},
		{"bytes", `result[0] is a bytes: return a str, base64 for example`},
		{"generator", `result is a generator: return a list`},
		{"function", `result is a function`},
		{"tuplekey", `result has the key (1, 2): keys are texts or numbers`},
		{"loop", `result["self"][0] contains itself`},
		{"deep", `it is nested too deeply`},
		{"decimal", `result is a Decimal: return a str or a float`},
		{"class", `result is a type`},
	}
	for _, tt := range failures {
		got := run(t.Context(), t, p, "returns", `{"what":"`+tt.what+`"}`, nil)
		want := "the result cannot be written as JSON: " + tt.want
		if err := got.failure(t); err.Type != "ResultError" || err.Message != want || !taskpacks.IsPermanent(got.err) {
			t.Errorf("%s: permanent %v, %+v; want %s", tt.what, taskpacks.IsPermanent(got.err), err, want)
		}
	}
}
