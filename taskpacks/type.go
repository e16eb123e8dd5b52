package taskpacks

import (
	"encoding/json"
	"strconv"
	"strings"
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
	KindNull     Kind = "null"     // null
	KindUnion    Kind = "union"    // what one of AnyOf takes
	KindLiteral  Kind = "literal"  // one of Values
	KindDatetime Kind = "datetime" // a string in the form of RFC 3339, the offset and the time of day optional
	KindObject   Kind = "object"   // an object with Fields
)

// Type is what a value of a param must be.
type Type struct {
	Kind Kind `json:"kind"`

	// Of is the type of the elements of a list, of the values of a dict, or what an optional holds. Nil for lists and dicts
	// means that the inside is not looked at.
	Of *Type `json:"of,omitempty"`

	// AnyOf are the types of a union, in the order in which they are tried.
	AnyOf []Type `json:"any_of,omitempty"`

	// Values are the JSON values that a literal takes: strings, numbers, true, false, null. 1 and 1.0 are two values, as they
	// are of two types; 1.0, 1.00 and 10e-1 are one, and so are "a" and "\u0061".
	Values []json.RawMessage `json:"values,omitempty"`

	// Fields are those of an object. One that is not declared does not fit.
	Fields []Param `json:"fields,omitempty"`

	// Bits bounds an int or a float to what Go's type of that many bits can hold; 0 = no bound.
	Bits int `json:"bits,omitempty"`

	// Unsigned makes the bounded int one without a sign.
	Unsigned bool `json:"unsigned,omitempty"`

	// Text, if set, is shown to callers instead of the type's own text. Values are judged by the rest alone.
	Text string `json:"text,omitempty"`
}

// String returns the type as Python writes an annotation: "<class 'int'>", "list[int]", "typing.Optional[int]", "int | float".
func (t Type) String() string {
	if t.Text != "" {
		return t.Text
	}
	switch t.Kind {
	case KindAny, KindNull, KindUnion, KindLiteral:
		return t.inner()
	}
	if t.Of == nil {
		return "<class '" + t.inner() + "'>"
	}
	return t.inner()
}

// inner is the text of the type inside another one, where Python leaves "<class '...'>" out.
func (t Type) inner() string {
	switch t.Kind {
	case KindAny:
		return "typing.Any"
	case KindNull:
		return "None"
	case KindDatetime:
		return "datetime.datetime"
	case KindUnion:
		return joinTexts(t.AnyOf, " | ", Type.inner)
	case KindLiteral:
		return "typing.Literal[" + joinTexts(t.Values, ", ", literalText) + "]"
	case KindObject:
		if t.Text != "" {
			return strings.TrimSuffix(strings.TrimPrefix(t.Text, "<class '"), "'>")
		}
		return string(KindDict)
	}
	switch {
	case t.Of == nil:
		return string(t.Kind)
	case t.Kind == KindOptional:
		return "typing.Optional[" + t.Of.inner() + "]"
	case t.Kind == KindDict:
		return "dict[str, " + t.Of.inner() + "]"
	}
	return string(t.Kind) + "[" + t.Of.inner() + "]"
}

func joinTexts[T any](items []T, separator string, text func(T) string) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = text(item)
	}
	return strings.Join(texts, separator)
}

// literalText writes a JSON value as Python does.
func literalText(value json.RawMessage) string {
	switch string(value) {
	case "true":
		return "True"
	case "false":
		return "False"
	case "null":
		return "None"
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return string(value) // a number
	}
	quoted := strconv.Quote(text)
	return "'" + strings.NewReplacer(`\"`, `"`, `'`, `\'`).Replace(quoted[1:len(quoted)-1]) + "'"
}
