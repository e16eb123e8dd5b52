package httpapi

import (
	"fmt"
	"io"
	"net/http"

	"pytasks/fsm"
)

// retry is POST /task/:id/retry: a finished task is queued anew, at once and under a new id, as if the caller had sent it. Its args
// are checked against the release that new tasks run on; priority, timeout, retry and tags are as they were.
func (c *call) retry() {
	wait, err := parseWait(c.query())
	if err != nil {
		c.badQuery(err.Error())
		return
	}
	if c.denied != nil {
		c.refuse(c.denied)
		return
	}
	old, ok := c.finished(c.params.ByName("id"))
	if !ok {
		return
	}
	key := fsm.NewKey(c.api.Now())
	n := &fsm.New{Key: key[:], Priority: old.Priority, TimeoutMs: old.TimeoutMs, Retry: old.Retry, Tags: old.Tags, Where: old.Where}
	args, p, err := c.argsOf(old)
	if err != nil {
		c.failRead(err)
		return
	}
	if p == nil {
		_, p = c.checkTask(old.Type, args, n)
	}
	if p != nil {
		c.refuse(p)
		return
	}
	if out, ok := c.queue([]*fsm.New{n}, nil); ok {
		c.queued(out, n.Type, wait)
	}
}

// finished returns a task that the caller may know of and that is finished. When ok is false the request has been answered.
func (c *call) finished(id string) (t *fsm.Task, ok bool) {
	if t, ok = c.seen(id); !ok || t.Status.Final() {
		return t, ok
	}
	// What this node has may be old, if the leader did not answer.
	ctx, cancel := c.bounded()
	defer cancel()
	t, err := c.api.Tasks.Task(ctx, id, Linearizable)
	if err != nil {
		c.failTask(err, id)
		return nil, false
	}
	if t.Status.Final() {
		return t, true
	}
	b := append(c.buf[:0], `{"message":`...)
	b = appendString(b, fmt.Sprintf("the task is not finished, it is %s: cancel it before it is tried anew (POST /task/%s/cancel, `pytasks task cancel`)", t.Status, id))
	b = append(b, `,"code":"`+codeUnfinished+`","id":`...)
	b = appendString(b, id)
	b = append(b, `,"status":"`...)
	b = append(b, t.Status.String()...)
	c.refused(http.StatusConflict, append(b, '"'))
	return nil, false
}

// argsOf returns the args of a task, wherever they are; large ones hold room until the call is released.
func (c *call) argsOf(t *fsm.Task) ([]byte, *problem, error) {
	size := t.ArgsBlob.GetSize()
	switch {
	case t.ArgsBlob == nil:
		return t.Args, c.api.checkArgs(t.Args), nil
	case size > c.api.MaxArgs:
		return nil, &problem{
			status: http.StatusRequestEntityTooLarge, code: codeTooLarge,
			message: fmt.Sprintf("the args are %d bytes long, the limit is %d now", size, c.api.MaxArgs),
		}, nil
	}
	if p := c.hold(size); p != nil {
		return nil, p, nil
	}
	ctx, cancel := c.boundedFor(size)
	defer cancel()
	r, err := c.api.Tasks.Blob(ctx, t.ArgsBlob)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	args := make([]byte, size)
	if _, err := io.ReadFull(r, args); err != nil {
		return nil, nil, fmt.Errorf("read the args of a task: %w", err)
	}
	return args, nil, nil
}
