package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"

	"pytasks/taskpacks"
)

// The codes of answers that refuse; those of package fsm stand beside them.
const (
	codeBadRequest  = "bad_request"
	codeTooLarge    = "too_large"
	codeUnknownType = "unknown_type"
	codeArgs        = "invalid_task"
	codeNoPath      = "no_such_path"
	codeMethod      = "method_not_allowed"
	codeInternal    = "internal"
	codeUnknown     = "unknown"
	codeFinished    = "finished"
	codeUnfinished  = "unfinished"
	codeNotFound    = "not_found"
	codeTimeout     = "timeout"
	codeDiskFull    = "disk_full"
	codeBusy        = "busy"
	codeBadPack     = "bad_pack"
	codeForbidden   = "forbidden"
	codeCredentials = "invalid_credentials"
	codeTooMany     = "too_many_requests"
)

// refusal is how an error with a code is answered.
type refusal struct {
	status  int
	again   bool   // trying again later may help: Retry-After is sent
	message string // "" = the error's own text
}

// refusals turns the codes of errors into answers. What is not here is a fault
// of this program: 500, with the details in the log.
var refusals = map[string]refusal{
	"not_found":    {http.StatusNotFound, false, ""},
	"finished":     {http.StatusConflict, false, ""},
	"id_taken":     {http.StatusConflict, false, ""},
	"unsafe":       {http.StatusConflict, false, ""},
	"pack_busy":    {http.StatusConflict, false, ""},
	"no_successor": {http.StatusConflict, false, ""},
	"last_node":    {http.StatusConflict, false, ""},
	"last_admin":   {http.StatusConflict, false, ""},
	"conflict":     {http.StatusConflict, false, ""},
	"no_pack":      {http.StatusServiceUnavailable, true, "the pack was changed at this very moment: nothing was queued; send it again"},
	"key_reused":   {http.StatusUnprocessableEntity, false, ""},
	"bad_cursor":   {http.StatusBadRequest, false, ""},
	"queue_full":   {http.StatusTooManyRequests, true, "the queue is full: send it again later"},
	codeTooLarge:   {http.StatusRequestEntityTooLarge, false, ""},
	"no_blob":      {http.StatusServiceUnavailable, true, ""},
	codeDiskFull:   {http.StatusServiceUnavailable, true, ""},
	codeBusy:       {http.StatusServiceUnavailable, true, ""},
	"no_leader":    {http.StatusServiceUnavailable, true, "the cluster has no leader now: nothing was queued or changed; send it again"},
	codeTimeout:    {http.StatusServiceUnavailable, true, "the cluster gave no answer in time: ask again"},
	codeUnknown:    {http.StatusServiceUnavailable, true, "the outcome is unknown: ask GET /task/<id>, or send it again with the same id or Idempotency-Key"},
}

// aliases are the codes of package cluster that mean the same to a caller as
// one above.
var aliases = map[string]string{
	"outcome_unknown": codeUnknown,
	"not_leader":      "no_leader",
	"unreachable":     "no_leader",
	"refused":         "no_leader",
	"unknown_member":  codeNotFound,
}

// codeOf returns the code that err or an error in its chain carries, "" if none.
func codeOf(err error) string {
	var coded interface {
		error
		Code() string
	}
	switch {
	case errors.As(err, &coded):
		code := coded.Code()
		if alias, ok := aliases[code]; ok {
			return alias
		}
		return code
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return codeTimeout
	}
	return ""
}

// failRead answers a read that failed with err.
func (c *call) failRead(err error) {
	code := codeOf(err)
	if code == codeUnknown { // of the way to the leader; a read leaves nothing behind
		code = codeTimeout
	}
	c.fail(code, err)
}

// failWrite answers a write that failed with err. A write that was cut short
// may have been done.
func (c *call) failWrite(err error, ids ...string) {
	code := codeOf(err)
	if code == codeTimeout {
		code = codeUnknown
	}
	c.fail(code, err, ids...)
}

