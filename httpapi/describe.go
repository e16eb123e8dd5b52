package httpapi

import (
	_ "embed"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"pytasks/httpapi/openapi"
	"pytasks/taskpacks"
)

//go:embed description.md
var description string

// describer writes the descriptions of the API, once for each version of the catalog.
type describer struct {
	api    *api
	routes []route

	mu      sync.Mutex
	public  *descriptions // of the routes alone; nil = not asked for yet
	whole   *descriptions // with an operation for each type of task
	version uint64        // of the catalog that whole was made of
}

// descriptions are one description in both forms.
type descriptions struct{ openAPI, swagger *file }

// openAPI is GET /openapi.json.
func (c *call) openAPI() {
	c.sendDescription(func(d *descriptions) *file { return d.openAPI })
}

// swagger is GET /swagger.json.
func (c *call) swagger() {
	c.sendDescription(func(d *descriptions) *file { return d.swagger })
}

// sendDescription answers with what the caller may know: who may ask GET /tasks is shown the types of task.
func (c *call) sendDescription(form func(*descriptions) *file) {
	types := c.admit(submits) == nil
	d, err := c.api.describer.get(types)
	if err != nil {
		c.fail("", err)
		return
	}
	h := c.w.Header()
	h.Del("Retry-After") // of a token that could not be looked at
	h.Add("Vary", "Authorization")
	c.sendFile(form(d))
}

// get returns the descriptions, made anew if the catalog has changed.
func (d *describer) get(types bool) (*descriptions, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if !types {
		if d.public == nil {
			d.public, err = d.write(nil)
		}
		return d.public, err
	}
	version := d.api.Catalog.Version() // before the specs: a change between the two is seen at the next request
	if d.whole == nil || d.version != version {
		d.whole, err = d.write(d.api.Catalog.Specs())
		d.version = version
	}
	return d.whole, err
}

func (d *describer) write(specs []*taskpacks.Spec) (*descriptions, error) {
	info := openapi.Info{Title: "pytasks API", Version: d.api.Version, Description: description, Tags: tags}
	schemas := &openapi.Schemas{}
	var ops []openapi.Operation
	var run *route
	for i := range d.routes {
		rt := &d.routes[i]
		ops = append(ops, rt.operation(schemas, d.api.anonymous))
		if rt.pattern == "/run/:type" {
			run = rt
		}
	}
	schemas.Of(auditLine{}) // of which the answer has many, and says so
	names := map[string]bool{}
	for _, s := range specs {
		op, err := runOperation(run.operation(schemas, d.api.anonymous), s, names)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
		if n := len(info.Tags); info.Tags[n-1].Name != op.Tag { // specs are sorted by name
			info.Tags = append(info.Tags[:n:n], openapi.Tag{Name: op.Tag})
		}
	}
	newer, err := openapi.Document(info, ops, schemas)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	older, err := openapi.Swagger(info, ops, schemas)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	return &descriptions{newFile(newer, typeJSON), newFile(older, typeJSON)}, nil
}

// runOperation makes of POST /run/:type the operation of one type. ids are those that are taken.
func runOperation(op openapi.Operation, spec *taskpacks.Spec, ids map[string]bool) (openapi.Operation, error) {
	schema, err := openapi.Parse(spec.Schema())
	if err != nil {
		return op, fmt.Errorf("schema of %s: %w", spec.Name, err)
	}
	body := openapi.Object{}
	for _, m := range schema.(openapi.Object) {
		if m.Name != "$schema" && m.Name != "description" { // the document's own, and what the operation says
			body = body.With(m.Name, m.Value)
		}
	}
	op.Path = "/run/" + url.PathEscape(spec.Name)
	op.ID = idOf(spec.Name, ids)
	op.Tag = "Run tasks of " + taskpacks.PackOf(spec.Name)
	summary, _, more := strings.Cut(strings.TrimSpace(spec.Doc), "\n")
	if op.Summary = summary; summary == "" {
		op.Summary = "Queue a task of " + spec.Name
	}
	if more {
		op.Doc = spec.Doc
	}
	op.Params = op.Params[1:] // the type
	op.Body = &openapi.Body{Contents: jsonOf(body)}
	if spec.Protected {
		op.Open = false
		op.Doc = strings.TrimPrefix(op.Doc+"\n\nNeeds a token that allows this task.", "\n\n")
	}
	return op, nil
}

// idOf returns what generated clients call the operation of a type: run_test_main_add.
func idOf(name string, taken map[string]bool) string {
	id := "run_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	for taken[id] {
		id += "_"
	}
	taken[id] = true
	return id
}

// docsPolicy lets the page at / and /docs do what it must: its own files, requests to this node, images that are in its style.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docs is GET / and GET /docs.
func (c *call) docs() {
	h := c.w.Header()
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	c.sendFile(docsFiles()["index.html"])
}

// docsFile is GET /docs/:file.
func (c *call) docsFile() {
	f := docsFiles()[c.params.ByName("file")]
	if f == nil {
		c.noSuchPath()
		return
	}
	c.sendFile(f)
}

// sendFile answers with a file, or says that the client has it already.
func (c *call) sendFile(f *file) {
	h := c.w.Header()
	h["Cache-Control"] = noCache
	h["Etag"] = f.etag
	h.Add("Vary", "Accept-Encoding")
	if f.is(c.r.Header.Get("If-None-Match")) {
		c.WriteHeader(http.StatusNotModified)
		return
	}
	body := f.plain
	if takesGzip(c.r.Header.Get("Accept-Encoding")) {
		h["Content-Encoding"] = typeGzip
		body = f.packed
	}
	c.send(http.StatusOK, f.contentType, body)
}
