package history

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	// maxAnswer bounds the answers that are read, in bytes.
	maxAnswer = 4 << 20
	// maxPause bounds how long a client waits when it is told to come back later.
	maxPause = 2 * time.Second
)

// Node is a node that clients ask.
type Node struct {
	Name string // as the nodes call it
	URL  string // of its REST API, without a slash at the end
}

// client is one client of the cluster. It records every operation as it ends.
type client struct {
	number  int
	http    *http.Client
	timeout time.Duration // of one request
	rec     *Recorder
}

// answer is what came back for a request.
type answer struct {
	status int // 0 = no whole answer
	code   string
	pause  time.Duration // that the node asks for; 0 = none
	body   []byte
	unsent bool // the request never left
}

// do sends one request. Once it has begun only its own timeout ends it, so that the end of
// a workload does not leave a crowd of unknown outcomes.
func (c *client) do(ctx context.Context, method, url string, body []byte, key string) answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return answer{code: "io", unsent: true}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		// net/http sends what carries an Idempotency-Key again by itself: that it could not
		// dial says nothing of the time before.
		var op *net.OpError
		return answer{code: "io", unsent: key == "" && errors.As(err, &op) && op.Op == "dial"}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{code: "io"}
	}
	a := answer{status: resp.StatusCode, body: text}
	if a.status >= http.StatusBadRequest {
		a.code = a.errorCode()
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 {
		a.pause = min(time.Duration(s)*time.Second, maxPause)
	}
	return a
}

func (a *answer) errorCode() string {
	var e struct{ Code string }
	if json.Unmarshal(a.body, &e) != nil || e.Code == "" {
		return "http_" + strconv.Itoa(a.status)
	}
	return e.Code
}

// outcome says what the answer to a write means. Of a refusal nothing was done; any other
// error may have come too late to stop it.
func (a *answer) outcome() Outcome {
	switch {
	case a.unsent:
		return Refused
	case a.status == http.StatusOK || a.status == http.StatusAccepted:
		return OK
	case a.code == "no_leader" || a.status >= 400 && a.status < 500:
		return Refused
	}
	return Unknown
}

// begin starts an operation; end records it.
func (c *client) begin(k Kind, n Node) Op {
	return Op{Client: c.number, Kind: k, Node: n.Name, Call: c.rec.Now()}
}

func (c *client) end(op *Op, a answer) {
	op.Return = c.rec.Now()
	op.Code = a.code
	c.rec.Add(*op)
}

// submit sends a task to a node, and with wait waits for its end.
func (c *client) submit(ctx context.Context, n Node, r *request, wait time.Duration) (Op, answer) {
	op := c.begin(Submit, n)
	op.Key, op.Payload = r.key, r.payload()
	path := "/task"
	if wait > 0 {
		path += "?wait=" + wait.String()
	}
	a := c.do(ctx, http.MethodPost, n.URL+path, r.body, r.key)
	op.Outcome = a.outcome()
	task := r.tasks[0]
	var got struct{ ID, Status string }
	if json.Unmarshal(a.body, &got) == nil && got.ID != "" {
		task.ID = got.ID
	} else if op.Outcome == OK { // an answer that makes no sense tells nothing
		op.Outcome, a.code = Unknown, "io"
	}
	op.Tasks = []Task{task}
	if op.Outcome == OK {
		if final(got.Status) {
			op.Final = got.Status
		}
		if wait > 0 {
			op.Record = decodeRecord(a.body)
		}
	}
	c.end(&op, a)
	return op, a
}

// batch sends several tasks at once.
func (c *client) batch(ctx context.Context, n Node, r *request) (Op, answer) {
	op := c.begin(Batch, n)
	op.Key, op.Payload = r.key, r.payload()
	a := c.do(ctx, http.MethodPost, n.URL+"/tasks/batch", r.body, r.key)
	op.Outcome = a.outcome()
	op.Tasks = append(op.Tasks, r.tasks...)
	var got struct{ IDs []string }
	if json.Unmarshal(a.body, &got) == nil && len(got.IDs) == len(op.Tasks) {
		for i := range op.Tasks {
			op.Tasks[i].ID = got.IDs[i]
		}
	} else if op.Outcome == OK {
		op.Outcome, a.code = Unknown, "io"
	}
	c.end(&op, a)
	return op, a
}

// read reads a task; with wait it waits for its end, and consistency counts for nothing.
func (c *client) read(ctx context.Context, n Node, id, consistency string, wait time.Duration) (Op, answer) {
	op := c.begin(Read, n)
	op.Tasks = []Task{{ID: id}}
	query := "?consistency=" + consistency
	op.Consistency = consistency
	if wait > 0 {
		op.Kind, op.Consistency = Wait, ""
		query = "?wait=" + wait.String()
	}
	a := c.do(ctx, http.MethodGet, n.URL+"/task/"+id+query, nil, "")
	op.Outcome = a.outcome()
	switch {
	case op.Outcome == OK:
		if op.Record = decodeRecord(a.body); op.Record == nil {
			op.Outcome, a.code = Unknown, "io"
		}
	case a.code == "not_found":
		op.Outcome, op.Record = OK, &Record{Status: Absent}
	}
	c.end(&op, a)
	return op, a
}

// cancel revokes a task.
func (c *client) cancel(ctx context.Context, n Node, id string) (Op, answer) {
	op := c.begin(Cancel, n)
	op.Tasks = []Task{{ID: id}}
	a := c.do(ctx, http.MethodPost, n.URL+"/task/"+id+"/cancel", nil, "")
	op.Outcome = a.outcome()
	var got struct{ Status string }
	if json.Unmarshal(a.body, &got) == nil && final(got.Status) && (op.Outcome == OK || a.code == "finished") {
		op.Final = got.Status
	}
	c.end(&op, a)
	return op, a
}

// decodeRecord reads the body of an answer that holds a task, nil if it does not.
func decodeRecord(body []byte) *Record {
	var got struct {
		ID, Status, Node, Reason string
		Attempt                  int
		Result                   json.RawMessage
		Attempts                 []Past
	}
	if json.Unmarshal(body, &got) != nil || got.ID == "" || got.Status == "" {
		return nil
	}
	r := &Record{
		Status: got.Status, Attempt: got.Attempt, Node: got.Node,
		Reason: got.Reason, Past: got.Attempts, Sum: sum(body),
	}
	if got.Status == "SUCCESS" {
		r.Result = string(got.Result)
	}
	return r
}

// sum is short, and equal for equal bytes only.
func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}
