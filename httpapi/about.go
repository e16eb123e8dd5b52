package httpapi

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"pytasks/httpapi/auth"
	"pytasks/httpapi/openapi"
)

// about is what the description of the API says of a route beside its summary, in terms of what its handler reads and writes.
type about struct {
	id      string          // what the functions of generated clients are called
	params  []openapi.Param // in the query and in headers; those of the path are found in it
	takes   any             // a value of the struct that is read from a body of JSON; nil = there is no body
	gives   any             // a value of what a 200 has as JSON, or a media
	later   bool            // what it gives may also be a 202, when a wait was in vain
	also    []openapi.Answer
	refuses []string // the codes of its refusals, beside those that any route may answer with
	doc     string   // CommonMark; "" = the summary says all
}

// media is an answer that is no JSON.
type media string

// The media of answers.
const (
	plainText media = "text/plain"
	html      media = "text/html"
	lines     media = "application/x-ndjson"
	anyFile   media = "*/*"
)

// The codes of what is read from the cluster, and of what is changed in it.
var (
	reading = []string{"no_leader", codeTimeout}
	writing = []string{"no_leader", codeUnknown}
	bodies  = []string{codeBadRequest, codeTooLarge}
	queuing = slices.Concat(bodies, writing, []string{
		codeUnknownType, codeArgs, "id_taken", "key_reused", "queue_full", codeDiskFull, "no_pack", codeBusy,
	})
	loggingIn = slices.Concat(bodies, reading, []string{codeCredentials, "no_keys"})
	changing  = slices.Concat(bodies, reading, writing, []string{codeArgs, codeNotFound, "last_admin", "conflict"})
	packing   = slices.Concat(bodies, reading, writing, []string{codeNotFound, codeBadPack, "pack_busy", codeDiskFull, "conflict"})
)

func codes(lists ...any) (all []string) {
	for _, l := range lists {
		switch v := l.(type) {
		case string:
			all = append(all, v)
		case []string:
			all = append(all, v...)
		}
	}
	return all
}

// judged are the statuses of refusals that are made where a request is judged; those of errors are in refusals.
var judged = map[string]int{
	codeBadRequest:  http.StatusBadRequest,
	tokenCodes:      http.StatusUnauthorized,
	codeCredentials: http.StatusUnauthorized,
	codeForbidden:   http.StatusForbidden,
	codeUnknownType: http.StatusNotFound,
	codeNoPath:      http.StatusNotFound,
	codeUnfinished:  http.StatusConflict,
	codeMethod:      http.StatusMethodNotAllowed,
	codeArgs:        http.StatusUnprocessableEntity,
	codeBadPack:     http.StatusUnprocessableEntity,
	codeTooMany:     http.StatusTooManyRequests,
	codeBusy:        http.StatusServiceUnavailable,
	"no_keys":       http.StatusServiceUnavailable,
	codeInternal:    http.StatusInternalServerError,
}

// tokenCodes stands for the codes of package auth.
const tokenCodes = "token_*"

// statusOf returns the status of the refusals of a code.
func statusOf(code string) int {
	if r, ok := refusals[code]; ok {
		return r.status
	}
	return judged[code]
}

