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
var introduction string

// describer writes the descriptions of the API when they are asked for, once for each version of the catalog.
type describer struct {
	api    *api
	routes []route

	mu      sync.Mutex
	written map[description]*file
	version uint64 // of the catalog that those with types were made of
}

func newDescriber(a *api) *describer {
	return &describer{api: a, routes: a.routes(), written: map[description]*file{}}
}

// description is one of those that there are.
type description struct {
	types   bool // with an operation for each type of task
	swagger bool // as Swagger 2.0, else OpenAPI 3.1
}

// openAPI is GET /openapi.json.
func (c *call) openAPI() { c.sendDescription(false) }

// swagger is GET /swagger.json.
func (c *call) swagger() { c.sendDescription(true) }

// sendDescription answers with what the caller may know: who may ask GET /tasks is shown the types of task.
func (c *call) sendDescription(swagger bool) {
	f, err := c.api.describer.get(description{types: c.admit(submits) == nil, swagger: swagger})
	if err != nil {
		c.fail("", err)
		return
	}
	h := c.w.Header()
	h.Del("Retry-After") // of a token that could not be looked at
	h.Add("Vary", "Authorization")
	c.sendFile(f)
}

// get returns a description, made anew if the catalog has changed.
func (d *describer) get(which description) (*file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	version := d.api.Catalog.Version() // before the specs: a change between the two is seen at the next request
	if version != d.version {
		delete(d.written, description{types: true})
		delete(d.written, description{types: true, swagger: true})
		d.version = version
	}
	if f := d.written[which]; f != nil {
		return f, nil
	}
	text, err := d.write(which)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	f := newFile(text, typeJSON)
	d.written[which] = f
	return f, nil
}

func (d *describer) write(which description) ([]byte, error) {
	info := openapi.Info{Title: "pytasks API", Version: d.api.Version, Description: introduction, Tags: tags}
	schemas := &openapi.Schemas{}
	var ops []openapi.Operation
	var run openapi.Operation
	for i := range d.routes {
		op := d.routes[i].operation(schemas, d.api.anonymous)
		if ops = append(ops, op); d.routes[i].pattern == runPattern {
			run = op
		}
	}
	schemas.Of(auditLine{}) // of which the answer has many, and says so
	if which.types {
		ids := map[string]bool{}
		for _, s := range d.api.Catalog.Specs() {
			op, err := runOperation(run, s, ids)
			if err != nil {
				return nil, err
			}
			ops = append(ops, op)
			if n := len(info.Tags); info.Tags[n-1].Name != op.Tag { // specs are sorted by name
				info.Tags = append(info.Tags[:n:n], openapi.Tag{Name: op.Tag})
			}
		}
	}
	if which.swagger {
		return openapi.Swagger(info, ops, schemas)
	}
	return openapi.Document(info, ops, schemas)
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
