package client

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

// WaitStep is how long a node is asked to wait for a result before it is asked again.
const WaitStep = 30 * time.Second

// Task is a task as the API shows it; raw holds all of it, these the parts that
// are shown to people.
type Task struct {
	Raw json.RawMessage

	ID         string            `json:"id"`
	Type       string            `json:"type"`
	Status     string            `json:"status"`
	Args       json.RawMessage   `json:"args"`
	Result     json.RawMessage   `json:"result"`
	Priority   json.Number       `json:"priority"`
	Tags       []string          `json:"tags"`
	Attempt    int               `json:"attempt"`
	Node       string            `json:"node"`
	CreatedAt  string            `json:"created_at"`
	DueAt      string            `json:"due_at"`
	AssignedAt string            `json:"assigned_at"` // while it is STARTED
	StartedAt  string            `json:"started_at"`
	FinishedAt string            `json:"finished_at"`
	Reason     string            `json:"reason"`
	Error      *taskError        `json:"error"`
	Attempts   []Attempt         `json:"attempts"`
	Release    string            `json:"release"`
	Owner      string            `json:"owner"`
	Where      map[string]string `json:"where"` // labels that its node must have
	Progress   *Progress         `json:"progress"`
}

// Progress is how far a running task says it is.
type Progress struct {
	Fraction float64 `json:"fraction"`
	Text     string  `json:"text"`
}

type taskError struct {
	Type      string `json:"type"`
	Message   string `json:"message"`
	Traceback string `json:"traceback"`
}

type Attempt struct {
	Attempt   int    `json:"attempt"`
	Node      string `json:"node"`
	StartedAt string `json:"started_at"`
	EndedAt   string `json:"ended_at"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
}

// Submission is the body of POST /task.
type Submission struct {
	Type     string                     `json:"type"`
	Args     map[string]json.RawMessage `json:"args"`
	ID       string                     `json:"id,omitempty"`
	Priority *int                       `json:"priority,omitempty"`
	Delay    string                     `json:"delay,omitempty"`
	ETA      string                     `json:"eta,omitempty"`
	Timeout  string                     `json:"timeout,omitempty"`
	Tags     []string                   `json:"tags,omitempty"`
	Retry    *Retry                     `json:"retry,omitempty"`
	Where    map[string]string          `json:"where,omitempty"`
}

type Retry struct {
	MaxAttempts int `json:"max_attempts"`
}

// Cluster is what GET /Cluster tells.
type Cluster struct {
	Raw json.RawMessage

	Node   string         `json:"node"` // that answers
	Leader string         `json:"leader"`
	Nodes  []Member       `json:"nodes"`
	Tasks  map[string]int `json:"tasks"` // by Status
}

type Member struct {
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

// Finished reports whether the task's Status is final.
func (t *Task) Finished() bool {
	return t.Status == "SUCCESS" || t.Status == "FAILURE" || t.Status == "REVOKED"
}

// Failure says why a Finished task has no result; nil if it has one.
func (t *Task) Failure() error {
	if t.Status == "SUCCESS" {
		return nil
	}
	text := fmt.Sprintf("task %s ended as %s", t.ID, t.Status)
	if t.Reason != "" {
		text += " (" + t.Reason + ")"
	}
	if t.Error != nil {
		text += ": " + t.Error.Text()
		if t.Error.Traceback != "" {
			text += "\n" + strings.TrimRight(t.Error.Traceback, "\n")
		}
	}
	return fmt.Errorf("%s", text)
}

func (e *taskError) Text() string {
	if e.Type == "" {
		return e.Message
	}
	return e.Type + ": " + e.Message
}

// types returns the task types that the Cluster can run, each with what GET /tasks tells of it.
func (c *Client) Types(ctx context.Context) (map[string]json.RawMessage, error) {
	var types map[string]json.RawMessage
	_, err := c.get(ctx, request{path: "/tasks"}, &types)
	return types, err
}

// Submit queues a task, under an idempotency key unless that is empty.
func (c *Client) Submit(ctx context.Context, s *Submission, key string) (*Task, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the task as JSON: %w", err)
	}
	return c.taskCall(ctx, request{method: http.MethodPost, path: "/task", body: body, key: key})
}

// task returns a task; it waits for its end up to wait.
func (c *Client) Task(ctx context.Context, id string, wait time.Duration) (*Task, error) {
	return c.taskCall(ctx, request{method: http.MethodGet, path: "/task/" + url.PathEscape(id), wait: wait})
}

// await returns a task when it is Finished.
func (c *Client) Await(ctx context.Context, id string) (*Task, error) {
	for {
		t, err := c.Task(ctx, id, WaitStep)
		if err != nil || t.Finished() {
			return t, err
		}
	}
}

// Cancel revokes a task.
func (c *Client) Cancel(ctx context.Context, id string) (*Task, error) {
	return c.taskCall(ctx, request{method: http.MethodPost, path: "/task/" + url.PathEscape(id) + "/cancel"})
}

// list returns a page of tasks, newest first, and the cursor of the next, "" at the end.
func (c *Client) List(ctx context.Context, filter url.Values) (tasks []*Task, next string, err error) {
	var page struct {
		Items []json.RawMessage `json:"items"`
		Next  string            `json:"next_cursor"`
	}
	if _, err := c.get(ctx, request{path: "/task", query: filter}, &page); err != nil {
		return nil, "", err
	}
	for _, raw := range page.Items {
		t := &Task{Raw: raw}
		if err := json.Unmarshal(raw, t); err != nil {
			return nil, "", fmt.Errorf("read the list of tasks: %w", err)
		}
		tasks = append(tasks, t)
	}
	return tasks, page.Next, nil
}

// Cluster returns the Cluster as the node asked sees it.
func (c *Client) Cluster(ctx context.Context) (*Cluster, error) {
	var view Cluster
	body, err := c.get(ctx, request{path: "/cluster"}, &view)
	view.Raw = body
	return &view, err
}

// Checks returns the lines of /readyz of the node that answers.
func (c *Client) Checks(ctx context.Context) ([]string, error) {
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

// RemoveNode takes a node that will not come back out of the Cluster.
func (c *Client) RemoveNode(ctx context.Context, name string) error {
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

func (c *Client) taskCall(ctx context.Context, r request) (*Task, error) {
	answer, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	t := &Task{Raw: answer.body}
	if err := json.Unmarshal(answer.body, t); err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", r.method, r.path, err)
	}
	return t, nil
}

// OptionalCount writes n where there is something to count.
func OptionalCount(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
