package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/julienschmidt/httprouter"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"pytasks/httpapi/openapi"
)

// The description is held against everything that the tests of this package ask and are answered: see checked. What does not fit is
// gathered, and fails the run at its end, as a handler cannot fail the test that it serves.
func TestMain(m *testing.M) {
	code := m.Run()
	if misfits := proof.misfits; len(misfits) > 0 {
		fmt.Printf("FAIL: %d answers or requests do not fit the description:\n%s\n", len(misfits), strings.Join(misfits, "\n"))
		code = max(code, 1)
	}
	os.Exit(code)
}

// proof is the description that the tests are held against.
var proof struct {
	once    sync.Once
	answers *openapi3.T        // for answers: nothing in them may be undescribed
	asked   *openapi3.T        // for requests, which may have members that are ignored
	router  *httprouter.Router // finds the route of a request
	found   *route             // by router, guarded by mu

	mu      sync.Mutex
	checked int // answers
	misfits []string
}

func prepareProof() {
	a := describerOf(AnonymousRead)
	d, err := a.get(description{types: true})
	if err != nil {
		panic(err)
	}
	open, err := openapi.Parse(d.plain)
	if err != nil {
		panic(err)
	}
	closed, err := json.Marshal(closed(open))
	if err != nil {
		panic(err)
	}
	proof.answers, proof.asked = loaded(closed), loaded(d.plain)
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	proof.router = httprouter.New()
	for _, rt := range a.routes {
		proof.router.Handle(rt.method, rt.pattern, func(http.ResponseWriter, *http.Request, httprouter.Params) { proof.found = &rt })
	}
}

func loaded(text []byte) *openapi3.T {
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		panic(err)
	}
	return doc
}

// closed returns a description in which objects have nothing but what is described.
func closed(v any) any {
	switch v := v.(type) {
	case openapi.Object:
		var o openapi.Object
		for _, m := range v {
			o = o.With(m.Name, closed(m.Value))
		}
		if _, ok := v.Get("properties").(openapi.Object); ok && v.Get("additionalProperties") == nil {
			o = o.With("unevaluatedProperties", false)
		}
		return o
	case []any:
		for i := range v {
			v[i] = closed(v[i])
		}
	}
	return v
}

// describerOf returns the describer of an API.
func describerOf(anonymous Anonymous) *describer {
	a := &api{Options: Options{Catalog: newCatalog(), Version: "1.2.3"}, anonymous: anonymous.principal()}
	return newDescriber(a)
}

// maxChecked is the largest body that is looked at, in bytes.
const maxChecked = 1 << 20

// checked holds each request that next takes, and each answer that it gives, against the description.
func checked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &watched{ResponseWriter: w, status: 200}
		var body bytes.Buffer
		if r.Body != nil {
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.TeeReader(r.Body, &body), r.Body}
		}
		next.ServeHTTP(seen, r) // a panic is on its way up, and there is nothing to be looked at
		if body.Len() <= maxChecked && seen.body.Len() <= maxChecked {
			proof.once.Do(prepareProof)
			proof.mu.Lock()
			defer proof.mu.Unlock()
			check(r, body.Bytes(), seen)
		}
	})
}

// watched keeps what is written.
type watched struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	begun  bool
}