// fail answers with a refusal that names the tasks concerned: one as "id",
// several as "ids".
func (c *call) fail(code string, err error, ids ...string) {
	a, known := refusals[code]
	if !known {
		c.api.Logger.Error("request failed", "method", c.r.Method, "path", c.r.URL.Path, "request", c.requestID(), "err", err)
		code = codeInternal
		a = refusal{http.StatusInternalServerError, false, "Internal Server Error"}
	}
	message := a.message
	if message == "" {
		message = textOf(err)
	}
	if a.again {
		c.w.Header()["Retry-After"] = []string{"1"}
	}
	b := append(c.buf[:0], `{"message":`...)
	b = appendString(b, message)
	b = append(b, `,"code":`...)
	b = appendString(b, code)
	switch {
	case len(ids) == 1:
		b = append(b, `,"id":`...)
		b = appendString(b, ids[0])
	case len(ids) > 1:
		b = append(b, `,"ids":`...)
		b = appendStrings(b, ids)
	}
	c.refused(a.status, b)
}

// refused sends an answer that refuses, but for its end: the id of the request, which a log line may have as well.
func (c *call) refused(status int, b []byte) {
	b = append(b, `,"request_id":`...)
	c.buf = append(appendString(b, c.requestID()), '}')
	c.sendJSON(status)
}

// maxRequestID is the longest id that a client may give a request.
const maxRequestID = 64

// requestID returns the id of the request: the one that its client, or a proxy, gave it in X-Request-Id, else a new one. It is in
// the answer's header as well.
func (c *call) requestID() string {
	h := c.w.Header()
	if id := h["X-Request-Id"]; len(id) == 1 {
		return id[0]
	}
	id := c.r.Header.Get("X-Request-Id")
	if len(id) > maxRequestID || !validID(id) {
		id = rand.Text()
	}
	h["X-Request-Id"] = []string{id}
	return id
}

// diskFull says which node is short of disk space.
type diskFull struct{ node string }

func (e *diskFull) Code() string { return codeDiskFull }

func (e *diskFull) Error() string {
	return "the disk of node " + e.node + " is nearly full: nothing was queued; free some space there, or add some, and send it again"
}

// textOf returns the text of the error that carries the code, without what was
// wrapped around it on the way: addresses are not for callers.
func textOf(err error) string {
	var coded interface {
		error
		Code() string
	}
	errors.As(err, &coded)
	return coded.Error()
}

// problem is why a request is refused before anything is done.
type problem struct {
	status  int
	code    string
	message string

	// Of a 400: the field of the body, what the reference says of it, and
	// beside that the reason.
	field, text, detail string
	// Of a 401: how to do better, as WWW-Authenticate.
	challenge string
	// Of a 422: everything that is wrong with the task.
	faults []taskpacks.Fault
}

// refuse answers with p.
func (c *call) refuse(p *problem) {
	b := append(c.buf[:0], `{"message":`...)
	b = appendString(b, p.message)
	b = append(b, `,"code":`...)
	b = appendString(b, p.code)
	if p.field != "" {
		b = append(b, `,"errors":{`...)
		b = appendString(b, p.field)
		b = append(b, ':')
		b = appendString(b, p.text)
		b = append(b, '}')
	}
	if p.detail != "" {
		b = append(b, `,"detail":`...)
		b = appendString(b, p.detail)
	}
	if p.faults != nil {
		b = append(b, `,"errors":[`...)
		for i := range p.faults {
			b = appendFault(b, -1, &p.faults[i])
			b = append(b, ',')
		}
		b[len(b)-1] = ']'
	}
	if p.challenge != "" {
		c.w.Header()["Www-Authenticate"] = []string{p.challenge}
	}
	c.refused(p.status, b)
}

// appendFault writes a fault, with the index of its task unless that is -1.
func appendFault(b []byte, task int, f *taskpacks.Fault) []byte {
	b = append(b, '{')
	if task >= 0 {
		b = append(b, `"task":`...)
		b = appendInt(b, int64(task))
		b = append(b, ',')
	}
	for _, m := range [...]struct{ key, value string }{
		{"param", f.Param}, {"code", f.Code}, {"message", f.Message}, {"got", f.Got}, {"want", f.Want},
	} {
		if m.value != "" {
			b = appendKey(b, m.key)
			b = appendString(b, m.value)
			b = append(b, ',')
		}
	}
	b[len(b)-1] = '}'
	return b
}

func (c *call) badQuery(message string) {
	c.refuse(&problem{status: http.StatusBadRequest, code: codeBadRequest, message: message})
}

func (c *call) noSuchPath() {
	c.refuse(&problem{status: http.StatusNotFound, code: codeNoPath, message: "there is nothing at this path: GET / lists what there is"})
}

func (c *call) wrongMethod() {
	c.refuse(&problem{status: http.StatusMethodNotAllowed, code: codeMethod, message: "The method is not allowed for the requested URL."})
}
