package node

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseValue(t *testing.T) {
	big := "123456789012345678901234567890"
	for _, tt := range []struct{ kind, text, want string }{ // want "" = refused
		{"<class 'int'>", "1", "1"},
		{"<class 'int'>", "-7", "-7"},
		{"<class 'int'>", "+7", "7"},
		{"<class 'int'>", "007", "7"},
		{"<class 'int'>", big, big},
		{"<class 'int'>", "1.0", ""},
		{"<class 'int'>", "1e3", ""},
		{"<class 'int'>", "true", ""},
		{"<class 'int'>", "", ""},
		{"<class 'float'>", "1", "1"},
		{"<class 'float'>", "1.50", "1.50"},
		{"<class 'float'>", "0.1234567890123456789", "0.1234567890123456789"},
		{"<class 'float'>", ".5", "0.5"},
		{"<class 'float'>", "nan", ""},
		{"<class 'float'>", "inf", ""},
		{"<class 'float'>", "abc", ""},
		{"<class 'bool'>", "true", "true"},
		{"<class 'bool'>", "1", ""},
		{"<class 'str'>", "1", `"1"`},
		{"<class 'str'>", "a b", `"a b"`},
		{"<class 'str'>", `say "x"`, `"say \"x\""`},
		{"<class 'str'>", `"quoted"`, `"quoted"`},
		{"<class 'str'>", `"half`, `"\"half"`},
		{"<class 'str'>", "", `""`},
		{"<class 'list'>", "[1, 2.0]", "[1, 2.0]"},
		{"<class 'list'>", "1,2", ""},
		{"<class 'list'>", `{"a":1}`, ""},
		{"<class 'dict'>", `{"a": [1]}`, `{"a": [1]}`},
		{"<class 'dict'>", "[]", ""},
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
		{"some.Class", "3", "3"},
	} {
		got, err := parseValue(tt.kind, tt.text)
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

func TestParseArgs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "v.json")
	if err := os.WriteFile(file, []byte("[1, 2]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	declared := map[string]string{"x": "<class 'int'>", "l": "<class 'list'>", "s": "<class 'str'>"}
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
	for _, tt := range []struct {
		texts []string
		want  string
	}{
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
