package taskpacks

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseType(t *testing.T) {
	tests := []struct{ text, want string }{
		{"int", "<class 'int'>"},
		{" float ", "<class 'float'>"},
		{"str", "<class 'str'>"},
		{"bool", "<class 'bool'>"},
		{"list", "<class 'list'>"},
		{"dict", "<class 'dict'>"},
		{"any", "typing.Any"},
		{"typing.Any", "typing.Any"},
		{"None", "None"},
		{"datetime", "<class 'datetime.datetime'>"},
		{"list[datetime.datetime]", "list[datetime.datetime]"},
		{"typing.List[ int ]", "list[int]"},
		{"list[Any]", "list[typing.Any]"},
		{"dict[str,list[float]]", "dict[str, list[float]]"},
		{"Optional[int]", "typing.Optional[int]"},
		{"int | None", "typing.Optional[int]"},
		{"None|list[str]", "typing.Optional[list[str]]"},
		{"Optional[int | float]", "int | float | None"},
		{"Union[int, Optional[str]] | int", "int | str | None"},
		{"Optional[None]", "None"},
		{"Union[int]", "<class 'int'>"},
		{"list[int|None]", "list[typing.Optional[int]]"},
		{`Literal[1, "a", true]`, "typing.Literal[1, 'a', True]"},
		{`Literal['it\'s', "\"]", '\\', 'é\n', None, False, -1.50]`, `typing.Literal['it\'s', '"]', '\\', 'é\n', None, False, -1.50]`},
		{"Literal[1] | str", "typing.Literal[1] | str"},
	}
	for _, tt := range tests {
		got, err := ParseType(tt.text)
		if err != nil || got.String() != tt.want {
			t.Errorf("ParseType(%s) = %s, %v; want %s", tt.text, got, err, tt.want)
			continue
		}
		if again, err := ParseType(got.inner()); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("ParseType(%s) = %+v, %v; want what %s gave, %+v", got.inner(), again, err, tt.text, got)
		}
	}
}

func TestParseTypeRefuses(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", `type "": at position 1: a type is expected, not the end: use int, float`},
		{"list[strng]", `type "list[strng]": at position 6: strng is no known type: use int, float`},
		{"tuple", "at position 1: tuple is no known type"},
		{"list[int", "at position 9: ] is expected, not the end"},
		{"list[int, str]", `at position 9: ] is expected, not ", str]"`},
		{"list[]", `at position 6: a type is expected, not "]"`},
		{"int | ", "at position 7: a type is expected, not the end"},
		{"int str", `at position 5: "str" is not expected after a whole type`},
		{"int[str]", "int takes no brackets"},
		{"Optional", "Optional needs brackets"},
		{"dict[int, str]", "at position 6: the keys of JSON objects are strings: use dict[str, T]"},
		{"dict[str]", "use dict[str, T]"},
		{"Literal[]", `at position 9: a number, a text in quotes, True, False or None is expected in Literal[...], not "]"`},
		{"Literal[x]", "a number, a text in quotes"},
		{"Literal[{}]", "a number, a text in quotes"},
		{"Literal['a]", "at position 9: the text that begins here has no ' at its end"},
		{`Literal['\q']`, "at position 9: the text that begins here has an escape that is not known"},
		{strings.Repeat("list[", maxTypeDepth+1) + "int", "nested too deeply, 16 types at most"},
		{strings.Repeat("i", maxTypeText+1), "4097 bytes, 4096 at most"},
	}
	for _, tt := range tests {
		if got, err := ParseType(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseType(%.40s) = %s, %v; want %q in the error", tt.text, got, err, tt.want)
		}
	}
	deepest := strings.Repeat("list[", maxTypeDepth) + "int" + strings.Repeat("]", maxTypeDepth)
	if _, err := ParseType(deepest); err != nil {
		t.Errorf("ParseType(%s) = %v", deepest, err)
	}
}

// FuzzParseType looks for texts that make the parser panic, and reads back what it wrote.
func FuzzParseType(f *testing.F) {
	for _, seed := range []string{"int", "list[int | None]", "dict[str, Optional[Any]]", `Literal[1, 'a\'"', "é\x00", true]`, "Union[int, str]", "list[", "|", "Literal['"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		typ, err := ParseType(text)
		if err != nil || len(typ.inner()) > maxTypeText {
			return
		}
		if again, err := ParseType(typ.inner()); err != nil || again.String() != typ.String() {
			t.Errorf("ParseType(%q) = %s, and %s reads back as %s, %v", text, typ, typ.inner(), again, err)
		}
	})
}
