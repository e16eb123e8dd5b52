package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Object is a JSON object whose members keep their order.
type Object []Member

// Member is one member of an Object. Values are what encoding/json writes.
type Member struct {
	Name  string
	Value any
}

// With returns the object with one more member behind the others.
func (o Object) With(name string, value any) Object { return append(o, Member{name, value}) }

// Get returns the value of a member, nil if there is none of that name.
func (o Object) Get(name string) any {
	for _, m := range o {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// MarshalJSON writes the members in their order.
func (o Object) MarshalJSON() ([]byte, error) { return marshal(o) }

// marshal is json.Marshal without the escapes that only HTML needs.
func marshal(v any) ([]byte, error) { return appendValue(nil, v) }

// appendValue writes what a description is made of. Going through encoding/json for each object would write what is inside once more
// for each level.
func appendValue(b []byte, v any) (_ []byte, err error) {
	switch v := v.(type) {
	case Object:
		b = append(b, '{')
		for i, m := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendValue(b, m.Name); err != nil {
				return nil, err
			}
			if b, err = appendValue(append(b, ':'), m.Value); err != nil {
				return nil, fmt.Errorf("%s: %w", m.Name, err)
			}
		}
		return append(b, '}'), nil
	case []any:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendValue(b, v[i]); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case string:
		if plain(v) { // nearly all are
			return append(append(append(b, '"'), v...), '"'), nil
		}
	}
	text := bytes.NewBuffer(b)
	enc := json.NewEncoder(text)
	enc.SetEscapeHTML(false)
	err = enc.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// plain says whether a text stands in JSON as it is.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7F || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Parse reads a JSON text: objects as Object, arrays as []any, numbers as json.Number.
func Parse(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := parse(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return v, nil
}

func parse(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		object := Object{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := parse(d)
			if err != nil {
				return nil, err
			}
			object = object.With(name.(string), value)
		}
		_, err := d.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := parse(d)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := d.Token()
		return list, err
	}
	return token, nil
}

// MustParse is Parse for texts of this program.
func MustParse(text string) any {
	v, err := Parse([]byte(text))
	if err != nil {
		panic(fmt.Sprintf("schema %s: %v", text, err))
	}
	return v
}
