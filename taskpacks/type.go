package taskpacks

import (
	"fmt"
	"strconv"
)

// Kind is the outermost kind of a Type. Its text is what travels between nodes.
type Kind string

// The kinds of JSON values that a param may ask for.
const (
	KindInt      Kind = "int"      // a number without point and exponent
	KindFloat    Kind = "float"    // any number
	KindStr      Kind = "str"      // a string
	KindBool     Kind = "bool"     // true or false
	KindList     Kind = "list"     // an array, of Of if that is given
	KindDict     Kind = "dict"     // an object, its values of Of if that is given
	KindOptional Kind = "optional" // Of, or null
	KindAny      Kind = "any"      // any value, null included
)

// Type is what a value of a param must be.
type Type struct {
	Kind Kind `json:"kind"`

	// Of is the type of the elements of a list, of the values of a dict, or what an optional holds. Nil for lists and dicts
	// means that the inside is not looked at.
	Of *Type `json:"of,omitempty"`

	// Bits bounds an int or a float to what Go's type of that many bits can hold; 0 = no bound.
	Bits int `json:"bits,omitempty"`

	// Unsigned makes the bounded int one without a sign.
	Unsigned bool `json:"unsigned,omitempty"`

	// Text, if set, is shown to callers instead of the type's own text. Values are judged by the rest alone.
	Text string `json:"text,omitempty"`
}

// String returns the type as Python writes an annotation: "<class 'int'>", "list[int]", "typing.Optional[int]".
func (t Type) String() string {
	switch {
	case t.Text != "":
		return t.Text
	case t.Of == nil && t.Kind != KindAny:
		return "<class '" + string(t.Kind) + "'>"
	}
	return t.inner()
}

// inner is the text of the type inside another one, where Python leaves "<class '...'>" out.
func (t Type) inner() string {
	switch {
	case t.Kind == KindAny:
		return "typing.Any"
	case t.Of == nil:
		return string(t.Kind)
	case t.Kind == KindOptional:
		return "typing.Optional[" + t.Of.inner() + "]"
	case t.Kind == KindDict:
		return "dict[str, " + t.Of.inner() + "]"
	}
	return string(t.Kind) + "[" + t.Of.inner() + "]"
}

// misfit is why a value does not fit a type.
type misfit struct {
	code string // CodeType or CodeRange
	at   string // where inside the value: "", "[3]", ".key[0]"
	got  string // the class of the value there
	why  string // CodeRange: the rest of the sentence "the passed param x ..."
}

// judge returns nil if the JSON value v fits t.
func (t *Type) judge(v []byte) *misfit {
	if len(v) == 0 {
		return &misfit{code: CodeType, got: "nothing"}
	}
	switch t.Kind {
	case KindAny:
		return nil
	case KindInt:
		if isNumber(v) && isWhole(v) {
			return t.judgeRange(v)
		}
	case KindFloat:
		if isNumber(v) {
			return t.judgeRange(v)
		}
	case KindStr:
		if end := len(v) - 1; v[0] == '"' && end > 0 && v[end] == '"' {
			return nil
		}
	case KindBool:
		if string(v) == "true" || string(v) == "false" {
			return nil
		}
	case KindOptional:
		if string(v) == "null" {
			return nil
		}
		return t.Of.judge(v)
	case KindList:
		if v[0] == '[' {
			return t.judgeList(v)
		}
	case KindDict:
		if v[0] == '{' {
			return t.judgeDict(v)
		}
	}
	return &misfit{code: CodeType, got: classOf(v)}
}

func (t *Type) judgeList(v []byte) *misfit {
	if t.Of == nil || t.Of.Kind == KindAny {
		return nil
	}
	walk := elementsOf(v)
	for n := 0; ; n++ {
		element, ok := walk.next()
		if !ok {
			return nil
		}
		if m := t.Of.judge(element); m != nil {
			m.at = "[" + strconv.Itoa(n) + "]" + m.at
			return m
		}
	}
}

func (t *Type) judgeDict(v []byte) *misfit {
	if t.Of == nil || t.Of.Kind == KindAny {
		return nil
	}
	walk, _ := membersOf(v)
	for {
		key, value, ok := walk.next()
		if !ok {
			return nil
		}
		if m := t.Of.judge(value.of(v)); m != nil {
			m.at = "." + unescape(key) + m.at
			return m
		}
	}
}

func (t *Type) judgeRange(v []byte) *misfit {
	var err error
	bound := ""
	switch {
	case t.Bits == 0:
		return nil
	case t.Kind == KindFloat:
		bound = "a float of %d bits"
		_, err = strconv.ParseFloat(string(v), t.Bits)
	case t.Unsigned:
		bound = "%d bits without a sign"
		_, err = parseUint(v, t.Bits)
	default:
		bound = "%d bits"
		_, err = strconv.ParseInt(string(v), 10, t.Bits)
	}
	if err == nil {
		return nil
	}
	return &misfit{code: CodeRange, got: classOf(v), why: fmt.Sprintf("does not fit in "+bound, t.Bits)}
}

// parseUint takes -0 for the 0 that it is.
func parseUint(v []byte, bits int) (uint64, error) {
	if string(v) == "-0" {
		return 0, nil
	}
	return strconv.ParseUint(string(v), 10, bits)
}

func isNumber(v []byte) bool { return v[0] == '-' || '0' <= v[0] && v[0] <= '9' }

// isWhole reports whether the number v is written as an integer. 1.0 and 1e2 are not.
func isWhole(v []byte) bool {
	for _, c := range v {
		if c == '.' || c == 'e' || c == 'E' {
			return false
		}
	}
	return true
}

// classOf names the class that the value v has in Python.
func classOf(v []byte) string {
	switch {
	case v[0] == '"':
		return "<class 'str'>"
	case v[0] == '[':
		return "<class 'list'>"
	case v[0] == '{':
		return "<class 'dict'>"
	case v[0] == 't' || v[0] == 'f':
		return "<class 'bool'>"
	case v[0] == 'n':
		return "<class 'NoneType'>"
	case isWhole(v):
		return "<class 'int'>"
	}
	return "<class 'float'>"
}
