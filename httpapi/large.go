package httpapi

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"pytasks/fsm"
)

// sendTime is how long a client may take to read an answer with large arguments or a large result,
// beside a second for every 64 KiB of it.
const sendTime = time.Minute

// sendLarge answers with a task whose arguments or result are blobs: they go from the disk to the
// client and are not held in memory. When it returns an error nothing was answered.
func (c *call) sendLarge(t *fsm.Task, status int) error {
	size := t.ResultBlob.GetSize() + t.ArgsBlob.GetSize()
	ctx, cancel := c.boundedFor(size)
	defer cancel()
	var blobs [2]io.ReadCloser
	for i, b := range []*fsm.Blob{t.ResultBlob, t.ArgsBlob} {
		if b == nil {
			continue
		}
		r, err := c.api.Tasks.Blob(ctx, b)
		if err != nil {
			return err
		}
		defer r.Close()
		blobs[i] = r
	}

	b := appendToResult(c.buf[:0], t)
	if blobs[0] == nil {
		b = appendResult(b, t)
	}
	result := len(b) // where it goes
	b = appendToArgs(b, t)
	if blobs[1] == nil {
		b = append(b, t.Args...)
	}
	args := len(b)
	c.buf = append(c.api.appendRest(b, t), '\n')

	control := http.NewResponseController(c.w)
	limit := sendTime + time.Duration(size)*time.Second/(64<<10)
	if err := control.SetWriteDeadline(time.Now().Add(limit)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	defer control.SetWriteDeadline(time.Time{}) // of what follows on the connection
	h := c.w.Header()
	h["Content-Type"] = typeJSON
	h["Content-Length"] = []string{strconv.FormatInt(int64(len(c.buf))+size, 10)}
	c.WriteHeader(status)
	for _, part := range []struct {
		text []byte
		blob io.Reader
	}{{c.buf[:result], blobs[0]}, {c.buf[result:args], blobs[1]}, {c.buf[args:], nil}} {
		_, err := c.w.Write(part.text)
		if err == nil && part.blob != nil {
			_, err = io.Copy(c.w, part.blob)
		}
		if err != nil { // the client has gone, or sees that the answer is shorter than announced
			c.api.Logger.Debug("answer cut off", "path", c.r.URL.Path, "err", err)
			break
		}
	}
	return nil
}
