package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"pytasks/node/client"
)

// benchWorker is one connection and what was measured on it. Its buffers are used
// again for every request: at tens of thousands of tasks per second beside the nodes
// on the same CPUs, the client's garbage would be part of the measurement.
type benchWorker struct {
	load      *benchLoad
	number    int
	transport *http.Transport
	bases     []*http.Request // a request for each address, copied and completed
	at        int             // index of the address in use
	path      string          // where tasks are posted
	body      []byte
	answer    []byte // body of the last answer

	ids       idList // of the tasks accepted; the i-th was asked for sumOf(i)
	latencies []time.Duration
	accepted  time.Time // of the last one
	retries   int

	lastFinished   time.Time // of the newest task, by the nodes' clock
	latestFinished time.Time // of any task read again
	verified       int
	failed         int
}

// benchState is the part of a task's state that is judged.
type benchState struct {
	Status     string          `json:"status"`
	Result     json.RawMessage `json:"result"`
	FinishedAt time.Time       `json:"finished_at"`
}

// newBenchWorker makes the worker of that number; its address is one of the load's in turn.
func newBenchWorker(l *benchLoad, number int) *benchWorker {
	w := &benchWorker{load: l, number: number, transport: client.NewTransport(1), at: number % len(l.addrs), path: "/task"}
	w.transport.MaxConnsPerHost = 1
	switch {
	case l.batch > 1:
		w.path = "/tasks/batch"
	case l.wait:
		w.path = "/task?wait=" + client.WaitStep.String()
	}
	for _, addr := range l.addrs {
		req, err := http.NewRequest(http.MethodPost, addr, nil)
		if err != nil {
			panic(fmt.Sprintf("bench: address %q was not checked: %v", addr, err))
		}
		req.Header.Set("Content-Type", "application/json")
		w.bases = append(w.bases, req)
	}
	return w
}

func (w *benchWorker) addr() string { return w.load.addrs[w.at] }

// writeTasks makes the body that asks for the next n tasks.
func (w *benchWorker) writeTasks(n int) {
	b := w.body[:0]
	if w.load.batch > 1 {
		b = append(b, `{"tasks":[`...)
	}
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"type":"`...), w.load.taskType...)
		b = append(b, `","args":`...)
		switch {
		case w.load.sums():
			b = append(b, `{"x":`...)
			b = strconv.AppendInt(b, int64(w.ids.len()+i), 10)
			b = append(b, `,"y":7}`...)
		case w.load.args != "":
			b = append(b, w.load.args...)
		default:
			b = append(b, "{}"...)
		}
		b = append(b, '}')
	}
	if w.load.batch > 1 {
		b = append(b, "]}"...)
	}
	w.body = b
}

// sumOf is the result that a worker's i-th task must have.
func sumOf(i int) string { return strconv.Itoa(i + 7) }

// call sends a request until it is granted, to another address where one fails. What
// was sent before a connection broke may run twice, which costs time and harms nothing.
func (w *benchWorker) call(ctx context.Context, method, path string, body []byte) error {
	giveUp := time.Now().Add(benchPatience)
	for {
		status, err := w.send(ctx, method, path, body)
		switch {
		case err == nil && status < 300:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && status == http.StatusNotFound && method == http.MethodGet:
			return errGone
		case err == nil && status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable:
			return fmt.Errorf("bench: %s%s answered %d: %s", w.addr(), path, status, field(w.answer, "message"))
		case time.Now().After(giveUp):
			if err == nil {
				err = fmt.Errorf("%d %s", status, field(w.answer, "message"))
			}
			return &client.UnreachableError{Addrs: w.load.addrs, Err: err}
		}
		w.retries++
		w.at = (w.at + 1) % len(w.load.addrs)
		if err := client.Pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// send sends one request and leaves the body of the answer in w.answer.
func (w *benchWorker) send(ctx context.Context, method, path string, body []byte) (status int, err error) {
	req := w.bases[w.at].WithContext(ctx)
	target := *req.URL
	target.Path, target.RawQuery = path, ""
	if q := bytes.IndexByte([]byte(path), '?'); q >= 0 {
		target.Path, target.RawQuery = path[:q], path[q+1:]
	}
	req.Method, req.URL = method, &target
	if body != nil {
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	resp, err := w.transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	w.answer = w.answer[:0]
	for {
		if len(w.answer) == cap(w.answer) {
			w.answer = append(w.answer, 0)[:len(w.answer)]
		}
		n, err := resp.Body.Read(w.answer[len(w.answer):cap(w.answer)])
		w.answer = w.answer[:len(w.answer)+n]
		if err == io.EOF {
			return resp.StatusCode, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// await reads a task until it is finished. It returns nil if the task is not there, or
// not finished in time.
func (w *benchWorker) await(ctx context.Context, id string) (*benchState, error) {
	giveUp := time.Now().Add(finishTimeout)
	path := "/task/" + id
	for {
		err := w.call(ctx, http.MethodGet, path, nil)
		if errors.Is(err, errGone) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var state benchState
		if err := json.Unmarshal(w.answer, &state); err != nil {
			return nil, fmt.Errorf("bench: %s%s answered no task: %w", w.addr(), path, err)
		}
		if state.Status == "SUCCESS" || state.Status == "FAILURE" || state.Status == "REVOKED" {
			return &state, nil
		}
		if time.Now().After(giveUp) {
			return nil, nil
		}
		path = "/task/" + id + "?wait=" + client.WaitStep.String()
	}
}

// idList holds many ids in one piece of memory.
type idList struct {
	text []byte
	ends []uint32 // where each id ends in text
}

func (l *idList) len() int { return len(l.ends) }

func (l *idList) at(i int) string {
	var start uint32
	if i > 0 {
		start = l.ends[i-1]
	}
	return string(l.text[start:l.ends[i]])
}

// addAll adds the id, or the list of ids, of an answer and returns how many there were.
func (l *idList) addAll(answer []byte, list bool) int {
	if !list {
		id := field(answer, "id")
		if id == "" {
			return 0
		}
		l.add([]byte(id))
		return 1
	}
	_, rest, ok := bytes.Cut(answer, []byte(`"ids"`))
	if !ok {
		return 0
	}
	rest, _, _ = bytes.Cut(rest, []byte("]"))
	n := 0
	for {
		start := bytes.IndexByte(rest, '"')
		if start < 0 {
			return n
		}
		rest = rest[start+1:]
		end := bytes.IndexByte(rest, '"')
		if end < 0 {
			return n
		}
		l.add(rest[:end])
		rest = rest[end+1:]
		n++
	}
}

func (l *idList) add(id []byte) {
	l.text = append(l.text, id...)
	l.ends = append(l.ends, uint32(len(l.text)))
}

// field returns the first member of that name in a JSON object, if it is a text without
// escapes. Ids and states are such texts and stand before anything that a task wrote.
func field(object []byte, name string) string {
	for rest := object; ; {
		i := bytes.Index(rest, []byte(`"`+name+`"`))
		if i < 0 {
			return ""
		}
		rest = bytes.TrimLeft(rest[i+len(name)+2:], " ")
		value, ok := bytes.CutPrefix(rest, []byte(":"))
		if !ok {
			continue // it was a value
		}
		value, ok = bytes.CutPrefix(bytes.TrimLeft(value, " "), []byte(`"`))
		if end := bytes.IndexByte(value, '"'); ok && end >= 0 {
			return string(value[:end])
		}
		return ""
	}
}
