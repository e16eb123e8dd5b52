package openapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// Schemer is a type that says its JSON Schema itself.
type Schemer interface{ JSONSchema() string }

// Schemas finds the schemas of Go types. Structs that have a name are put down once, and are referred to.
//
// Tags of a field say more: doc is what it means, enum the values that it has, with commas between them, required:"true" that a
// request must have it. In answers, what is not omitempty is always there.
type Schemas struct {
	named Object
	types map[string]reflect.Type // by name
}

var (
	timeType    = reflect.TypeFor[time.Time]()
	rawType     = reflect.TypeFor[json.RawMessage]()
	schemerType = reflect.TypeFor[Schemer]()
)

// Of returns the schema of what v's type is written as.
func (s *Schemas) Of(v any) any { return s.schema(reflect.TypeOf(v), false) }

// Taken returns the schema of what is read into v's type.
func (s *Schemas) Taken(v any) any { return s.schema(reflect.TypeOf(v), true) }

func (s *Schemas) schema(t reflect.Type, taken bool) any {
	switch {
	case t == timeType:
		return Object{{"type", "string"}, {"format", "date-time"}}
	case t == rawType:
		return Object{}
	case t.Implements(schemerType):
		return MustParse(reflect.Zero(t).Interface().(Schemer).JSONSchema())
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.schema(t.Elem(), taken)
	case reflect.Interface:
		return Object{}
	case reflect.String:
		return Object{{"type", "string"}}
	case reflect.Bool:
		return Object{{"type", "boolean"}}
	case reflect.Float32, reflect.Float64:
		return Object{{"type", "number"}}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Object{{"type", "integer"}}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return Object{{"type", "integer"}, {"minimum", 0}}
	case reflect.Slice:
		return Object{{"type", "array"}, {"items", s.schema(t.Elem(), taken)}}
	case reflect.Map:
		return Object{{"type", "object"}, {"additionalProperties", s.schema(t.Elem(), taken)}}
	case reflect.Struct:
		if t.Name() == "" {
			return s.object(t, taken)
		}
		return s.refer(t, taken)
	}
	panic(fmt.Sprintf("no JSON is known for %s", t))
}

// refer puts a struct down, once, and returns a reference to it.
func (s *Schemas) refer(t reflect.Type, taken bool) any {
	name := nameOf(t)
	switch known := s.types[name]; {
	case known == nil:
		if s.types == nil {
			s.types = map[string]reflect.Type{}
		}
		s.types[name] = t
		at := len(s.named)
		s.named = s.named.With(name, nil) // so that those inside stand behind it
		s.named[at].Value = s.object(t, taken)
	case known != t:
		panic(fmt.Sprintf("%s and %s would both be called %s", known, t, name))
	}
	return Object{{"$ref", schemaRef + name}}
}

// nameOf returns what a struct is called in a description: userView and UserView are User.
func nameOf(t reflect.Type) string {
	name := []rune(strings.TrimSuffix(strings.TrimSuffix(t.Name(), "View"), "Shape"))
	name[0] = unicode.ToUpper(name[0])
	return string(name)
}

func (s *Schemas) object(t reflect.Type, taken bool) any {
	properties, required := s.fields(t, taken)
	o := Object{{"type", "object"}, {"properties", properties}}
	if len(required) > 0 {
		o = o.With("required", required)
	}
	return o
}

// fields returns the properties of a struct and the names of those that are always there. Fields that come later hide embedded
// ones of their name, as in encoding/json.
func (s *Schemas) fields(t reflect.Type, taken bool) (properties Object, required []string) {
	properties = Object{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			inner, needed := s.fields(f.Type, taken)
			properties, required = append(properties, inner...), append(required, needed...)
			continue
		}
		if name == "-" || !f.IsExported() {
			continue
		}
		optional := strings.Contains(options, "omitempty")
		schema := s.schema(f.Type, taken)
		if f.Type.Kind() == reflect.Pointer && !optional && !taken {
			schema = Object{{"anyOf", []any{schema, Object{{"type", "null"}}}}}
		}
		properties = properties.With(name, described(schema, f.Tag))
		if taken && f.Tag.Get("required") == "true" || !taken && !optional {
			required = append(required, name)
		}
	}
	return properties, required
}

// described adds to a schema what the tags of its field say.
func described(schema any, tag reflect.StructTag) any {
	o := append(Object{}, schema.(Object)...)
	if values := tag.Get("enum"); values != "" {
		o = o.With("enum", strings.Split(values, ","))
	}
	if doc := tag.Get("doc"); doc != "" {
		o = o.With("description", doc)
	}
	return o
}
