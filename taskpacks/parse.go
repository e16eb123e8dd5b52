package taskpacks

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// maxTypeText bounds a text that ParseType reads, in bytes.
const maxTypeText = 4 << 10

// knownTypes ends the errors of ParseType.
const knownTypes = "use int, float, str, bool, list, dict, datetime, Any, None, list[T], dict[str, T], Optional[T], " +
	"Union[A, B], A | B or Literal[1, 'a']"

// ParseType reads a type as Python writes an annotation: int, float, str, bool, list, dict, datetime, Any, None, list[T],
// dict[str, T], Optional[T], Union[A, B], A | B and Literal[1, 'a', True], with or without "typing." before a name. Optional[T]
// and T | None are the same type; unions inside unions are taken out, members given twice are dropped, as Python does it.
//
// What Type.String writes is read back as the same type, but for "<class 'int'>", which is no annotation, and Bits, which
// Python does not have. An error names the place and what may stand there. A text is 4 KiB long and 16 types deep at most.
func ParseType(text string) (Type, error) {
	if len(text) > maxTypeText {
		return Type{}, fmt.Errorf("type %.20q...: %d bytes, %d at most", text, len(text), maxTypeText)
	}
	p := &typeParser{text: text}
	t, err := p.union(0)
	if err == nil && !p.atEnd() {
		err = p.errorf("%s is not expected after a whole type", p.found())
	}
	if err != nil {
		return Type{}, fmt.Errorf("type %q: %w", text, err)
	}
	return t, nil
}

// typeParser reads types by recursive descent, one method per rule.
type typeParser struct {
	text string
	pos  int
}

// union reads A | B | C, or one type alone.
func (p *typeParser) union(depth int) (Type, error) {
	var members []Type
	for {
		t, err := p.single(depth)
		if err != nil {
			return Type{}, err
		}
		members = append(members, t)
		if !p.take('|') {
			return unionOf(members), nil
		}
	}
}

// single reads a name and what belongs to it in brackets.
func (p *typeParser) single(depth int) (Type, error) {
	if depth > maxTypeDepth {
		return Type{}, p.errorf("the type is nested too deeply, %d types at most", maxTypeDepth)
	}
	name, at := p.name()
	open := p.take('[')
	switch kind := nameKinds[name]; {
	case name == "":
		return Type{}, p.errorf("a type is expected, not %s: %s", p.found(), knownTypes)
	case kind == "":
		p.pos = at
		return Type{}, p.errorf("%s is no known type: %s", name, knownTypes)
	case kind == KindOptional, kind == KindUnion, kind == KindLiteral:
		if !open {
			return Type{}, p.errorf("%s needs brackets: %s", name, knownTypes)
		}
		return p.inside(kind, depth)
	case !open:
		return Type{Kind: kind}, nil
	case kind == KindList, kind == KindDict:
		return p.inside(kind, depth)
	default:
		return Type{}, p.errorf("%s takes no brackets: %s", name, knownTypes)
	}
}

// nameKinds are the names that a type begins with, without "typing.".
var nameKinds = map[string]Kind{
	"int": KindInt, "float": KindFloat, "str": KindStr, "bool": KindBool, "list": KindList, "dict": KindDict,
	"List": KindList, "Dict": KindDict, "any": KindAny, "Any": KindAny, "None": KindNull,
	"datetime": KindDatetime, "datetime.datetime": KindDatetime,
	"Optional": KindOptional, "Union": KindUnion, "Literal": KindLiteral,
}

// inside reads what stands in the brackets of a kind, and the bracket that closes them.
func (p *typeParser) inside(kind Kind, depth int) (t Type, err error) {
	switch kind {
	case KindLiteral:
		t, err = p.literal()
	case KindUnion:
		t, err = p.members(depth + 1)
	case KindDict:
		if key, at := p.name(); key != "str" || !p.take(',') {
			p.pos = at
			return Type{}, p.errorf("the keys of JSON objects are strings: use dict[str, T]")
		}
		fallthrough
	default:
		var of Type
		of, err = p.union(depth + 1)
		t = Type{Kind: kind, Of: &of}
		if kind == KindOptional {
			t = unionOf([]Type{of, {Kind: KindNull}})
		}
	}
	if err == nil && !p.take(']') {
		err = p.errorf("] is expected, not %s", p.found())
	}
	return t, err
}

