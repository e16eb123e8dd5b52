package taskpacks

import (
	"bytes"
	"fmt"
	"strconv"
)

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
	case KindNull:
		if string(v) == "null" {
			return nil
		}
	case KindUnion:
		return t.judgeUnion(v)
	case KindLiteral:
		for _, value := range t.Values {
			if sameValue(value, v) {
				return nil
			}
		}
	case KindDatetime:
		if isDatetime(v) {
			return nil
		}
	case KindObject:
		if v[0] == '{' {
			return t.judgeObject(v)
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

// judgeUnion blames the first member that v fits by its outermost kind, so that [1,"a"] is told what is wrong with "a" by
// list[int] | None.
func (t *Type) judgeUnion(v []byte) *misfit {
	worst := misfit{code: CodeType, got: classOf(v)}
	for i := range t.AnyOf {
		m := t.AnyOf[i].judge(v)
		if m == nil {
			return nil
		}
		if worst.code == CodeType && worst.at == "" {
			worst = *m
		}
	}
	return &worst
}

// judgeObject finds the first fault in the order in which Spec.Check lists them.
func (t *Type) judgeObject(v []byte) *misfit {
	var inline [inlineParams]span
	found := inline[:]
	if len(t.Fields) > inlineParams {
		found = make([]span, len(t.Fields))
	}
	var unknown []string
	locate(t.Fields, v, found, &unknown)
	for i := range t.Fields {
		field := &t.Fields[i]
		switch {
		case found[i] != span{}:
			if m := field.Type.judge(found[i].of(v)); m != nil {
				m.at = "." + field.Name + m.at
				return m
			}
		case field.Required:
			return &misfit{code: CodeType, got: "nothing", at: "." + field.Name}
		}
	}
	if unknown != nil {
		return &misfit{code: CodeType, got: "a field that is not declared", at: "." + unknown[0]}
	}
	return nil
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

// sameValue reports whether two JSON texts that are no arrays or objects say the same, as told at Type.Values. Arrays and
// objects are the same only if they are written alike.
func sameValue(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 || bytes.Equal(a, b) {
		return len(a) == len(b)
	}
	switch {
	case a[0] == '"' && b[0] == '"' && len(a) > 1 && len(b) > 1:
		return unescape(a[1:len(a)-1]) == unescape(b[1:len(b)-1])
	case !isNumber(a) || !isNumber(b) || isWhole(a) != isWhole(b):
		return false
	case isWhole(a): // the only two ways to write one integer
		return string(a) == "0" && string(b) == "-0" || string(a) == "-0" && string(b) == "0"
	}
	x, errX := strconv.ParseFloat(string(a), 64)
	y, errY := strconv.ParseFloat(string(b), 64)
	return errX == nil && errY == nil && x == y
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
