package taskpacks

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Validate returns the first thing that is wrong with a spec, as a sentence that names the param, nil if there is nothing.
// What comes from the process of a pack, which may say anything, is to be validated before Check or Schema is asked.
func (s *Spec) Validate() error {
	if err := validateParams("param", s.Params, 0); err != nil {
		return fmt.Errorf("func %s: %w", s.Name, err)
	}
	return nil
}

// validateParams judges the params of a func or, as what says, the fields of an object.
func validateParams(what string, params []Param, depth int) error {
	seen := make(map[string]bool, len(params))
	for i := range params {
		p := &params[i]
		if p.Name == "" || seen[p.Name] {
			return fmt.Errorf("%s %q: give each %s a name of its own", what, p.Name, what)
		}
		seen[p.Name] = true
		err := p.Type.validate(depth)
		if err == nil && p.Default != nil && !json.Valid(p.Default) {
			err = fmt.Errorf("the default %.40q is no JSON", p.Default)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", what, p.Name, err)
		}
	}
	return nil
}

func (t *Type) validate(depth int) error {
	if depth > maxTypeDepth {
		return fmt.Errorf("the type is nested too deeply, %d types at most", maxTypeDepth)
	}
	switch t.Kind {
	case KindInt, KindFloat:
		return t.validateBits()
	case KindStr, KindBool, KindAny, KindNull, KindDatetime:
		return nil
	case KindOptional:
		if t.Of == nil {
			return errors.New("an optional type needs the type that it may hold")
		}
	case KindList, KindDict:
	case KindUnion:
		for i := range t.AnyOf {
			if err := t.AnyOf[i].validate(depth + 1); err != nil {
				return err
			}
		}
		return nil
	case KindLiteral:
		for _, value := range t.Values {
			if !json.Valid(value) || value[0] == '{' || value[0] == '[' {
				return fmt.Errorf("the literal value %.40q is no JSON string, number, true, false or null", value)
			}
		}
		return nil
	case KindObject:
		return validateParams("field", t.Fields, depth+1)
	default:
		return fmt.Errorf("the kind %.40q of types is not known", t.Kind)
	}
	if t.Of == nil {
		return nil
	}
	return t.Of.validate(depth + 1)
}

func (t *Type) validateBits() error {
	if t.Bits < 0 || t.Bits > 64 || t.Kind == KindFloat && t.Bits%32 != 0 {
		return fmt.Errorf("no %s has %d bits", t.Kind, t.Bits)
	}
	return nil
}
