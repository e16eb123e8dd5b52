package taskpacks

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"strings"
)

// maxTypeDepth bounds the nesting of a param's Go type, so that one that contains itself is found out.
const maxTypeDepth = 16

// Define makes a func of a Go function. name is the full name, "<pack>.main.<function>". A is a struct; its exported fields
// are the params, in order, named by their json tags or else like the fields:
//
//	Go type                                     param
//	intN, uintN                                 int that fits
//	big.Int, *big.Int                           int of any size
//	floatN, Float                               float (or int) that fits
//	json.Number                                 float or int, exact
//	string, encoding.TextUnmarshaler            str
//	bool                                        bool
//	[]T                                         list[T]; list for []any and []json.RawMessage
//	map[string]T                                dict[str, T]; dict for any and json.RawMessage
//	struct                                      dict, its inside judged when the func is called
//	*T                                          optional T, null or absent is nil
//	any, json.RawMessage, json.Unmarshaler      any value
//
// A struct tag default:"..." holds a JSON value that is used when the param is not passed, which makes it optional; a tag
// text:"..." replaces the type's text that callers see.
//
// Define panics, with a sentence that names the field, if A is no struct, if a field has another type or is embedded, if two
// params have one name or if a default does not fit: a mistake of the author that no program should start with.
//
// A result is written by encoding/json, a float64 as Float writes it (inside a larger result use Float itself). One that
// cannot be written is a permanent *ResultError. Arguments that do not fit are a permanent *FaultsError.
func Define[A, R any](name string, fn func(ctx context.Context, in A) (R, error), opts ...Option) Func {
	b, err := bind(name, reflect.TypeFor[A]())
	if err != nil {
		panic("taskpacks.Define: " + name + ": " + err.Error())
	}
	switch kind := reflect.TypeFor[R]().Kind(); kind {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		panic(fmt.Sprintf("taskpacks.Define: %s: a result of kind %s cannot be written as JSON", name, kind))
	}
	for _, opt := range opts {
		opt(&b.spec)
	}
	return NewFunc(b.spec, func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
		var in A
		if err := b.decode(args, reflect.ValueOf(&in).Elem()); err != nil {
			return nil, Permanent(err)
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		return encode(&out)
	})
}

// binding joins the params of a spec to the fields of a struct.
type binding struct {
	spec   Spec
	fields []int // by param: the field's number
}

func bind(name string, in reflect.Type) (*binding, error) {
	if in.Kind() != reflect.Struct {
		return nil, fmt.Errorf("the arguments must be a struct, not %s", in)
	}
	b := &binding{spec: Spec{Name: name, Params: []Param{}}}
	seen := make(map[string]bool)
	for i := range in.NumField() {
		field := in.Field(i)
		if field.Anonymous {
			return nil, fmt.Errorf("field %s is embedded: write its fields out", field.Name)
		}
		tag, tagged := field.Tag.Lookup("json")
		if !field.IsExported() || tag == "-" {
			continue
		}
		param, err := paramOf(field)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", field.Name, err)
		}
		if tagName, _, _ := strings.Cut(tag, ","); tagged && tagName != "" {
			param.Name = tagName
		}
		if seen[param.Name] {
			return nil, fmt.Errorf("field %s: the param %s is there twice", field.Name, param.Name)
		}
		seen[param.Name] = true
		b.spec.Params = append(b.spec.Params, param)
		b.fields = append(b.fields, i)
	}
	return b, nil
}

func paramOf(field reflect.StructField) (Param, error) {
	t, err := typeOf(field.Type, 0)
	if err != nil {
		return Param{}, err
	}
	t.Text = field.Tag.Get("text")
	p := Param{Name: field.Name, Type: t, Required: t.Kind != KindOptional}
	text, ok := field.Tag.Lookup("default")
	if !ok {
		return p, nil
	}
	if !json.Valid([]byte(text)) {
		return Param{}, fmt.Errorf("the default %s is no JSON: a string needs quotes of its own, default:\"\\\"text\\\"\"", text)
	}
	p.Default = json.RawMessage(strings.TrimSpace(text))
	p.Required = false
	if t.judge(p.Default) != nil || setValue(p.Default, reflect.New(field.Type).Interface()) != nil {
		return Param{}, fmt.Errorf("the default %s does not fit the type %s", text, t)
	}
	return p, nil
}

