package httpapi

import (
	"encoding/json"
	"net/http"

	"pytasks/fsm"
)

// ClusterStatus is the cluster as one node sees it.
type ClusterStatus struct {
	ID     string `json:"id,omitempty"` // of the cluster, "" until the node belongs to one
	Node   string `json:"node"`         // the name of the node that answers
	Leader string `json:"-"`            // the leader's name, "" if none is known; shown as null then

	Term          uint64 `json:"term"`
	CommitIndex   uint64 `json:"commit_index"`
	AppliedIndex  uint64 `json:"applied_index"` // by the state of this node
	LastIndex     uint64 `json:"last_index"`
	SnapshotIndex uint64 `json:"snapshot_index"`

	Nodes []NodeStatus `json:"nodes"`
}

// NodeStatus is one node of the cluster.
type NodeStatus struct {
	Name     string   `json:"name"`
	ID       string   `json:"id"`
	Status   string   `json:"status"` // alive, failed, left
	Role     string   `json:"role"`   // voter, nonvoter, none
	Leader   bool     `json:"leader"`
	Draining bool     `json:"draining"`
	Slots    int      `json:"slots"`   // tasks that it runs at once
	Running  int      `json:"running"` // tasks assigned to it and not finished
	Load     float64  `json:"load"`    // 0 to 1
	Packs    []string `json:"packs"`   // name and version of each
	Address  string   `json:"address"` // host:port of gossip
	HTTP     string   `json:"http"`    // base URL of its API
	Version  string   `json:"version"` // of the program
}

// Check is one thing that must hold for a node to be ready.
type Check struct {
	Name   string // one word, for example "leader"
	OK     bool
	Detail string // what is wrong, for people; of one that holds, what will be soon
}

// clusterView is ClusterStatus as it is shown.
type clusterView struct {
	Leader *string `json:"leader"`
	ClusterStatus
	Tasks map[string]int `json:"tasks"` // by status
}

// cluster is GET /cluster.
func (c *call) cluster() {
	v := clusterView{ClusterStatus: c.api.Cluster.Status(), Tasks: map[string]int{}}
	if v.ClusterStatus.Leader != "" {
		v.Leader = &v.ClusterStatus.Leader
	}
	if v.Nodes == nil {
		v.Nodes = []NodeStatus{}
	}
	counts := c.api.Tasks.Counts()
	for s := fsm.Status_SCHEDULED; s <= fsm.Status_REVOKED; s++ {
		v.Tasks[s.String()] = counts.Tasks[s]
	}
	c.sendView(v)
}

// nodes is GET /nodes.
func (c *call) nodes() {
	nodes := c.api.Cluster.Status().Nodes
	if nodes == nil {
		nodes = []NodeStatus{}
	}
	c.sendView(map[string]any{"nodes": nodes})
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
	err := c.api.Cluster.Remove(c.acting(ctx), name)
	switch code := codeOf(err); {
	case code == codeNotFound:
		c.refuse(&problem{status: http.StatusNotFound, code: code, message: "no node has the name or id " + name})
		return
	case code == codeUnknown || code == codeTimeout:
		c.w.Header()["Retry-After"] = []string{"1"}
		c.refuse(&problem{status: http.StatusServiceUnavailable, code: codeUnknown, message: "the outcome is unknown: ask GET /nodes, or send it again"})
		return
	case err != nil:
		c.failWrite(err)
		return
	}
	b := append(c.buf[:0], `{"name":`...)
	b = appendString(b, name)
	c.buf = append(b, `,"status":"removed"}`...)
	c.sendJSON(http.StatusOK)
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
