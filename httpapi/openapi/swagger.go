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
	var common shared
	paths := byPath(ops, func(op *Operation) any { return olderOperation(op, &common) })
	return marshal(Object{
		{"swagger", "2.0"},
		{"info", Object{{"title", info.Title}, {"version", info.Version}, {"description", info.Description}}},
		{"basePath", "/"},
		{"tags", tags(info)},
		{"paths", paths},
		{"definitions", definitions},
		{"parameters", common.params},
		{"responses", common.answers},
		{"securityDefinitions", Object{
			{bearer, Object{{"type", "apiKey"}, {"in", "header"}, {"name", "Authorization"}, {"description", "Bearer, a space, and a token of POST /token."}}},
			{basic, Object{{"type", "basic"}}},
		}},
	})
}

func olderOperation(op *Operation, common *shared) any {
	o := head(op)
	params := []any{}
	for _, p := range op.Params {
		if p.Shared == "" {
			params = append(params, olderParam(&p))
		} else {
			params = append(params, refer(&common.params, p.Shared, "#/parameters/", func() any { return olderParam(&p) }))
		}
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
		for _, t := range types(a.Content) {
			if !slices.Contains(produces, t) {
				produces = append(produces, t)
			}
		}
		if status := strconv.Itoa(a.Status); a.Name == "" {
			responses = responses.With(status, olderAnswer(a))
		} else {
			responses = responses.With(status, refer(&common.answers, a.Name, "#/responses/", func() any { return olderAnswer(a) }))
		}
	}
	return o.With("produces", produces).With("responses", responses).With("security", security(op, false))
}

func olderParam(p *Param) Object {
	o := Object{{"name", p.Name}, {"in", p.In}, {"required", p.In == InPath}}
	if p.Doc != "" {
		o = o.With("description", p.Doc)
	}
	if p.Many {
		return o.With("type", "array").With("items", oneType(p.Schema)).With("collectionFormat", "multi")
	}
	return append(o, oneType(p.Schema)...)
}

func olderAnswer(a Answer) Object {
	o := Object{{"description", a.Doc}}
	if len(a.Content) > 0 && a.Content[0].Schema != nil {
		o = o.With("schema", older(a.Content[0].Schema))
	} else if len(a.Content) > 0 {
		o = o.With("schema", Object{{"type", "file"}})
	}
	if len(a.Headers) > 0 {
		headers := Object{}
		for _, h := range a.Headers {
			headers = headers.With(h.Name, Object{{"type", "string"}, {"description", h.Doc}})
		}
		o = o.With("headers", headers)
	}
	return o
}

func types(list []Content) []string {
	names := []string{}
	for _, c := range list {
		names = append(names, c.Type)
	}
	return names
}

// oneType returns what Swagger 2.0 can say of a parameter's schema: it must have one type, text if nothing else.
func oneType(schema any) Object {
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