func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *watched) WriteHeader(status int) {
	if !w.begun {
		w.status, w.begun = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(b []byte) (int, error) {
	w.begun = true
	if w.body.Len() <= maxChecked {
		w.body.Write(b)
	}
	return w.ResponseWriter.Write(b)
}

func misfit(r *http.Request, format string, args ...any) {
	proof.misfits = append(proof.misfits, r.Method+" "+r.URL.String()+": "+fmt.Sprintf(format, args...))
}

// check notes what does not fit. Paths and methods that there are not, and what only routers answer, are described nowhere.
func check(r *http.Request, body []byte, w *watched) {
	handle, params, _ := proof.router.Lookup(r.Method, r.URL.Path)
	if handle == nil {
		return
	}
	proof.checked++
	handle(nil, nil, params)
	if w.status >= 400 {
		var refusal struct{ Code string }
		json.Unmarshal(w.body.Bytes(), &refusal)
		code := refusal.Code
		if strings.HasPrefix(code, "token_") {
			code = tokenCodes
		}
		if code != "" && (!slices.Contains(proof.found.allRefusals(), code) || statusOf(code) != w.status) {
			misfit(r, "answers %d with the code %s, which %s does not list with it", w.status, code, proof.found.id)
		}
	}
	plain := w.body.Bytes()
	if w.Header().Get("Content-Encoding") == "gzip" {
		plain = unpacked(plain)
	}
	path := bracedPath(proof.found.pattern)
	if typed := r.URL.Path; proof.answers.Paths.Value(typed) != nil {
		path = typed // of one type of task
	}
	input := requestOf(proof.answers, path, r, body, params)
	err := openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: w.status, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(plain)), Options: input.Options,
	})
	if err != nil {
		misfit(r, "%d %.400s\n    %v", w.status, plain, err)
	}
	if w.status >= 300 || !plainJSON(r, body) {
		return
	}
	if err := openapi3filter.ValidateRequest(r.Context(), requestOf(proof.asked, path, r, body, params)); err != nil {
		misfit(r, "was taken, body %.400q\n    %v", body, err)
	}
}

// requestOf returns a request as a document describes it, at one of its paths.
func requestOf(doc *openapi3.T, path string, r *http.Request, body []byte, params httprouter.Params) *openapi3filter.RequestValidationInput {
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	q := r.URL.Query()
	if status := q.Get("status"); status != "" {
		q.Set("status", strings.ToUpper(status)) // taken in any case, described in one
	}
	item := doc.Paths.Value(path)
	input := &openapi3filter.RequestValidationInput{
		Request: r, QueryParams: q, PathParams: map[string]string{},
		Route: &routers.Route{Spec: doc, Path: path, PathItem: item, Method: r.Method, Operation: item.GetOperation(r.Method)},
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	}
	for _, p := range params {
		input.PathParams[p.Key] = p.Value
	}
	return input
}

// plainJSON says whether a body is none or in the one form that the description has; others are taken too, as they always were.
func plainJSON(r *http.Request, body []byte) bool {
	var v any // numbers that are too large for a float are taken as well, and are too large for the validator
	return len(body) == 0 || r.Header.Get("Content-Type") == "application/json" && json.Unmarshal(body, &v) == nil &&
		!bytes.Contains(body, []byte(`"priority":null`)) // as good as absent, which makes poor types
}

// TestDescriptionValid: both descriptions are what they say they are, by the schemas of OpenAPI 3.1 and Swagger 2.0 (in testdata, as
// their authors publish them), and by a library that reads them. All schemas in them can be used.
func TestDescriptionValid(t *testing.T) {
	newer, older := metaSchema(t, "openapi-3.1.json"), metaSchema(t, "swagger-2.0.json")
	for _, anonymous := range []Anonymous{AnonymousNone, AnonymousRead} {
		for _, types := range []bool{true, false} {
			d := describerOf(anonymous)
			openAPI, err := d.get(description{types: types})
			if err != nil {
				t.Fatal(err)
			}
			swagger, err := d.get(description{types: types, swagger: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := newer.Validate(anyJSON(t, openAPI.plain)); err != nil {
				t.Errorf("OpenAPI: %v", err)
			}
			if err := older.Validate(anyJSON(t, swagger.plain)); err != nil {
				t.Errorf("Swagger: %v", err)
			}
			doc := loaded(openAPI.plain)
			if err := doc.Validate(t.Context()); err != nil {
				t.Errorf("OpenAPI: %v", err)
			}
			if err := json.Unmarshal(swagger.plain, new(openapi2.T)); err != nil {
				t.Errorf("Swagger: %v", err)
			}
			compiler := jsonschema.NewCompiler()
			if err := compiler.AddResource("http://node/openapi.json", anyJSON(t, openAPI.plain)); err != nil {
				t.Fatal(err)
			}
			for name := range doc.Components.Schemas {
				if _, err := compiler.Compile("http://node/openapi.json#/components/schemas/" + name); err != nil {
					t.Errorf("schema %s: %v", name, err)
				}
			}
			for _, text := range [][]byte{openAPI.plain, swagger.plain} {
				danglingRefs(t, anyJSON(t, text), anyJSON(t, text))
			}
		}
	}
}

// metaSchema returns one of the schemas that descriptions keep to.
func metaSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, anyJSON(t, text)); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func anyJSON(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// danglingRefs finds references in a document that lead nowhere.
func danglingRefs(t *testing.T, doc, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			at := doc
			for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
				inside, _ := at.(map[string]any)
				at = inside[name]
			}
			if at == nil {
				t.Errorf("%s leads nowhere", ref)
			}
		}
		for _, inside := range v {
			danglingRefs(t, doc, inside)
		}
	case []any:
		for _, inside := range v {
			danglingRefs(t, doc, inside)
		}
	}
}

