package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/julienschmidt/httprouter"

	"pytasks/httpapi/auth"
)

const (
	// maxKept is the largest answer buffer that is kept for the next request,
	// in bytes.
	maxKept = 64 << 10
	// maxWait is the longest ?wait=.
	maxWait = 10 * time.Minute
)

// call is one request on its way through a handler. Calls are pooled, with the
// buffer that the answer is written to; requests' bodies are not, as the queue
// may still hold parts of them when the request is over.
type call struct {
	api    *api
	w      http.ResponseWriter
	r      *http.Request
	params httprouter.Params
	buf    []byte // the answer's body
	status int    // 0 until the answer is sent
	large  int64  // bytes of api.large that the body holds
	most   int64  // the largest body that is read, 0 = api.MaxBody

	who    *auth.Principal // who asks
	claims *auth.Claims    // what their token says, nil = there is none
	denied *problem        // why a token was not looked at where none is needed
}

// serve turns h into what the router calls.
func (a *api) serve(n need, h func(*call), m *routeMetrics) httprouter.Handle {
	return func(w http.ResponseWriter, r *http.Request, ps httprouter.Params) {
		start := a.Now()
		c := a.calls.Get().(*call)
		c.w, c.r, c.params, c.buf, c.status, c.most = w, r, ps, c.buf[:0], 0, 0
		answered := false
		defer func() {
			if !answered { // a panic is on its way up; the call stays out of the pool
				c.release()
				m.done(http.StatusInternalServerError, a.Now().Sub(start))
			}
		}()
		switch p := c.admit(n); {
		case c.status != 0: // answered by it
		case p != nil:
			c.refuse(p)
		default:
			h(c)
		}
		answered = true
		c.release()
		m.done(c.status, a.Now().Sub(start))
		c.w, c.r, c.params, c.who, c.claims, c.denied = nil, nil, nil, nil, nil, nil
		if cap(c.buf) > maxKept {
			c.buf = nil
		}
		a.calls.Put(c)
	}
}

// release gives back what the body took of the bound on large ones.
func (c *call) release() {
	if c.large > 0 {
		c.api.large.Release(c.large)
		c.large = 0
	}
}

// serveHTTP is serve for the router's own cases.
func (a *api) serveHTTP(h func(*call), m *routeMetrics) http.Handler {
	handle := a.serve(public, h, m)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, nil) })
}

// panicked answers a request whose handler panicked.
func (a *api) panicked(w http.ResponseWriter, r *http.Request, v any) {
	if v == http.ErrAbortHandler {
		panic(v) // asks net/http to close the connection
	}
	c := &call{api: a, w: w, r: r}
	a.Logger.Error("request handler panicked", "method", r.Method, "path", r.URL.Path, "request", c.requestID(), "panic", v, "stack", string(debug.Stack()))
	c.refuse(&problem{status: http.StatusInternalServerError, code: codeInternal, message: "Internal Server Error"})
}

// allow gives the answer so much more time, as the handler waits for something that takes long.
func (c *call) allow(wait time.Duration) {
	const reading = time.Minute // of the answer, by the client
	// An error means that the connection knows no deadlines, or has gone.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(wait + reading))
}

// query returns the parameters behind the question mark.
func (c *call) query() url.Values {
	if c.r.URL.RawQuery == "" {
		return nil
	}
	return c.r.URL.Query()
}

// Header, WriteHeader and Write make a call an http.ResponseWriter, for
// handlers that write by themselves.
func (c *call) Header() http.Header { return c.w.Header() }

func (c *call) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.w.WriteHeader(status)
}

func (c *call) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.w.Write(b)
}

// Values of headers that are the same in every answer, shared so that setting
// one does not allocate.
var (
	typeJSON  = []string{"application/json"}
	typeText  = []string{"text/plain; charset=utf-8"}
	typeHTML  = []string{"text/html; charset=utf-8"}
	typeLines = []string{"application/x-ndjson"}
	noSniff   = []string{"nosniff"}
)

// sendJSON answers with what stands in c.buf.
func (c *call) sendJSON(status int) {
	c.buf = append(c.buf, '\n')
	c.send(status, typeJSON, c.buf)
}

func (c *call) send(status int, contentType []string, body []byte) {
	h := c.w.Header()
	h["Content-Type"] = contentType
	h["X-Content-Type-Options"] = noSniff
	if len(body) > 2000 { // net/http finds the length of smaller ones by itself, at less cost
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	c.WriteHeader(status)
	c.w.Write(body) // an error means that the client has gone
}

// parseWait reads ?wait=: how long the client wants the answer held back for
// the result, as a duration or in seconds. 0 = not at all.
func parseWait(q url.Values) (time.Duration, error) {
	text := q.Get("wait")
	if text == "" {
		return 0, nil
	}
	d, ok := parseSpan(text)
	if !ok || d < 0 || d > maxWait {
		return 0, errors.New("wait must be a time from 0 to 10m, such as 10s or 1.5 (seconds)")
	}
	return d, nil
}

// parseConsistency reads ?consistency=.
func parseConsistency(q url.Values) (Consistency, error) {
	switch v := Consistency(q.Get("consistency")); v {
	case "":
		return Default, nil
	case Default, Stale, Linearizable:
		return v, nil
	}
	return "", errors.New("consistency must be default, stale or linearizable")
}
