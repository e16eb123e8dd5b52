package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"pytasks/fsm"
)

// ClusterStatus is the cluster as one node sees it.
type ClusterStatus struct {
	ID     string `json:"id,omitempty" doc:"Of the cluster; absent until the node belongs to one."`
	Node   string `json:"node" doc:"The name of the node that answers."`
	Leader string `json:"-"` // the leader's name, "" if none is known; shown as null then

	Term          uint64 `json:"term"`
	CommitIndex   uint64 `json:"commit_index"`
	AppliedIndex  uint64 `json:"applied_index" doc:"By the state of this node."`
	LastIndex     uint64 `json:"last_index"`
	SnapshotIndex uint64 `json:"snapshot_index"`

	Nodes []NodeStatus `json:"nodes"`
}

// NodeStatus is one node of the cluster.
type NodeStatus struct {
	Name     string   `json:"name"`
	ID       string   `json:"id"`
	Status   string   `json:"status" enum:"alive,failed,left"`
	Role     string   `json:"role" enum:"voter,nonvoter,none"`
	Leader   bool     `json:"leader"`
	Draining bool     `json:"draining" doc:"Takes no new tasks."`
	Slots    int      `json:"slots" doc:"Tasks that it runs at once."`
	Running  int      `json:"running" doc:"Tasks assigned to it and not finished."`
	Load     float64  `json:"load" doc:"0 to 1."`
	Packs    []string `json:"packs" doc:"Name and version of each."`
	Address  string   `json:"address" doc:"host:port of gossip."`
	HTTP     string   `json:"http" doc:"Base URL of its API."`
	Version  string   `json:"version" doc:"Of the program."`

	Labels map[string]string `json:"labels" doc:"What tasks may ask for."`

	UntilResumed bool `json:"until_resumed" doc:"Draining until it is resumed, also after a restart."`
	Drained      bool `json:"drained" doc:"Until it is resumed, and nothing runs there any more."`
}

// Check is one thing that must hold for a node to be ready.
type Check struct {
	Name   string // one word, for example "leader"
	OK     bool
	Detail string // what is wrong, for people; of one that holds, what will be soon
}

// clusterView is ClusterStatus as it is shown.
type clusterView struct {
	Leader *string `json:"leader" doc:"Null if none is known."`
	ClusterStatus
	Tasks map[string]int `json:"tasks" doc:"How many, by status."`
}

// cluster is GET /cluster.
func (c *call) cluster() {
	v := clusterView{ClusterStatus: c.api.Cluster.Status(), Tasks: map[string]int{}}
	v.Nodes = shownNodes(v.Nodes)
	if v.ClusterStatus.Leader != "" {
		v.Leader = &v.ClusterStatus.Leader
	}
	counts := c.api.Tasks.Counts()
	for s := fsm.Status_SCHEDULED; s <= fsm.Status_REVOKED; s++ {
		v.Tasks[s.String()] = counts.Tasks[s]
	}
	c.sendView(v)
}

// nodeListView is the answer to GET /nodes.
type nodeListView struct {
	Nodes []NodeStatus `json:"nodes"`
}

// leaderView is the answer to POST /cluster/stepdown.
type leaderView struct {
	Leader string `json:"leader" doc:"Name of the node that leads now."`
}

// doneView is the answer to what has nothing to tell but that it is done.
type doneView struct {
	Name   string `json:"name"`
	Status string `json:"status" enum:"removed,changed,draining,resumed,labelled"`
}

// nodes is GET /nodes.
func (c *call) nodes() {
	c.sendView(nodeListView{shownNodes(c.api.Cluster.Status().Nodes)})
}

// shownNodes returns nodes in which nothing is null.
func shownNodes(nodes []NodeStatus) []NodeStatus {
	nodes = listed(slices.Clone(nodes))
	for i := range nodes {
		nodes[i].Packs = listed(nodes[i].Packs)
		if nodes[i].Labels == nil {
			nodes[i].Labels = map[string]string{}
		}
	}
	return nodes
}

