package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// logIdle is how long a client may take to read a part of a log that is followed.
const logIdle = time.Minute

// log is GET /task/:id/logs: what the task has printed, as it was printed. ?follow=1 goes on
// until the task is finished.
func (c *call) log() {
	id := c.params.ByName("id")
	follow, err := strconv.ParseBool(first(c.query().Get("follow"), "false"))
	if err != nil {
		c.badQuery("follow must be 1 or 0")
		return
	}
	if !c.seesTask(id) {
		return
	}
	ctx := c.r.Context()
	if !follow {
		var cancel context.CancelFunc
		ctx, cancel = c.bounded()
		defer cancel()
	}
	control := http.NewResponseController(c.w)
	begun := false
	begin := func() {
		begun = true
		h := c.w.Header()
		h["Content-Type"] = typeText
		h["X-Content-Type-Options"] = noSniff
		c.WriteHeader(http.StatusOK)
	}
	err = c.api.Tasks.Log(ctx, id, follow, func(part []byte) error {
		if !begun {
			begin()
		}
		if err := control.SetWriteDeadline(time.Now().Add(logIdle)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := c.Write(part); err != nil {
			return err
		}
		if err := control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		return nil
	})
	switch {
	case begun && err != nil: // cut off: the client must not take it for the whole
		panic(http.ErrAbortHandler)
	case err != nil:
		c.failTask(err, id)
	case !begun:
		begin()
	}
}
