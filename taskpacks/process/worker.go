package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"pytasks/taskpacks"
)

const (
	// keepPrinted is how much of what a worker printed goes into the error of its death, in bytes.
	keepPrinted = 2 << 10
	// endGrace is what a process gets to end by itself once it cannot answer any more, and an idle worker when it is not
	// needed any more.
	endGrace, retireGrace = 100 * time.Millisecond, time.Second
)

// errUnread is the error of a request that no worker has read: nothing was run.
var errUnread = errors.New("the worker had died")

// errNotReady is why the start of a worker is given up.
var errNotReady = errors.New("the worker was not ready in time")

// worker is a warm process of a Pool. One goroutine uses it at a time.
type worker struct {
	*group
	requests *os.File // its descriptor 3
	in       *inlet   // its descriptor 4
	answers  *bufio.Reader
	log      *logPipe

	fit   bool   // it may take another call
	dir   string // of its next call; "" if it is yet to be made
	calls int
	forks int         // lastPID when it was last known to be alone in its group
	idle  *time.Timer // ends it while it is idle; nil before it first was

	unneeded chan struct{} // closed by retire
	cleaned  chan struct{} // closed when nothing is left of it
}

// newWorker starts a worker and waits until it is ready. What it prints goes to log.
func (p *Pool) newWorker(ctx context.Context, log io.Writer) (*worker, error) {
	w, err := p.host.startWorker(p.program, log)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeoutCause(ctx, p.host.cfg.Start, errNotReady)
	defer cancel()
	a, err := w.exchange(within, nil)
	if err == nil && a.Ready && within.Err() == nil {
		w.fit = true
		return w, nil
	}
	printed := w.end(err)
	var said error
	if a.Fatal != nil {
		said = p.host.failed(a.Fatal)
		printed = end(a.Fatal.Traceback)
	}
	switch {
	case ctx.Err() != nil:
		return nil, stopped(ctx, said)
	case within.Err() != nil:
		return nil, &taskpacks.Error{
			Reason: taskpacks.ReasonError, Type: "StartTimeout", Traceback: printed,
			Message: fmt.Sprintf("the pack was not ready after %v: let what it does when it is loaded come to an end", p.host.cfg.Start),
		}
	case said != nil:
		return nil, said
	case err == io.EOF:
		return nil, w.death(printed)
	case err == nil:
		return nil, badFrame("%w: the first one says that the worker is ready", errFrame)
	}
	return nil, err
}

// startWorker starts the process of a worker.
func (h *Host) startWorker(program Program, log io.Writer) (*worker, error) {
	home, err := h.folder()
	if err != nil {
		return nil, err
	}
	w := &worker{forks: h.lastPID(), unneeded: make(chan struct{}), cleaned: make(chan struct{})}
	var pipes plumbing
	asked, requests := pipes.outlet()
	in, answers := pipes.inlet()
	printed, out := pipes.inlet()
	w.group, err = h.start(program, home, &pipes, h.null, out, out, asked, answers)
	if err != nil {
		h.discard(home)
		return nil, err
	}
	w.requests, w.in, w.answers = requests, in, bufio.NewReaderSize(in, 4<<10)
	w.log = newLogPipe(printed, keepPrinted, func(text string) {
		h.log.Debug("a worker printed between calls", "text", text)
	})
	w.log.begin(log)
	h.wg.Go(w.log.run)
	h.wg.Go(func() { w.clean(home) })
	return w, nil
}

// call hands the worker a request and returns its result. A worker that is not fit any more afterwards is gone.
func (w *worker) call(ctx context.Context, log io.Writer, req *Request) (json.RawMessage, error) {
	w.calls++
	w.log.begin(log)
	err := w.prepare()
	if err != nil {
		w.fit = false
		w.end(nil)
		return nil, err
	}
	frame := req.frame(w.dir)
	a, err := w.exchange(ctx, frame)
	if err == nil && a.Result == nil && a.Error == nil {
		err = badFrame("%w: it has no member result or error", errFrame)
	}
	unread := err == io.EOF && w.unread() == len(frame)
	w.fit = err == nil && ctx.Err() == nil && w.alone()
	printed := ""
	if w.fit {
		w.log.finish()
		w.tidy()
	} else {
		printed = w.end(err)
	}

	switch {
	case err == nil && a.Result != nil:
		return a.Result, nil
	case ctx.Err() != nil && a.Error != nil:
		return nil, stopped(ctx, w.host.failed(a.Error))
	case ctx.Err() != nil:
		return nil, stopped(ctx, nil)
	case unread:
		return nil, errUnread
	case err == io.EOF:
		return nil, w.death(printed)
	case err != nil:
		return nil, err
	}
	return nil, w.host.failed(a.Error)
}

