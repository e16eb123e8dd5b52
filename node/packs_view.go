package node

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"pytasks/fsm"
	"pytasks/httpapi"
	"pytasks/taskpacks"
)

// packState is what views of packs read of the state.
type packState interface {
	Packs() []*fsm.Pack
	PackTasks(key string) int
	Nodes() []*fsm.Node
}

// kindGo is the kind of the packs that a node's program has compiled in.
const kindGo = "go"

// packViews returns all packs of the cluster, by name: the installed ones, and those compiled in
// that none of these replaces. A node that is down has its packs all the same, as its tasks wait for
// it; it is not shown as one of those that can run them now.
func packViews(state packState, log *slog.Logger) []httpapi.PackView {
	var out []httpapi.PackView
	installed := map[string]bool{}
	nodes := map[*fsm.Node][]nodePack{}
	for _, n := range state.Nodes() {
		if !n.Gone {
			nodes[n] = manifest(n, log)
		}
	}
	for _, p := range state.Packs() {
		installed[p.Name] = true
		out = append(out, installedView(state, p, nodes, log))
	}
	out = append(out, compiledViews(nodes, installed)...)
	slices.SortFunc(out, func(a, b httpapi.PackView) int { return cmp.Compare(a.Name, b.Name) })
	for i := range out {
		slices.SortFunc(out[i].Nodes, func(a, b httpapi.PackNode) int { return cmp.Compare(a.Name, b.Name) })
	}
	return out
}

func installedView(state packState, p *fsm.Pack, nodes map[*fsm.Node][]nodePack, log *slog.Logger) httpapi.PackView {
	v := httpapi.PackView{Name: p.Name, Release: p.Current, Nodes: []httpapi.PackNode{}}
	for _, r := range p.Releases {
		v.Releases = append(v.Releases, httpapi.PackRelease{
			Release: r.Release, Version: r.Version, SHA256: hex.EncodeToString(r.Digest), Size: r.Size,
			Current: r.Release == p.Current, InstalledAt: time.UnixMilli(r.InstalledMs).UTC(),
			Unfinished: state.PackTasks(p.Name + "@" + r.Release),
		})
		if r.Release == p.Current {
			v.Version, v.Kind = r.Version, r.Kind
		}
	}
	info := currentInfo(p, log)
	v.Description, v.Tasks = info.Description, packTasks(info.Specs)
	for n, packs := range nodes {
		if n.Down {
			continue
		}
		at := httpapi.PackNode{Name: n.Name, Status: httpapi.PackPreparing}
		for _, e := range packs {
			if e.Name == p.Name && e.Release == p.Current {
				at.Status, at.Error = e.Status, e.Error
			}
		}
		v.Nodes = append(v.Nodes, at)
	}
	return v
}

func compiledViews(nodes map[*fsm.Node][]nodePack, installed map[string]bool) []httpapi.PackView {
	views := map[string]*httpapi.PackView{}
	for _, down := range []bool{false, true} { // what nodes that are up say of a pack counts
		for n, packs := range nodes {
			if n.Down != down {
				continue
			}
			for _, e := range packs {
				if e.Release != "" || installed[e.Name] {
					continue
				}
				v := views[e.Name]
				if v == nil {
					v = &httpapi.PackView{
						Name: e.Name, Version: e.Version, Kind: kindGo, Description: e.Description, Tasks: packTasks(e.Specs), Nodes: []httpapi.PackNode{},
					}
					views[e.Name] = v
				}
				if !down {
					v.Nodes = append(v.Nodes, httpapi.PackNode{Name: n.Name, Status: httpapi.PackReady})
				}
			}
		}
	}
	var out []httpapi.PackView
	for _, v := range views {
		out = append(out, *v)
	}
	return out
}

func packTasks(specs []*taskpacks.Spec) []httpapi.PackTask {
	out := []httpapi.PackTask{}
	for _, s := range specs {
		out = append(out, httpapi.PackTask{
			Type: s.Name, Doc: s.Doc, Protected: s.Protected, Timeout: s.Timeout.Seconds(), MaxAttempts: s.MaxAttempts, Schema: s.Schema(),
		})
	}
	return out
}

// nodePack is one entry of what a node's record says of its packs: the specs of one that is compiled
// in, or how far the node is with a release of one that is installed.
type nodePack struct {
	taskpacks.PackInfo
	Release string `json:"release,omitempty"`
	Status  string `json:"status,omitempty"` // of a release: ready, preparing, failed, ineligible
	Error   string `json:"error,omitempty"`
}

// maxPackError bounds the error that a node's record tells of a pack, in bytes.
const maxPackError = 2 << 10

// manifest returns what this node's record is to say of its packs, as JSON.
func (p *packs) manifest() ([]byte, error) {
	var list []nodePack
	for _, info := range p.builtin.Manifest() {
		list = append(list, nodePack{PackInfo: info})
	}
	for _, pack := range p.state.Packs() {
		for _, named := range pack.Releases {
			list = append(list, p.status(pack.Name, named))
		}
	}
	return json.Marshal(list)
}

func (p *packs) status(name string, named *fsm.PackRelease) nodePack {
	n := nodePack{PackInfo: taskpacks.PackInfo{Name: name, Version: named.Version}, Release: named.Release, Status: httpapi.PackPreparing}
	p.mu.RLock()
	defer p.mu.RUnlock()
	r := p.releases[name+"@"+named.Release]
	switch {
	case r == nil:
	case r.opened != nil:
		n.Status = httpapi.PackReady
	case errors.Is(r.err, taskpacks.ErrNotEligible):
		n.Status = httpapi.PackIneligible
	case r.err != nil:
		n.Status = httpapi.PackFailed
	}
	if r != nil && r.err != nil {
		n.Error = r.err.Error()
		if len(n.Error) > maxPackError {
			n.Error = n.Error[:maxPackError] + "..."
		}
	}
	return n
}