// allRefusals returns the codes of everything that a route may refuse with.
func (rt *route) allRefusals() []string {
	all := slices.Concat(rt.refuses, []string{codeInternal, codeTooMany})
	if rt.need != public {
		all = append(all, tokenCodes, "no_keys", codeForbidden, codeTimeout)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// operation describes a route. The anonymous are who may ask without a token.
func (rt *route) operation(schemas *openapi.Schemas, anonymous *auth.Principal) openapi.Operation {
	op := openapi.Operation{
		Method: rt.method, Path: bracedPath(rt.pattern), ID: rt.id, Tag: tagOf(rt.pattern), Summary: rt.summary, Doc: rt.doc,
		Bearer: rt.need != public, Open: rt.need.openTo(anonymous), Basic: rt.method == http.MethodPost && rt.pattern == "/token" || rt.pattern == "/metrics",
	}
	if slices.Contains(auth.Scopes(), string(rt.need)) {
		op.Scopes = []string{string(rt.need)}
	}
	for _, part := range strings.Split(rt.pattern, "/") {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			op.Params = append(op.Params, openapi.Param{Name: name, In: openapi.InPath, Schema: anyText})
		}
	}
	op.Params = append(op.Params, rt.params...)
	if rt.takes != nil {
		op.Body = &openapi.Body{Contents: jsonOf(schemas.Taken(rt.takes)), Optional: op.Basic}
		if rt.pattern == "/packs" {
			for _, kind := range archiveTypes {
				op.Body.Contents = append(op.Body.Contents, openapi.Content{Type: kind})
			}
		}
	}
	op.Answers = append(rt.answers(schemas), rt.also...)
	for _, status := range []int{400, 401, 403, 404, 409, 413, 422, 429, 500, 503} {
		if a, ok := rt.refusal(status, schemas); ok && !slices.ContainsFunc(rt.also, func(b openapi.Answer) bool { return a.Status == b.Status }) {
			op.Answers = append(op.Answers, a)
		}
	}
	return op
}

// answers returns how a route answers when all is well.
func (rt *route) answers(schemas *openapi.Schemas) []openapi.Answer {
	ok := openapi.Answer{Status: http.StatusOK, Doc: "It is done, or here it is."}
	switch gives := rt.gives.(type) {
	case media:
		ok.Content = []openapi.Content{{Type: string(gives)}}
		if gives == html || gives == plainText {
			ok.Content[0].Schema = anyText
		}
	default:
		schema := schemas.Of(gives)
		if ref, named := schema.(openapi.Object).Get("$ref").(string); named {
			ok.Name = "OK." + path.Base(ref)
		}
		ok.Content = jsonOf(schema)
	}
	if rt.later {
		later := openapi.Answer{Status: http.StatusAccepted, Doc: "It is not finished yet: ask again.", Content: ok.Content}
		later.Name = strings.Replace(ok.Name, "OK", "Accepted", 1)
		return []openapi.Answer{ok, later}
	}
	return []openapi.Answer{ok}
}

// refusal describes what a route may be refused with under a status, ok is false if it never is.
func (rt *route) refusal(status int, schemas *openapi.Schemas) (a openapi.Answer, ok bool) {
	name, doc := http.StatusText(status), http.StatusText(status)
	again := false
	for _, code := range rt.allRefusals() {
		if statusOf(code) != status {
			continue
		}
		sep := ", "
		if !ok {
			sep = ": "
		}
		doc += sep + "`" + code + "`"
		name += "." + strings.TrimSuffix(code, "_*")
		ok, again = true, again || refusals[code].again || code == codeBusy || code == codeTooMany || code == "no_keys"
	}
	a = openapi.Answer{Status: status, Doc: doc, Name: strings.ReplaceAll(name, " ", ""), Content: jsonOf(schemas.Of(refusalShape{}))}
	if again {
		a.Headers = append(a.Headers, openapi.Header{Name: "Retry-After", Doc: "In how many seconds trying again may help."})
	}
	if status == http.StatusUnauthorized {
		a.Headers = append(a.Headers, openapi.Header{Name: "WWW-Authenticate", Doc: "How to show who one is."})
	}
	return a, ok
}

func jsonOf(schema any) []openapi.Content {
	return []openapi.Content{{Type: "application/json", Schema: schema}}
}

// openTo says whether who has no token may do what needs n.
func (n need) openTo(anonymous *auth.Principal) bool {
	switch n {
	case public:
		return true
	case submits:
		return anonymous.Submits
	case known:
		return false
	case reads:
		return anonymous.May(auth.TasksRead)
	}
	return anonymous.May(string(n))
}

// bracedPath writes a pattern of the router as OpenAPI writes paths.
func bracedPath(pattern string) string {
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

// The groups that operations are shown in.
var tags = []openapi.Tag{
	{Name: "Tasks"}, {Name: "Packs"}, {Name: "Users and tokens"}, {Name: "Cluster"}, {Name: "Health"}, {Name: "Documentation"},
}

// tagOf returns the group of a pattern, by its first part.
func tagOf(pattern string) string {
	first, _, _ := strings.Cut(pattern[1:], "/")
	switch first {
	case "task", "tasks", "run":
		return "Tasks"
	case "packs":
		return "Packs"
	case "token", "protected", ".well-known", "keys", "users", "audit":
		return "Users and tokens"
	case "cluster", "nodes", "snapshot":
		return "Cluster"
	case "ping", "livez", "readyz", "metrics":
		return "Health"
	}
	return "Documentation"
}
