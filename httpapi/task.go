package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
)

const (
	defaultLimit = 50   // of GET /task
	maxLimit     = 1000 // of GET /task
)

// get is GET /task/:id.
func (c *call) get() {
	id := c.params.ByName("id")
	q := c.query()
	wait, err := parseWait(q)
	if err != nil {
		c.badQuery(err.Error())
		return
	}
	how, err := parseConsistency(q)
	if err != nil {
		c.badQuery(err.Error())
		return
	}
	if wait > 0 {
		t, err := c.await(id, wait)
		if err == nil && !c.maySee(t) {
			err = fsm.ErrNotFound
		}
		if err != nil {
			c.failTask(err, id)
			return
		}
		if err := c.sendTask(t, awaited(t)); err != nil {
			c.failTask(err, id)
		}
		return
	}
	ctx, cancel := c.bounded()
	defer cancel()
	t, err := c.api.Tasks.Task(ctx, id, how)
	if err == nil && !c.maySee(t) {
		err = fsm.ErrNotFound
	}
	if err != nil {
		c.failTask(err, id)
		return
	}
	if err := c.sendTask(t, http.StatusOK); err != nil {
		c.failTask(err, id)
	}
}

// await returns a task when it is final, or as it stands when the time is up.
func (c *call) await(id string, wait time.Duration) (*fsm.Task, error) {
	c.allow(wait)
	ctx, cancel := context.WithTimeout(c.r.Context(), wait)
	defer cancel()
	return c.api.Tasks.Wait(ctx, id)
}

// awaited is the status of an answer that was waited for.
func awaited(t *fsm.Task) int {
	if t.Status.Final() {
		return http.StatusOK
	}
	return http.StatusAccepted
}

// sendTask answers with a task. When it returns an error nothing was answered.
func (c *call) sendTask(t *fsm.Task, status int) error {
	if t.ArgsBlob != nil || t.ResultBlob != nil {
		return c.sendLarge(t, status)
	}
	c.buf = c.api.appendTask(c.buf[:0], t)
	c.sendJSON(status)
	return nil
}

// failTask answers a failed read of one task.
func (c *call) failTask(err error, id string) {
	if codeOf(err) == codeNotFound {
		if c.denied != nil { // it may be there for who has a good token
			c.refuse(c.denied)
			return
		}
		c.refuse(&problem{status: http.StatusNotFound, code: codeNotFound, message: "there is no task with the id " + id})
		return
	}
	c.failRead(err)
}

// cancel is POST /task/:id/cancel. Revoking a task that is revoked already
// succeeds, so that a caller who got no answer may ask again.
func (c *call) cancel() {
	id := c.params.ByName("id")
	if !c.mayCancel(id) {
		return
	}
	ctx, cancel := c.bounded()
	defer cancel()
	out, err := c.api.Tasks.Cancel(c.acting(ctx), id)
	status := fsm.Status_REVOKED
	switch code := codeOf(err); {
	case code == codeFinished:
		if status = out.GetStatus(); !status.Final() {
			t, err := c.api.Tasks.Task(ctx, id, Default)
			if err != nil {
				c.failTask(err, id)
				return
			}
			status = t.Status
		}
	case code == codeNotFound:
		c.failTask(err, id)
		return
	case err != nil:
		c.failWrite(err, id)
		return
	}

	b := append(c.buf[:0], '{')
	code := http.StatusOK
	if status != fsm.Status_REVOKED {
		code = http.StatusConflict
		b = append(b, `"message":"the task is finished already","code":"finished",`...)
		b = append(appendString(append(b, `"request_id":`...), c.requestID()), ',')
	}
	b = append(b, `"id":`...)
	b = appendString(b, id)
	b = append(b, `,"status":"`...)
	b = append(b, status.String()...)
	c.buf = append(b, '"', '}')
	c.sendJSON(code)
}

// mayCancel says whether the caller may revoke a task: their own, or with the scope any. When it returns false the request
// has been answered.
func (c *call) mayCancel(id string) bool {
	if c.denied != nil {
		c.refuse(c.denied)
		return false
	}
	if c.who.May(auth.TasksWrite) {
		return true
	}
	t, ok := c.seen(id)
	if ok && !c.who.Owns(t.Owner) {
		c.refuse(&problem{status: http.StatusForbidden, code: codeForbidden, message: "cancelling a task of others needs the scope " + auth.TasksWrite})
		return false
	}
	return ok
}

// seesTask says whether the caller may know of a task. When it returns false the request has been answered.
func (c *call) seesTask(id string) bool {
	if c.denied != nil {
		c.refuse(c.denied)
		return false
	}
	if c.who.May(auth.TasksRead) {
		return true
	}
	_, ok := c.seen(id)
	return ok
}

// seen returns a task that the caller may know of. When ok is false the request has been answered.
func (c *call) seen(id string) (t *fsm.Task, ok bool) {
	ctx, cancel := c.bounded()
	defer cancel()
	t, err := c.api.Tasks.Task(ctx, id, Default)
	if err == nil && !c.maySee(t) {
		err = fsm.ErrNotFound
	}
	if err != nil {
		c.failTask(err, id)
		return nil, false
	}
	return t, true
}

// list is GET /task: those of the caller, or all with the scope. Its items leave out args and results, which may be large:
// GET /task/:id has them.
func (c *call) list() {
	f, how, err := c.filter()
	if err != nil {
		c.badQuery(err.Error())
		return
	}
	if !c.who.May(auth.TasksRead) {
		f.Owned, f.Owner = true, c.who.Sub
	}
	ctx, cancel := c.bounded()
	defer cancel()
	page, err := c.api.Tasks.List(ctx, f, how)
	if err != nil {
		c.failRead(err)
		return
	}
	b := append(c.buf[:0], `{"items":[`...)
	for i, t := range page.Tasks {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.api.appendSummary(b, t)
	}
	b = append(b, ']')
	if page.Next != "" {
		b = append(b, `,"next_cursor":`...)
		b = appendString(b, page.Next)
	}
	c.buf = append(b, '}')
	c.sendJSON(http.StatusOK)
}

// filter reads what GET /task is asked for.
func (c *call) filter() (f fsm.Filter, how Consistency, err error) {
	q := c.query()
	f = fsm.Filter{Type: q.Get("type"), Tag: q.Get("tag"), Cursor: q.Get("cursor"), Limit: defaultLimit}
	if v := q.Get("status"); v != "" {
		s := fsm.Status(fsm.Status_value[strings.ToUpper(v)])
		if s == fsm.Status_UNKNOWN {
			return f, "", errors.New("status must be one of " + statusNames())
		}
		f.Status = s
	}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxLimit {
			return f, "", fmt.Errorf("limit must be a whole number from 1 to %d", maxLimit)
		}
		f.Limit = n
	}
	how, err = parseConsistency(q)
	return f, how, err
}

func statusNames() string {
	var names []string
	for s := fsm.Status_SCHEDULED; s <= fsm.Status_REVOKED; s++ {
		names = append(names, s.String())
	}
	return strings.Join(names, ", ")
}
