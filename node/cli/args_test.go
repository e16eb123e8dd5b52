package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pytasks/taskpacks"
)

func TestParseValue(t *testing.T) {
	big := "123456789012345678901234567890"
	for _, tt := range []struct{ kind, text, want string }{ // want "" = refused
		{"int", "1", "1"},
		{"int", "-7", "-7"},
		{"int", "+7", "7"},
		{"int", "007", "7"},
		{"int", big, big},
		{"int", "1.0", ""},
		{"int", "1e3", ""},
		{"int", "true", ""},
		{"int", "", ""},
		{"float", "1", "1"},
		{"float", "1.50", "1.50"},
		{"float", "0.1234567890123456789", "0.1234567890123456789"},
		{"float", ".5", "0.5"},
		{"float", "nan", ""},
		{"float", "inf", ""},
		{"float", "abc", ""},
		{"bool", "true", "true"},
		{"bool", "1", ""},
		{"str", "1", `"1"`},
		{"str", "a b", `"a b"`},
		{"str", `say "x"`, `"say \"x\""`},
		{"str", `"quoted"`, `"quoted"`},
		{"str", `"half`, `"\"half"`},
		{"str", "", `""`},
		{"list", "[1, 2.0]", "[1, 2.0]"},
		{"list", "1,2", ""},
		{"list", `{"a":1}`, ""},
		{"dict", `{"a": [1]}`, `{"a": [1]}`},
		{"dict", "[]", ""},
		{"list[int]", "[" + big + "]", "[" + big + "]"},
		{"typing.List[int]", "[1]", "[1]"},
		{"dict[str, list[int]]", `{"a":[1]}`, `{"a":[1]}`},
		{"typing.Optional[int]", "null", "null"},
		{"typing.Optional[int]", "5", "5"},
		{"typing.Optional[int]", "x", ""},
		{"int | float", "5", "5"},
		{"int | float", "5.0", "5.0"},
		{"str | None", "null", "null"},
		{"str | int", "5", "5"},
		{"str | int", "x", `"x"`},
		{"typing.Union[int, dict[str, int]]", `{"a":1}`, `{"a":1}`},
		{"typing.Any", `{"a":1}`, `{"a":1}`},
		{"typing.Any", "plain text", `"plain text"`},
		{"Literal['fast', 'slow', 3]", "fast", `"fast"`},
		{"Literal['fast', 'slow', 3]", `"slow"`, `"slow"`},
		{"Literal['fast', 'slow', 3]", "3", "3"},
		{"Literal['fast', 'slow', 3]", "4", ""},
		{"Literal['3', 'é']", "3", `"3"`},
		{"Literal['3', 'é']", "é", `"é"`},
		{"Literal['auto'] | int", "auto", `"auto"`},
		{"Literal['auto'] | int", "7", "7"},
		{"Optional[Literal['a']]", "null", "null"},
		{"Optional[list[float]]", "[1, 2.5]", "[1, 2.5]"},
		{"datetime", "2026-01-31", `"2026-01-31"`},
		{"datetime", "2026-01-31T12:00:00.5+01:00", `"2026-01-31T12:00:00.5+01:00"`},
		{"datetime", "2026-02-31", ""},
		{"datetime", "tomorrow", ""},
		{"datetime | str", "tomorrow", `"tomorrow"`},
	} {
		kind, err := taskpacks.ParseType(tt.kind)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseValue(schemaOf(t, kind), tt.text)
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s %q: got %s, want an error", tt.kind, tt.text, got)
			}
			continue
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%s %q: got %s, %v, want %s", tt.kind, tt.text, got, err, tt.want)
		}
		if err == nil && !json.Valid(got) {
			t.Errorf("%s %q: got %s, want valid JSON", tt.kind, tt.text, got)
		}
	}
}

