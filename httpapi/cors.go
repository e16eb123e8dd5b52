package httpapi

import (
	"net/http"
	"slices"
	"strings"
)

// cors says which pages of other origins may use the API. Origins are compared
// exactly; credentials are never allowed.
type cors struct {
	any     bool
	origins []string
}

func newCORS(origins []string) *cors {
	c := &cors{any: slices.Contains(origins, "*")}
	for _, o := range origins {
		if o = strings.TrimSpace(o); o != "" {
			c.origins = append(c.origins, o)
		}
	}
	return c
}

// wrap sets the headers on every answer of next, refusals included.
func (c *cors) wrap(next http.Handler) http.Handler {
	if len(c.origins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if c.allow(h, r.Header.Get("Origin")) && r.Method == http.MethodOptions {
			preflight(h, r)
		}
		next.ServeHTTP(w, r)
	})
}

// allow sets the headers for a request from origin, "" if it names none, and
// reports whether it is allowed.
func (c *cors) allow(h http.Header, origin string) bool {
	switch {
	case origin == "" && c.any:
		h["Access-Control-Allow-Origin"] = []string{"*"}
	case origin == "" && len(c.origins) == 1:
		h["Access-Control-Allow-Origin"] = c.origins
	default:
		h["Vary"] = []string{"Origin"}
		if !c.any && !slices.Contains(c.origins, origin) {
			return false
		}
		h["Access-Control-Allow-Origin"] = []string{origin}
	}
	h["Access-Control-Expose-Headers"] = []string{"Location, Retry-After"}
	return true
}

// allows says whether pages of an origin may use the API.
func (c *cors) allows(origin string) bool { return c.any || slices.Contains(c.origins, origin) }

// preflight answers what a browser asks before it sends a request that a page
// made: any method here, and whatever headers it wants to send.
func preflight(h http.Header, r *http.Request) {
	if r.Header.Get("Access-Control-Request-Method") == "" {
		return
	}
	h["Access-Control-Allow-Methods"] = []string{"DELETE, GET, HEAD, OPTIONS, POST"}
	var names []string
	for _, name := range strings.Split(r.Header.Get("Access-Control-Request-Headers"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	if names != nil {
		slices.Sort(names)
		h["Access-Control-Allow-Headers"] = []string{strings.Join(names, ", ")}
	}
}