// typeOf returns the Type of values that a Go variable of type t can take.
func typeOf(t reflect.Type, depth int) (Type, error) {
	if depth > maxTypeDepth {
		return Type{}, fmt.Errorf("the type %s is nested too deeply", t)
	}
	switch t {
	case reflect.TypeFor[big.Int](), reflect.TypeFor[*big.Int]():
		return Type{Kind: KindInt}, nil
	case reflect.TypeFor[json.Number]():
		return Type{Kind: KindFloat}, nil
	case reflect.TypeFor[json.RawMessage](), reflect.TypeFor[any]():
		return Type{Kind: KindAny}, nil
	}
	if t.Kind() == reflect.Pointer {
		of, err := typeOf(t.Elem(), depth+1)
		return Type{Kind: KindOptional, Of: &of}, err
	}
	if p := reflect.PointerTo(t); p.Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return Type{Kind: KindAny}, nil
	} else if p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return Type{Kind: KindStr}, nil
	}

	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Type{Kind: KindInt, Bits: t.Bits()}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return Type{Kind: KindInt, Bits: t.Bits(), Unsigned: true}, nil
	case reflect.Float32, reflect.Float64:
		return Type{Kind: KindFloat, Bits: t.Bits()}, nil
	case reflect.String:
		return Type{Kind: KindStr}, nil
	case reflect.Bool:
		return Type{Kind: KindBool}, nil
	case reflect.Struct:
		return Type{Kind: KindDict}, nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return Type{}, fmt.Errorf("the type %s is not supported: use string or []int", t)
		}
		return container(KindList, t.Elem(), depth)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return Type{}, fmt.Errorf("the type %s is not supported: the keys of JSON objects are strings", t)
		}
		return container(KindDict, t.Elem(), depth)
	}
	return Type{}, fmt.Errorf("the type %s is not supported: see the table at Define", t)
}

func container(kind Kind, element reflect.Type, depth int) (Type, error) {
	of, err := typeOf(element, depth+1)
	if err != nil {
		return Type{}, err
	}
	if of.Kind == KindAny {
		return Type{Kind: kind}, nil
	}
	return Type{Kind: kind, Of: &of}, nil
}

// decode sets the fields of in, a zero struct, from args. It goes param by param, not through encoding/json as a whole: that
// would take X for x, and merge a dict that is given twice.
func (b *binding) decode(args []byte, in reflect.Value) error {
	if len(args) == 0 {
		args = []byte("{}")
	}
	var inline [inlineParams]span
	found := inline[:]
	if len(b.fields) > inlineParams {
		found = make([]span, len(b.fields))
	}
	if !locate(b.spec.Params, args, found, nil) {
		return b.spec.Check(args)
	}
	for i, field := range b.fields {
		p := &b.spec.Params[i]
		value := []byte(p.Default)
		if found[i] != (span{}) {
			value = found[i].of(args)
			if p.Type.judge(value) != nil {
				return b.spec.Check(args)
			}
		} else if p.Required {
			return b.spec.Check(args)
		}
		if value == nil {
			continue
		}
		if err := setValue(value, in.Field(field).Addr().Interface()); err != nil {
			// The inside of a struct, which the spec does not describe.
			return &FaultsError{Faults: []Fault{p.fault(&misfit{code: CodeType, got: err.Error()})}}
		}
	}
	return nil
}

// setValue decodes value, which fits the type of *target, into it. Frequent types take a short way.
func setValue(value []byte, target any) (err error) {
	switch t := target.(type) {
	case *int:
		*t, err = strconv.Atoi(string(value))
		return err
	case *int64:
		*t, err = strconv.ParseInt(string(value), 10, 64)
		return err
	case *float64:
		*t, err = strconv.ParseFloat(string(value), 64)
		return err
	case *bool:
		*t = value[0] == 't'
		return nil
	case *string:
		if inside := value[1 : len(value)-1]; plain(inside) {
			*t = string(inside)
			return nil
		}
	case *json.RawMessage:
		*t = bytes.Clone(value) // args belong to the caller
		return nil
	case *big.Int:
		return setBig(value, t)
	case **big.Int:
		*t = new(big.Int)
		return setBig(value, *t)
	}
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber() // any must not mean float64
	return dec.Decode(target)
}

func setBig(value []byte, target *big.Int) error {
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		target.SetInt64(n)
		return nil
	}
	if _, ok := target.SetString(string(value), 10); !ok {
		return fmt.Errorf("%.40q is no integer", value)
	}
	return nil
}
