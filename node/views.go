package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"pytasks/cluster"
	"pytasks/fsm"
	"pytasks/httpapi"
)

// view shows the cluster to the API.
type view struct {
	cluster    *cluster.Cluster
	link       *link
	state      *fsm.State
	queue      *fsm.Queue
	disk       *disk
	log        *slog.Logger
	name       string
	registered func() bool
	draining   context.Context
}

// Status tells what this node knows of the cluster: gossip and raft know the
// members, the state knows what they offer.
func (v *view) Status() httpapi.ClusterStatus {
	s := v.cluster.Status()
	out := httpapi.ClusterStatus{
		ID: s.ClusterID, Node: v.name, Term: s.Term, CommitIndex: s.CommitIndex, AppliedIndex: s.Applied,
		LastIndex: s.LastIndex, SnapshotIndex: s.SnapshotIndex,
	}
	records := map[string]*fsm.Node{}
	for _, n := range v.state.Nodes() {
		records[n.Id] = n
	}
	for _, m := range v.cluster.Members() {
		r := records[m.ID]
		if r == nil && m.Role == cluster.None && m.Status != cluster.Alive {
			continue // removed; gossip alone remembers it
		}
		n := httpapi.NodeStatus{
			Name: m.Name, ID: m.ID, Status: string(m.Status), Role: string(m.Role), Leader: m.Leader,
			Load: float64(m.Load) / 255, Address: m.GossipAddr, Packs: []string{}, Labels: map[string]string{},
		}
		if r != nil {
			n.Name, n.Slots, n.HTTP, n.Version = r.Name, int(r.Slots), r.Http, r.Version
			n.Running = v.state.Running(r.Number)
			n.Draining, n.Drained = r.Draining || r.Drain != nil, r.Drain != nil && n.Running == 0
			n.UntilResumed, n.Labels = r.Drain != nil, r.AllLabels()
			for _, p := range manifest(r, v.log) {
				switch {
				case p.Release == "":
					n.Packs = append(n.Packs, p.Name+" "+p.Version)
				case p.Status == httpapi.PackReady:
					n.Packs = append(n.Packs, p.Name+" "+p.Release)
				}
			}
		}
		if m.Leader {
			out.Leader = n.Name
		}
		out.Nodes = append(out.Nodes, n)
	}
	return out
}

// Ready returns what must hold before this node should be sent requests.
func (v *view) Ready() []httpapi.Check {
	s := v.cluster.Status()
	check := func(name string, ok bool, detail string) httpapi.Check {
		if ok {
			detail = ""
		}
		return httpapi.Check{Name: name, OK: ok, Detail: detail}
	}
	enough, space := v.disk.check()
	return []httpapi.Check{
		check("node", v.draining.Err() == nil, "it is shutting down"),
		check("leader", s.Leader != "", "no leader is known"),
		check("sync", s.CommitIndex <= s.Applied+100, fmt.Sprintf("the state is at log index %d of %d", s.Applied, s.CommitIndex)),
		check("registered", v.registered(), "the cluster has not taken this node in yet, or the state here has not caught up"),
		{Name: "disk", OK: enough, Detail: space},
	}
}

// Remove takes a node that will not come back out of the cluster.
func (v *view) Remove(ctx context.Context, nameOrID string) error {
	var id string
	for _, m := range v.cluster.Members() {
		if m.ID == nameOrID || m.Name == nameOrID {
			id = m.ID
			break
		}
	}
	for _, n := range v.state.Nodes() {
		if n.Id == nameOrID || n.Name == nameOrID {
			id = n.Id
		}
	}
	if id == "" {
		return fsm.ErrNotFound
	}
	records := slices.DeleteFunc(v.state.Nodes(), func(n *fsm.Node) bool { return n.Id != id })
	err := v.cluster.Remove(ctx, id)
	lost := errors.Is(err, cluster.ErrUnknownMember) && len(records) > 0 // with the cluster that this one was recovered from
	if err != nil && !lost {
		return err
	}
	for _, n := range records {
		err := v.queue.NodeDown(ctx, &fsm.NodeDown{
			Place: &fsm.Place{Node: n.Number, Boot: n.Boot}, Reason: fsm.ReasonWorkerLost, Forget: true,
		})
		if err != nil && !errors.Is(err, fsm.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Drain makes a node take no tasks until it is resumed.
func (v *view) Drain(ctx context.Context, nameOrID string, timeout time.Duration, force bool) error {
	return v.tellDrain(ctx, nameOrID, &fsm.NodeDrain{Draining: true, TimeoutMs: timeout.Milliseconds(), Force: force})
}

// Resume makes a drained node take tasks again.
func (v *view) Resume(ctx context.Context, nameOrID string) error {
	return v.tellDrain(ctx, nameOrID, &fsm.NodeDrain{})
}

func (v *view) tellDrain(ctx context.Context, nameOrID string, d *fsm.NodeDrain) error {
	place, err := v.place(nameOrID)
	if err != nil {
		return err
	}
	d.Place, d.UntilResumed = place, true
	return v.queue.NodeDrain(ctx, d)
}

// Label changes the labels of a node.
func (v *view) Label(ctx context.Context, nameOrID string, labels map[string]*string, forget bool) error {
	place, err := v.place(nameOrID)
	if err != nil {
		return err
	}
	c := &fsm.NodeLabel{Place: place, Forget: forget}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if value := labels[key]; value != nil {
			c.Labels = append(c.Labels, &fsm.Label{Key: key, Value: *value})
		} else {
			c.Labels = append(c.Labels, &fsm.Label{Key: key, Removed: true})
		}
	}
	return v.queue.NodeLabel(ctx, c)
}

// place returns what names a node in a command about it, whichever start of it is running.
func (v *view) place(nameOrID string) (*fsm.Place, error) {
	for _, n := range v.state.Nodes() {
		if n.Id == nameOrID || n.Name == nameOrID {
			return &fsm.Place{Node: n.Number}, nil
		}
	}
	return nil, fsm.ErrNotFound
}

// StepDown gives the leadership to another node and returns its name.
func (v *view) StepDown(ctx context.Context) (string, error) {
	var id string
	var err error
	if v.cluster.IsLeader() {
		id, err = v.link.stepDown(ctx)
	} else {
		var answer []byte
		answer, err = v.cluster.CallLeader(ctx, methodStepDown, nil)
		id = string(answer)
	}
	if err != nil {
		return "", err
	}
	v.log.Info("leadership handed over, as asked for", "node", id)
	for _, m := range v.cluster.Members() {
		if m.ID == id {
			return m.Name, nil
		}
	}
	return id, nil
}
