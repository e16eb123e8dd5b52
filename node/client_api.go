package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// waitStep is how long a node is asked to wait for a result before it is asked again.
const waitStep = 30 * time.Second

// taskView is a task as the API shows it; raw holds all of it, these the parts that
// are shown to people.
type taskView struct {
	raw json.RawMessage

	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Status     string          `json:"status"`
	Args       json.RawMessage `json:"args"`
	Result     json.RawMessage `json:"result"`
	Priority   json.Number     `json:"priority"`
	Tags       []string        `json:"tags"`
	Attempt    int             `json:"attempt"`
	Node       string          `json:"node"`
	CreatedAt  string          `json:"created_at"`
	DueAt      string          `json:"due_at"`
	AssignedAt string          `json:"assigned_at"` // while it is STARTED
	StartedAt  string          `json:"started_at"`
	FinishedAt string          `json:"finished_at"`
	Reason     string          `json:"reason"`
	Error      *taskError      `json:"error"`
	Attempts   []pastAttempt   `json:"attempts"`
	Release    string          `json:"release"`
	Owner      string          `json:"owner"`
	Progress   *taskProgress   `json:"progress"`
}

// taskProgress is how far a running task says it is.
type taskProgress struct {
	Fraction float64 `json:"fraction"`
	Text     string  `json:"text"`
}

type taskError struct {
	Type      string `json:"type"`
	Message   string `json:"message"`
	Traceback string `json:"traceback"`
}

