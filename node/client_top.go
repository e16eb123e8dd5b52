package node

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
const topTasks = listPage

// topView is what `top` shows: the cluster at one moment.
type topView struct {
	At      time.Time
	Cluster *clusterView
	Rates   *topRates   // nil = not known yet, or the leader does not tell
	Running []*taskView // the longest first, of the newest thousand

	counters *topCounters
}

// topRates are numbers per second, between two looks.
type topRates struct {
	Queued   float64 `json:"queued"`
	Finished float64 `json:"finished"`
	Failed   float64 `json:"failed"` // of those finished
}

// topCounters are counters of one leader.
type topCounters struct {
	leader                   string
	at                       time.Time
	queued, finished, failed float64
}

// since returns the rates since an earlier look, nil where another node led then or a count has gone back.
func (c *topCounters) since(old *topCounters) *topRates {
	if c == nil || old == nil || c.leader != old.leader {
		return nil
	}
	took := c.at.Sub(old.at).Seconds()
	r := &topRates{Queued: (c.queued - old.queued) / took, Finished: (c.finished - old.finished) / took, Failed: (c.failed - old.failed) / took}
	if took <= 0 || min(r.Queued, r.Finished, r.Failed) < 0 {
		return nil
	}
	return r
}

// topLook looks at the cluster. leader returns a client for a node by its URL.
func (c *Client) topLook(ctx context.Context, leader func(url string) (*Client, error)) (*topView, error) {
	v := &topView{}
	var err error
	if v.Cluster, err = c.cluster(ctx); err != nil {
		return nil, err
	}
	v.Running, _, err = c.list(ctx, url.Values{"status": {"STARTED"}, "limit": {strconv.Itoa(topTasks)}})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(v.Running, func(a, b *taskView) int { return cmp.Compare(a.AssignedAt, b.AssignedAt) })
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
		if err != nil { // the leader may be out of reach from here, or refuse
			break
		}
		v.counters = &topCounters{
			leader: n.Name, at: time.Now(), queued: sumMetric(text, "pytasks_tasks_enqueued_total", ""),
			finished: sumMetric(text, "pytasks_tasks_finished_total", ""), failed: sumMetric(text, "pytasks_tasks_finished_total", `status="FAILURE"`),
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
