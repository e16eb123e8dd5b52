package openapi

import (
	"strconv"
	"strings"
)

// Document returns the description in the form of OpenAPI 3.1.
func Document(info Info, ops []Operation, schemas *Schemas) ([]byte, error) {
	var common shared
	paths := byPath(ops, func(op *Operation) any { return operation(op, &common) })
	return marshal(Object{
		{"openapi", "3.1.0"},
		{"info", Object{{"title", info.Title}, {"version", info.Version}, {"description", info.Description}}},
		{"servers", []any{Object{{"url", "/"}}}},
		{"tags", tags(info)},
		{"paths", paths},
		{"components", Object{
			{"schemas", schemas.named},
			{"parameters", common.params},
			{"responses", common.answers},
			{"securitySchemes", Object{
				{bearer, Object{{"type", "http"}, {"scheme", "bearer"}, {"bearerFormat", "JWT"}, {"description", "A token of POST /token."}}},
				{basic, Object{{"type", "http"}, {"scheme", "basic"}, {"description", "The name and the password of a user."}}},
			}},
		}},
	})
}

// shared is what several operations refer to.
type shared struct{ params, answers Object }

// refer puts a value down, once, and returns a reference to it. prefix is where o stands.
func refer(o *Object, name, prefix string, write func() any) any {
	if o.Get(name) == nil {
		*o = o.With(name, write())
	}
	return Object{{"$ref", prefix + name}}
}

// byPath writes operations, those of one path together, in the order in which the paths come first.
func byPath(ops []Operation, write func(*Operation) any) Object {
	paths, at := Object{}, map[string]int{}
	for i := range ops {
		op := &ops[i]
		n, known := at[op.Path]
		if !known {
			n = len(paths)
			at[op.Path], paths = n, paths.With(op.Path, Object{})
		}
		paths[n].Value = paths[n].Value.(Object).With(strings.ToLower(op.Method), write(op))
	}
	return paths
}

func tags(info Info) any {
	list := []any{}
	for _, t := range info.Tags {
		o := Object{{"name", t.Name}}
		if t.Doc != "" {
			o = o.With("description", t.Doc)
		}
		list = append(list, o)
	}
	return list
}

// head is what both forms have in common.
func head(op *Operation) Object {
	o := Object{{"tags", []string{op.Tag}}, {"summary", op.Summary}}
	if op.Doc != "" {
		o = o.With("description", op.Doc)
	}
	return o.With("operationId", op.ID)
}

func operation(op *Operation, common *shared) any {
	o := head(op)
	if len(op.Params) > 0 {
		params := []any{}
		for _, p := range op.Params {
			if p.Shared == "" {
				params = append(params, param(&p))
			} else {
				params = append(params, refer(&common.params, p.Shared, "#/components/parameters/", func() any { return param(&p) }))
			}
		}
		o = o.With("parameters", params)
	}
	if op.Body != nil {
		body := Object{}
		if op.Body.Doc != "" {
			body = body.With("description", op.Body.Doc)
		}
		o = o.With("requestBody", body.With("required", !op.Body.Optional).With("content", contents(op.Body.Contents)))
	}
	responses := Object{}
	for _, a := range op.Answers {
		if status := strconv.Itoa(a.Status); a.Name == "" {
			responses = responses.With(status, answer(a))
		} else {
			responses = responses.With(status, refer(&common.answers, a.Name, "#/components/responses/", func() any { return answer(a) }))
		}
	}
	return o.With("responses", responses).With("security", security(op, true))
}

func param(p *Param) Object {
	o := Object{{"name", p.Name}, {"in", p.In}}
	if p.In == InPath {
		o = o.With("required", true)
	}
	if p.Doc != "" {
		o = o.With("description", p.Doc)
	}
	schema := p.Schema
	if p.Many {
		schema = Object{{"type", "array"}, {"items", schema}}
	}
	return o.With("schema", schema)
}

func answer(a Answer) Object {
	o := Object{{"description", a.Doc}}
	if len(a.Headers) > 0 {
		headers := Object{}
		for _, h := range a.Headers {
			headers = headers.With(h.Name, Object{{"description", h.Doc}, {"schema", Object{{"type", "string"}}}})
		}
		o = o.With("headers", headers)
	}
	if len(a.Content) > 0 {
		o = o.With("content", contents(a.Content))
	}
	return o
}

func contents(list []Content) Object {
	o := Object{}
	for _, c := range list {
		media := Object{}
		if c.Schema != nil {
			media = media.With("schema", c.Schema)
		}
		o = o.With(c.Type, media)
	}
	return o
}

// security returns the ways to be let in: one of them is enough, and {} is without any.
func security(op *Operation, scopes bool) any {
	ways := []any{}
	if op.Bearer {
		names := []string{}
		if scopes {
			names = append(names, op.Scopes...)
		}
		ways = append(ways, Object{{bearer, names}})
	}
	if op.Basic {
		ways = append(ways, Object{{basic, []string{}}})
	}
	if op.Open && len(ways) > 0 {
		ways = append(ways, Object{})
	}
	return ways
}
