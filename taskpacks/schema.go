package taskpacks

import (
	"encoding/json"
	"math"
	"strconv"
)

// Schema returns the JSON Schema (draft 2020-12) of the arguments that Check takes, params in order of declaration. Args
// that keep to it are taken, but for what JSON Schema has no words for: that 1.0 is no integer, that a float must fit its bits,
// that a datetime is written with a capital T and Z and without leap seconds.
func (s *Spec) Schema() json.RawMessage {
	dst := []byte(`{"$schema":"https://json-schema.org/draft/2020-12/schema"`)
	if s.Doc != "" {
		dst = append(append(dst, `,"description":`...), marshalPlain(s.Doc)...)
	}
	dst = append(dst, ',')
	return append(appendFields(dst, s.Params), '}')
}

// Schema returns the JSON Schema of the values that fit the type. It takes a datetime in its full form only, with time of day
// and offset.
func (t *Type) Schema() json.RawMessage { return t.appendSchema(nil) }

func (t *Type) appendSchema(dst []byte) []byte {
	return append(t.appendRules(append(dst, '{')), '}')
}

// appendRules appends the members of the type's schema, without the braces around them. Any value fits none at all.
func (t *Type) appendRules(dst []byte) []byte {
	switch t.Kind {
	case KindInt:
		return t.appendBounds(append(dst, `"type":"integer"`...))
	case KindFloat:
		return append(dst, `"type":"number"`...)
	case KindStr:
		return append(dst, `"type":"string"`...)
	case KindBool:
		return append(dst, `"type":"boolean"`...)
	case KindNull:
		return append(dst, `"type":"null"`...)
	case KindDatetime:
		return append(dst, `"type":"string","format":"date-time"`...)
	case KindList:
		return t.appendOf(append(dst, `"type":"array"`...), `,"items":`)
	case KindDict:
		return t.appendOf(append(dst, `"type":"object"`...), `,"additionalProperties":`)
	case KindObject:
		return appendFields(dst, t.Fields)
	case KindOptional:
		return append(t.Of.appendSchema(append(dst, `"anyOf":[`...)), `,{"type":"null"}]`...)
	case KindUnion:
		dst = append(dst, `"anyOf":[`...)
		for i := range t.AnyOf {
			dst = t.AnyOf[i].appendSchema(comma(dst, i))
		}
		return append(dst, ']')
	case KindLiteral:
		dst = append(dst, `"enum":[`...)
		for i, value := range t.Values {
			dst = append(comma(dst, i), value...)
		}
		return append(dst, ']')
	}
	return dst
}

// appendOf appends the rule for what is inside a list or a dict, if that is looked at.
func (t *Type) appendOf(dst []byte, rule string) []byte {
	if t.Of == nil || t.Of.Kind == KindAny {
		return dst
	}
	return t.Of.appendSchema(append(dst, rule...))
}

func (t *Type) appendBounds(dst []byte) []byte {
	if t.Bits == 0 {
		return dst
	}
	low, high := int64(math.MinInt64)>>(64-t.Bits), uint64(math.MaxInt64)>>(64-t.Bits)
	if t.Unsigned {
		low, high = 0, math.MaxUint64>>(64-t.Bits)
	}
	dst = strconv.AppendInt(append(dst, `,"minimum":`...), low, 10)
	return strconv.AppendUint(append(dst, `,"maximum":`...), high, 10)
}

// appendFields appends the rules of an object with these params and no other.
func appendFields(dst []byte, params []Param) []byte {
	dst = append(dst, `"type":"object","properties":{`...)
	for i := range params {
		p := &params[i]
		dst = append(append(comma(dst, i), marshalPlain(p.Name)...), ':', '{')
		start := len(dst)
		dst = p.Type.appendRules(dst)
		if p.Default != nil {
			dst = append(append(comma(dst, len(dst)-start), `"default":`...), p.Default...)
		}
		dst = append(dst, '}')
	}
	dst = append(dst, `},"required":[`...)
	n := 0
	for i := range params {
		if params[i].Required {
			dst = append(comma(dst, n), marshalPlain(params[i].Name)...)
			n++
		}
	}
	return append(dst, `],"additionalProperties":false`...)
}

// comma separates what comes next from the n things before it.
func comma(dst []byte, n int) []byte {
	if n == 0 {
		return dst
	}
	return append(dst, ',')
}