type pastAttempt struct {
	Attempt   int    `json:"attempt"`
	Node      string `json:"node"`
	StartedAt string `json:"started_at"`
	EndedAt   string `json:"ended_at"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
}

// submission is the body of POST /task.
type submission struct {
	Type     string                     `json:"type"`
	Args     map[string]json.RawMessage `json:"args"`
	ID       string                     `json:"id,omitempty"`
	Priority *int                       `json:"priority,omitempty"`
	Delay    string                     `json:"delay,omitempty"`
	ETA      string                     `json:"eta,omitempty"`
	Timeout  string                     `json:"timeout,omitempty"`
	Tags     []string                   `json:"tags,omitempty"`
	Retry    *retryPolicy               `json:"retry,omitempty"`
	Where    map[string]string          `json:"where,omitempty"`
}

type retryPolicy struct {
	MaxAttempts int `json:"max_attempts"`
}

// clusterView is what GET /cluster tells.
type clusterView struct {
	raw json.RawMessage

	Node   string         `json:"node"` // that answers
	Leader string         `json:"leader"`
	Nodes  []memberView   `json:"nodes"`
	Tasks  map[string]int `json:"tasks"` // by status
}

type memberView struct {
	Name     string   `json:"name"`
	ID       string   `json:"id"`
	Role     string   `json:"role"`
	Status   string   `json:"status"`
	Slots    int      `json:"slots"`
	Running  int      `json:"running"`
	Load     float64  `json:"load"` // 0 to 1
	Draining bool     `json:"draining"`
	Drained  bool     `json:"drained"`       // nothing runs there, and it stays so until it is resumed
	Lasting  bool     `json:"until_resumed"` // draining until it is resumed
	HTTP     string   `json:"http"`
	Version  string   `json:"version"`
	Packs    []string `json:"packs"`

	Labels map[string]string `json:"labels"`
}

// finished reports whether the task's status is final.
func (t *taskView) finished() bool {
	return t.Status == "SUCCESS" || t.Status == "FAILURE" || t.Status == "REVOKED"
}

// failure says why a finished task has no result; nil if it has one.
func (t *taskView) failure() error {
	if t.Status == "SUCCESS" {
		return nil
	}
	text := fmt.Sprintf("task %s ended as %s", t.ID, t.Status)
	if t.Reason != "" {
		text += " (" + t.Reason + ")"
	}
	if t.Error != nil {
		text += ": " + t.Error.text()
		if t.Error.Traceback != "" {
			text += "\n" + strings.TrimRight(t.Error.Traceback, "\n")
		}
	}
	return fmt.Errorf("%s", text)
}

func (e *taskError) text() string {
	if e.Type == "" {
		return e.Message
	}
	return e.Type + ": " + e.Message
}

// types returns the task types that the cluster can run, each with what GET /tasks tells of it.
func (c *Client) types(ctx context.Context) (map[string]json.RawMessage, error) {
	var types map[string]json.RawMessage
	_, err := c.get(ctx, request{path: "/tasks"}, &types)
	return types, err
}

// submit queues a task, under an idempotency key unless that is empty.
func (c *Client) submit(ctx context.Context, s *submission, key string) (*taskView, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the task as JSON: %w", err)
	}
	return c.taskCall(ctx, request{method: http.MethodPost, path: "/task", body: body, key: key})
}

// task returns a task; it waits for its end up to wait.
func (c *Client) task(ctx context.Context, id string, wait time.Duration) (*taskView, error) {
	return c.taskCall(ctx, request{method: http.MethodGet, path: "/task/" + url.PathEscape(id), wait: wait})
}

// await returns a task when it is finished.
func (c *Client) await(ctx context.Context, id string) (*taskView, error) {
	for {
		t, err := c.task(ctx, id, waitStep)
		if err != nil || t.finished() {
			return t, err
		}
	}
}

// cancel revokes a task.
func (c *Client) cancel(ctx context.Context, id string) (*taskView, error) {
	return c.taskCall(ctx, request{method: http.MethodPost, path: "/task/" + url.PathEscape(id) + "/cancel"})
}

// list returns a page of tasks, newest first, and the cursor of the next, "" at the end.
func (c *Client) list(ctx context.Context, filter url.Values) (tasks []*taskView, next string, err error) {
	var page struct {
		Items []json.RawMessage `json:"items"`
		Next  string            `json:"next_cursor"`
	}
	if _, err := c.get(ctx, request{path: "/task", query: filter}, &page); err != nil {
		return nil, "", err
	}
	for _, raw := range page.Items {
		t := &taskView{raw: raw}
		if err := json.Unmarshal(raw, t); err != nil {
			return nil, "", fmt.Errorf("read the list of tasks: %w", err)
		}
		tasks = append(tasks, t)
	}
	return tasks, page.Next, nil
}

// cluster returns the cluster as the node asked sees it.
func (c *Client) cluster(ctx context.Context) (*clusterView, error) {
	var view clusterView
	body, err := c.get(ctx, request{path: "/cluster"}, &view)
	view.raw = body
	return &view, err
}

// checks returns the lines of /readyz of the node that answers.
func (c *Client) checks(ctx context.Context) ([]string, error) {
	answer, err := c.do(ctx, request{method: http.MethodGet, path: "/readyz"})
	var refused *APIError
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable:
		return strings.Split(strings.TrimSpace(refused.text), "\n"), nil
	case err != nil:
		return nil, err
	}
	return strings.Split(strings.TrimSpace(string(answer.body)), "\n"), nil
}

// removeNode takes a node that will not come back out of the cluster.
func (c *Client) removeNode(ctx context.Context, name string) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/nodes/" + url.PathEscape(name)})
	return err
}

func (c *Client) get(ctx context.Context, r request, into any) (json.RawMessage, error) {
	r.method = http.MethodGet
	answer, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(answer.body, into); err != nil {
		return nil, fmt.Errorf("read the answer to GET %s: %w", r.path, err)
	}
	return answer.body, nil
}

func (c *Client) taskCall(ctx context.Context, r request) (*taskView, error) {
	answer, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	t := &taskView{raw: answer.body}
	if err := json.Unmarshal(answer.body, t); err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", r.method, r.path, err)
	}
	return t, nil
}

// optionalCount writes n where there is something to count.
func optionalCount(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