// exchange sends a frame, nil for none, and reads the answer to it. If ctx ends before, the worker is told to stop, and what it
// answers then is returned. The error is io.EOF if it ended without an answer, errUnread if it took no whole frame.
func (w *worker) exchange(ctx context.Context, frame []byte) (a answer, err error) {
	over, told := make(chan struct{}), make(chan struct{})
	forget := context.AfterFunc(ctx, func() {
		defer close(told)
		w.stop(over)
	})
	defer func() {
		close(over)
		if !forget() {
			<-told
		}
	}()
	w.host.watch.add(w.group)
	defer w.host.watch.remove(w.group)

	if frame != nil {
		if _, err := w.requests.Write(frame); err != nil {
			return a, errUnread
		}
	}
	for {
		a, err = readAnswer(w.answers, w.host.cfg.MaxResult)
		if err != nil || a.Progress == nil {
			return a, err
		}
		if len(a.Progress) == 2 {
			fraction, _ := a.Progress[0].(float64)
			text, _ := a.Progress[1].(string)
			taskpacks.Progress(ctx, fraction, head(text))
		}
	}
}

// ready reports whether an idle worker is alive and has said nothing since its last answer.
func (w *worker) ready() bool {
	var b [1]byte
	return w.answers.Buffered() == 0 && w.in.poll(b[:]) == -1
}

// prepare makes sure that an idle worker can take a call.
func (w *worker) prepare() (err error) {
	if !w.ready() {
		return errUnread
	}
	if w.dir == "" {
		w.dir, err = w.host.folder()
	}
	return err
}

// tidy removes what a call has left in its folder. Most leave nothing, and the next one gets the same folder: on a disk that is
// busy, to make and to remove one would cost more than the call.
func (w *worker) tidy() {
	if !untouched(w.dir) {
		w.host.discard(w.dir)
		w.dir = ""
	}
}

// unread returns how many bytes of the last request have not been read.
func (w *worker) unread() (n int) {
	raw, err := w.requests.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), bytesWaiting) })
	return n
}

// alone reports whether no process but the worker is left in its group, or cgroup. Looking is costly, so it looks if any was made.
func (w *worker) alone() bool {
	last := w.host.lastPID()
	if last != 0 && last == w.forks {
		return true
	}
	w.forks = last
	left := w.members()
	if len(left) > 1 {
		w.host.log.Debug("a call left processes behind: they and their worker are ended", "processes", len(left)-1)
	}
	return len(left) <= 1
}

// grown reports whether the worker keeps more memory than it may.
func (w *worker) grown() bool {
	limit := w.host.cfg.MaxRSS
	return limit > 0 && resident(w.pid) > limit
}

// end kills the worker, waits until nothing is left of it and returns the end of what it printed. One that cannot be heard any
// more, as err says, gets a moment to end by itself: its status tells why.
func (w *worker) end(err error) string {
	if err == io.EOF {
		select {
		case <-w.done:
		case <-time.After(endGrace):
		}
	}
	w.kill()
	w.retire()
	<-w.cleaned
	return w.log.finish()
}

// retire lets the worker end by itself. It is called once and does not wait.
func (w *worker) retire() { close(w.unneeded) }

// clean ends the worker once it is retired, and removes its folders.
func (w *worker) clean(home string) {
	defer close(w.cleaned)
	<-w.unneeded
	w.requests.Close()
	select {
	case <-w.done:
	case <-time.After(retireGrace):
		w.kill()
		<-w.done
	}
	<-w.log.ended
	w.in.f.Close()
	w.host.discard(home)
	if w.dir != "" {
		w.host.discard(w.dir)
	}
}
