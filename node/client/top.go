package client

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// topTasks is how many running tasks are asked for: the newest, as lists have them.
const topTasks = ListPage

// TopView is what `top` shows: the Cluster at one moment.
type TopView struct {
	At      time.Time
	Cluster *Cluster
	Rates   *TopRates // nil = not known yet, or the Leader does not tell
	Running []*Task   // the longest first, of the newest thousand

	Counters *TopCounters
}

// TopRates are numbers per second, between two looks.
type TopRates struct {
	Queued   float64 `json:"queued"`
	Finished float64 `json:"finished"`
	Failed   float64 `json:"failed"` // of those Finished
}

// TopCounters are Counters of one Leader.
type TopCounters struct {
	Leader                   string
	At                       time.Time
	Queued, Finished, Failed float64
}

// since returns the rates since an earlier look, nil where another node led then or a count has gone back.
func (c *TopCounters) Since(old *TopCounters) *TopRates {
	if c == nil || old == nil || c.Leader != old.Leader {
		return nil
	}
	took := c.At.Sub(old.At).Seconds()
	r := &TopRates{Queued: (c.Queued - old.Queued) / took, Finished: (c.Finished - old.Finished) / took, Failed: (c.Failed - old.Failed) / took}
	if took <= 0 || min(r.Queued, r.Finished, r.Failed) < 0 {
		return nil
	}
	return r
}

// TopLook looks at the Cluster. Leader returns a client for a node by its URL.
func (c *Client) TopLook(ctx context.Context, leader func(url string) (*Client, error)) (*TopView, error) {
	v := &TopView{}
	var err error
	if v.Cluster, err = c.Cluster(ctx); err != nil {
		return nil, err
	}
	v.Running, _, err = c.List(ctx, url.Values{"status": {"STARTED"}, "limit": {strconv.Itoa(topTasks)}})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(v.Running, func(a, b *Task) int { return cmp.Compare(a.AssignedAt, b.AssignedAt) })
	v.At = time.Now()
	for _, n := range v.Cluster.Nodes {
		if n.Name != v.Cluster.Leader || n.HTTP == "" {
			continue
		}
		to, err := leader(n.HTTP)
		if err != nil {
			break
		}
		text, err := to.metrics(ctx)
		if err != nil { // the Leader may be out of reach from here, or refuse
			break
		}
		v.Counters = &TopCounters{
			Leader: n.Name, At: time.Now(), Queued: sumMetric(text, "pytasks_tasks_enqueued_total", ""),
			Finished: sumMetric(text, "pytasks_tasks_finished_total", ""), Failed: sumMetric(text, "pytasks_tasks_finished_total", `status="FAILURE"`),
		}
	}
	return v, nil
}

// metrics returns /metrics of the node that answers.
func (c *Client) metrics(ctx context.Context) ([]byte, error) {
	answer, err := c.do(ctx, request{method: http.MethodGet, path: "/metrics"})
	if err != nil {
		return nil, err
	}
	return answer.body, nil
}

// sumMetric adds the samples of a metric, in the text format of Prometheus, that have a label, "" = all.
func sumMetric(text []byte, name, label string) (sum float64) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' || !strings.Contains(rest, label) {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err == nil {
			sum += value
		}
	}
	return sum
}