// TestEveryRouteDescribed: what is served is described, and the other way round.
func TestEveryRouteDescribed(t *testing.T) {
	s := newSetup()
	for _, name := range []string{"/openapi.json", "/swagger.json"} {
		var doc struct {
			Paths map[string]map[string]struct{ OperationID string }
		}
		w := s.do("GET", name, "")
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		served, ids := map[string]bool{}, map[string]bool{}
		for _, rt := range (&api{}).routes() {
			served[rt.method+" "+bracedPath(rt.pattern)] = true
		}
		for _, spec := range newCatalog().specs {
			served["POST /run/"+spec.Name] = true
		}
		for path, item := range doc.Paths {
			for method, op := range item {
				key := strings.ToUpper(method) + " " + path
				if !served[key] {
					t.Errorf("%s describes %s, which is not served", name, key)
				}
				if op.OperationID == "" || ids[op.OperationID] {
					t.Errorf("%s: %s has the id %q, which another has, too", name, key, op.OperationID)
				}
				delete(served, key)
				ids[op.OperationID] = true
			}
		}
		for key := range served {
			t.Errorf("%s does not describe %s", name, key)
		}
	}
}

// TestCheckedSees: what is not described is found.
func TestCheckedSees(t *testing.T) {
	for name, tt := range map[string]struct {
		method, target, body, answer string
		status                       int
	}{
		"status":       {"GET", "/ping", "", `{"status":"online"}`, 418},
		"member":       {"GET", "/ping", "", `{"status":"online","more":1}`, 200},
		"missing":      {"GET", "/ping", "", `{}`, 200},
		"class":        {"GET", "/task/a", "", `{"id":"a","type":"t","status":"DONE"}`, 200},
		"code":         {"GET", "/ping", "", `{"message":"m","code":"not_found","request_id":"r"}`, 500},
		"request":      {"POST", "/task", `{"type":7,"args":{}}`, `{"id":"a","type":"t","status":"PENDING"}`, 200},
		"typed run":    {"POST", "/run/test.main.add", `{"x":"1","y":2}`, `{"id":"a","type":"t","status":"PENDING"}`, 200},
		"typed run 2":  {"POST", "/run/test.main.add", `{"x":1}`, `{"id":"a","type":"t","status":"PENDING"}`, 200},
		"query":        {"GET", "/task?limit=many", "", `{"items":[]}`, 200},
		"content type": {"GET", "/livez", "", `{}`, 200},
	} {
		proof.mu.Lock()
		before := len(proof.misfits)
		proof.mu.Unlock()
		r := httptest.NewRequest(tt.method, tt.target, strings.NewReader(tt.body))
		r.Header.Set("Content-Type", "application/json")
		serve(checked(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.answer)
		})), r)
		proof.mu.Lock()
		if len(proof.misfits) == before {
			t.Errorf("%s: nothing was found wrong", name)
		}
		proof.misfits = proof.misfits[:before]
		proof.mu.Unlock()
	}
}