func schemaOf(t *testing.T, kind taskpacks.Type) *paramSchema {
	t.Helper()
	s := &paramSchema{}
	if err := json.Unmarshal(kind.Schema(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestParsePhrase: who wrote what does not fit is told how to write it.
func TestParsePhrase(t *testing.T) {
	point := taskpacks.Type{Kind: taskpacks.KindObject, Fields: []taskpacks.Param{
		{Name: "x", Type: taskpacks.Type{Kind: taskpacks.KindFloat}, Required: true},
		{Name: "tags", Type: taskpacks.Type{Kind: taskpacks.KindList}},
	}}
	points := taskpacks.Type{Kind: taskpacks.KindList, Of: &point}
	for _, tt := range []struct {
		kind taskpacks.Type
		want string
	}{
		{point, `is a dict (JSON such as {"x": 1.5}), and "?" does not read as one`},
		{points, `is a list (JSON such as [{"x": 1.5}]), and`},
		{taskpacks.Type{Kind: taskpacks.KindOptional, Of: &points}, `is a list (JSON such as [{"x": 1.5}]) or null, and`},
		{taskpacks.Type{Kind: taskpacks.KindDatetime}, "is a datetime (such as 2006-01-02T15:04:05Z), and"},
		{taskpacks.Type{Kind: taskpacks.KindLiteral, Values: []json.RawMessage{[]byte(`"a"`), []byte("2")}}, `is one of "a", 2, and`},
	} {
		if _, err := parseValue(schemaOf(t, tt.kind), "?"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.kind.String(), err, tt.want)
		}
	}
}

func TestParseArgs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "v.json")
	if err := os.WriteFile(file, []byte("[1, 2]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	declared := map[string]*paramSchema{"x": {Type: "integer"}, "l": {Type: "array"}, "s": {Type: "string"}}
	got, err := parseArgs("p.main.f", declared, []string{"x=-3", "l=@" + file, "s=@@home=1"}, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"x": "-3", "l": "[1, 2]", "s": `"@home=1"`} {
		if string(got[name]) != want {
			t.Errorf("%s: got %s, want %s", name, got[name], want)
		}
	}
	if got, err = parseArgs("p.main.f", declared, []string{"s=-"}, strings.NewReader("in\nput\n")); err != nil || string(got["s"]) != `"in\nput"` {
		t.Errorf("standard input: got %s, %v, want its text without the last line break", got["s"], err)
	}
	whole := filepath.Join(t.TempDir(), "a=b.json")
	if err := os.WriteFile(whole, []byte(`{"x": 12345678901234567890, "s": "t"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, texts := range [][]string{{"@" + whole, "l=[]"}, {"l=[]", "-"}} {
		got, err := parseArgs("p.main.f", declared, texts, strings.NewReader(`{"x": 12345678901234567890, "s": "t"}`+"\n"))
		if text, _ := json.Marshal(got); err != nil || string(text) != `{"l":[],"s":"t","x":12345678901234567890}` {
			t.Errorf("%q: got %s, %v", texts, text, err)
		}
	}
	for _, tt := range []struct {
		texts []string
		want  string
	}{
		{[]string{"x=1", "@" + whole}, "x is given twice"},
		{[]string{"-"}, "-: \"1\" is not a JSON object"},
		{[]string{"-", "-"}, "not a JSON object"},
		{[]string{"s=-", "-"}, "read for s already"},
		{[]string{"@" + file}, "not a JSON object"},
		{[]string{"@/no/such/file"}, "no such file"},
		{[]string{"x"}, "not NAME=VALUE"},
		{[]string{"=1"}, "not NAME=VALUE"},
		{[]string{"q=1"}, "no parameter \"q\"; it has l, s, x"},
		{[]string{"x=1", "x=2"}, "given twice"},
		{[]string{"x=one"}, "x of p.main.f is an int"},
		{[]string{"l=@/no/such/file"}, "no such file"},
		{[]string{"s=-", "x=-"}, "read for s already"},
	} {
		_, err := parseArgs("p.main.f", declared, tt.texts, strings.NewReader("1"))
		var usage *usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want a usage error with %q", tt.texts, err, tt.want)
		}
	}
}