// listed returns a list that is not nil, which JSON would have as null.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// sendView answers with a view that encoding/json can write.
func (c *call) sendView(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		c.fail("", err)
		return
	}
	c.buf = append(c.buf[:0], text...)
	c.sendJSON(http.StatusOK)
}

// removeNode is DELETE /nodes/:name.
func (c *call) removeNode() {
	name := c.params.ByName("name")
	ctx, cancel := c.bounded()
	defer cancel()
	c.answerNode(c.api.Cluster.Remove(c.acting(ctx), name), name, "removed")
}

// drainNode is POST /nodes/:name/drain.
func (c *call) drainNode() {
	q := c.query()
	force, err := strconv.ParseBool(first(q.Get("force"), "false"))
	if err != nil {
		c.badQuery("force must be true or false")
		return
	}
	var timeout time.Duration
	if text := q.Get("timeout"); text != "" {
		var ok bool
		if timeout, ok = parseSpan(text); !ok || timeout < 0 || timeout > maxSpan {
			c.badQuery("timeout must be a length of time up to " + maxSpan.String() + ", such as 30s")
			return
		}
		timeout = max(timeout, time.Millisecond) // 0 would mean the node's own
	}
	name := c.params.ByName("name")
	ctx, cancel := c.bounded()
	defer cancel()
	c.answerNode(c.api.Cluster.Drain(c.acting(ctx), name, timeout, force), name, "draining")
}

// resumeNode is DELETE /nodes/:name/drain.
func (c *call) resumeNode() {
	name := c.params.ByName("name")
	ctx, cancel := c.bounded()
	defer cancel()
	c.answerNode(c.api.Cluster.Resume(c.acting(ctx), name), name, "resumed")
}

// stepDown is POST /cluster/stepdown.
func (c *call) stepDown() {
	ctx, cancel := context.WithTimeout(c.r.Context(), 2*c.api.WriteTimeout) // an election, and what comes before
	defer cancel()
	leader, err := c.api.Cluster.StepDown(c.acting(ctx))
	if err != nil {
		c.failNodes(err)
		return
	}
	c.sendView(leaderView{leader})
}

// answerNode answers a change of a node.
func (c *call) answerNode(err error, name, status string) {
	switch {
	case codeOf(err) == codeNotFound:
		c.refuse(&problem{status: http.StatusNotFound, code: codeNotFound, message: "no node has the name or id " + name})
	case err != nil:
		c.failNodes(err)
	default:
		c.sendView(doneView{name, status})
	}
}

// failNodes answers a change of the cluster or a node that did not come about, or perhaps did.
func (c *call) failNodes(err error) {
	if code := codeOf(err); code == codeUnknown || code == codeTimeout {
		c.w.Header()["Retry-After"] = []string{"1"}
		c.refuse(&problem{status: http.StatusServiceUnavailable, code: codeUnknown, message: "the outcome is unknown: ask GET /nodes, or send it again"})
		return
	}
	c.failWrite(err)
}

// livez is GET /livez: the process answers.
func (c *call) livez() { c.send(http.StatusOK, typeText, []byte("ok\n")) }

// readyz is GET /readyz: one line for each check, 503 if one does not hold.
func (c *call) readyz() {
	status := http.StatusOK
	b := c.buf[:0]
	for _, check := range c.api.Cluster.Ready() {
		if check.OK {
			b = append(b, "[+]"...)
			b = append(b, check.Name...)
			b = append(b, " ok"...)
			if check.Detail != "" {
				b = append(b, ", but "...)
				b = append(b, check.Detail...)
			}
			b = append(b, '\n')
			continue
		}
		status = http.StatusServiceUnavailable
		b = append(b, "[-]"...)
		b = append(b, check.Name...)
		b = append(b, " failed: "...)
		b = append(b, check.Detail...)
		b = append(b, '\n')
	}
	c.buf = b
	c.send(status, typeText, c.buf)
}