// members reads the types in Union[A, B].
func (p *typeParser) members(depth int) (Type, error) {
	var members []Type
	for {
		t, err := p.union(depth)
		if err != nil {
			return Type{}, err
		}
		members = append(members, t)
		if !p.take(',') {
			return unionOf(members), nil
		}
	}
}

// literal reads the values in Literal[1, 'a'].
func (p *typeParser) literal() (Type, error) {
	t := Type{Kind: KindLiteral}
	for {
		value, err := p.value()
		if err != nil {
			return Type{}, err
		}
		t.Values = append(t.Values, value)
		if !p.take(',') {
			return t, nil
		}
	}
}

// value reads one value of a literal, in the form of Python or of JSON.
func (p *typeParser) value() (json.RawMessage, error) {
	p.space()
	rest := p.text[p.pos:]
	if rest != "" && (rest[0] == '\'' || rest[0] == '"') {
		return p.quoted(rest[0])
	}
	end := strings.IndexAny(rest, ",] ")
	if end < 0 {
		end = len(rest)
	}
	value := rest[:end]
	switch value {
	case "True", "False":
		value = strings.ToLower(value)
	case "None":
		value = "null"
	}
	if !json.Valid([]byte(value)) || value[0] == '{' || value[0] == '[' {
		return nil, p.errorf("a number, a text in quotes, True, False or None is expected in Literal[...], not %s", p.found())
	}
	p.pos += end
	return json.RawMessage(value), nil
}

// quoted reads a text in quotes of either kind.
func (p *typeParser) quoted(quote byte) (json.RawMessage, error) {
	rest := p.text[p.pos+1:]
	var text strings.Builder
	for rest != "" && rest[0] != quote {
		if len(rest) > 1 && rest[0] == '\\' && (rest[1] == '"' || rest[1] == '\'') {
			text.WriteByte(rest[1])
			rest = rest[2:]
			continue
		}
		char, _, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return nil, p.errorf("the text that begins here has an escape that is not known: use \\\\, \\n, \\t, \\xNN or \\uNNNN")
		}
		text.WriteRune(char)
		rest = tail
	}
	if rest == "" {
		return nil, p.errorf("the text that begins here has no %c at its end", quote)
	}
	p.pos = len(p.text) - len(rest) + 1
	return marshalPlain(text.String()), nil
}

// name reads a dotted name, "" if there is none, and says where it began.
func (p *typeParser) name() (name string, at int) {
	p.space()
	at = p.pos
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		if c != '_' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
		p.pos++
	}
	return strings.TrimPrefix(p.text[at:p.pos], "typing."), at
}

// take reads c if it comes next.
func (p *typeParser) take(c byte) bool {
	p.space()
	if p.pos == len(p.text) || p.text[p.pos] != c {
		return false
	}
	p.pos++
	return true
}

func (p *typeParser) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *typeParser) atEnd() bool {
	p.space()
	return p.pos == len(p.text)
}

// found names for an error what comes next.
func (p *typeParser) found() string {
	if p.atEnd() {
		return "the end"
	}
	return fmt.Sprintf("%.20q", p.text[p.pos:])
}

// errorf returns an error at the place where the parser stands, counted in bytes from 1.
func (p *typeParser) errorf(format string, args ...any) error {
	p.space()
	return fmt.Errorf("at position %d: "+format, append([]any{p.pos + 1}, args...)...)
}

// unionOf returns the type that takes what one of members takes.
func unionOf(members []Type) Type {
	var flat []Type
	seen := make(map[string]bool)
	add := func(t Type) {
		if text := t.inner(); !seen[text] {
			seen[text] = true
			flat = append(flat, t)
		}
	}
	for _, t := range members {
		switch t.Kind {
		case KindUnion:
			for _, inner := range t.AnyOf {
				add(inner)
			}
		case KindOptional:
			add(*t.Of)
			add(Type{Kind: KindNull})
		default:
			add(t)
		}
	}
	switch {
	case len(flat) == 1:
		return flat[0]
	case len(flat) == 2 && flat[1].Kind == KindNull:
		return Type{Kind: KindOptional, Of: &flat[0]}
	case len(flat) == 2 && flat[0].Kind == KindNull:
		return Type{Kind: KindOptional, Of: &flat[1]}
	}
	return Type{Kind: KindUnion, AnyOf: flat}
}

// marshalPlain returns text as a JSON string that escapes only what it must.
func marshalPlain(text string) json.RawMessage {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a string is always written
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n"))
}
