package openapi

import (
	"slices"
	"strconv"
	"strings"
)

// Swagger returns the description in the form of Swagger 2.0.
func Swagger(info Info, ops []Operation, schemas *Schemas) ([]byte, error) {
	definitions := Object{}
	for _, m := range schemas.named {
		definitions = definitions.With(m.Name, older(m.Value))
	}
	return marshal(Object{
		{"swagger", "2.0"},
		{"info", Object{{"title", info.Title}, {"version", info.Version}, {"description", info.Description}}},
		{"basePath", "/"},
		{"tags", tags(info)},
		{"paths", byPath(ops, olderOperation)},
		{"definitions", definitions},
		{"securityDefinitions", Object{
			{bearer, Object{{"type", "apiKey"}, {"in", "header"}, {"name", "Authorization"}, {"description", "Bearer, a space, and a token of POST /token."}}},
			{basic, Object{{"type", "basic"}}},
		}},
	})
}

func olderOperation(op *Operation) any {
	o := head(op)
	params := []any{}
	for _, p := range op.Params {
		one := Object{{"name", p.Name}, {"in", p.In}, {"required", p.In == InPath}}
		if p.Doc != "" {
			one = one.With("description", p.Doc)
		}
		if p.Many {
			one = one.With("type", "array").With("items", olderParam(p.Schema)).With("collectionFormat", "multi")
		} else {
			one = append(one, olderParam(p.Schema)...)
		}
		params = append(params, one)
	}
	if op.Body != nil {
		// There is one schema for all forms of a body.
		schema := any(Object{})
		if len(op.Body.Contents) == 1 {
			schema = older(op.Body.Contents[0].Schema)
		}
		body := Object{{"name", "body"}, {"in", "body"}, {"required", !op.Body.Optional}, {"schema", schema}}
		if op.Body.Doc != "" {
			body = body.With("description", op.Body.Doc)
		}
		params = append(params, body)
		o = o.With("consumes", types(op.Body.Contents))
	}
	if len(params) > 0 {
		o = o.With("parameters", params)
	}
	responses, produces := Object{}, []string{}
	for _, a := range op.Answers {
		one := Object{{"description", a.Doc}}
		if len(a.Content) > 0 {
			for _, t := range types(a.Content) {
				if !slices.Contains(produces, t) {
					produces = append(produces, t)
				}
			}
			if schema := a.Content[0].Schema; schema != nil {
				one = one.With("schema", older(schema))
			} else {
				one = one.With("schema", Object{{"type", "file"}})
			}
		}
		if len(a.Headers) > 0 {
			headers := Object{}
			for _, h := range a.Headers {
				headers = headers.With(h.Name, Object{{"type", "string"}, {"description", h.Doc}})
			}
			one = one.With("headers", headers)
		}
		responses = responses.With(strconv.Itoa(a.Status), one)
	}
	return o.With("produces", produces).With("responses", responses).With("security", security(op, false))
}

func types(list []Content) []string {
	names := []string{}
	for _, c := range list {
		names = append(names, c.Type)
	}
	return names
}

// olderParam returns what Swagger 2.0 can say of a parameter: it must have one type, text if nothing else.
func olderParam(schema any) Object {
	o := older(schema).(Object)
	if o.Get("type") == nil {
		return Object{{"type", "string"}}
	}
	return o
}

// older returns what Swagger 2.0 can say of a schema. What it has no words for is left out.
func older(schema any) any {
	switch v := schema.(type) {
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = older(v[i])
		}
		return list
	case Object:
		return olderObject(v)
	}
	return schema
}

func olderObject(from Object) any {
	o := Object{}
	for _, m := range from {
		switch m.Name {
		case "$schema", "const", "examples", "contentEncoding", "contentMediaType":
		case "$ref":
			o = o.With("$ref", strings.Replace(m.Value.(string), schemaRef, "#/definitions/", 1))
		case "type":
			kinds, several := m.Value.([]any)
			switch {
			case !several && m.Value != "null":
				o = o.With("type", m.Value)
			case len(kinds) == 2 && kinds[1] == "null":
				o = o.With("type", kinds[0]).With("x-nullable", true)
			}
		case "anyOf":
			ways := m.Value.([]any)
			if len(ways) == 2 && isNull(ways[1]) {
				o = append(o, olderObject(ways[0].(Object)).(Object)...).With("x-nullable", true)
			}
		case "properties": // names, not keywords
			properties := Object{}
			for _, p := range m.Value.(Object) {
				properties = properties.With(p.Name, older(p.Value))
			}
			o = o.With("properties", properties)
		case "required":
			if names := listed(m.Value); len(names) > 0 { // an empty list is not allowed
				o = o.With("required", names)
			}
		case "default", "enum":
			o = o.With(m.Name, m.Value)
		default:
			o = o.With(m.Name, older(m.Value))
		}
	}
	return o
}

// listed returns a list of texts, whatever it is a slice of.
func listed(v any) (names []any) {
	switch list := v.(type) {
	case []any:
		return list
	case []string:
		for _, name := range list {
			names = append(names, name)
		}
	}
	return names
}

func isNull(schema any) bool {
	o, ok := schema.(Object)
	return ok && o.Get("type") == "null"
}
