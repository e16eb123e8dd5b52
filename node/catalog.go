package node

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"slices"
	"sync/atomic"

	"pytasks/fsm"
	"pytasks/taskpacks"
)

// catalog knows every func that some node of the cluster can run: its own, and
// those that the other nodes' records name.
type catalog struct {
	own   *taskpacks.Registry
	log   *slog.Logger
	specs atomic.Pointer[map[string]*taskpacks.Spec]
}

func newCatalog(own *taskpacks.Registry, log *slog.Logger) *catalog {
	c := &catalog{own: own, log: log}
	c.read(nil)
	return c
}

// read takes the nodes' records. This node's own specs win: they are what its
// callers' arguments are checked against.
func (c *catalog) read(nodes []*fsm.Node) {
	specs := map[string]*taskpacks.Spec{}
	for _, n := range nodes {
		for _, p := range manifest(n, c.log) {
			for _, s := range p.Specs {
				specs[s.Name] = s
			}
		}
	}
	for _, s := range c.own.Specs() {
		specs[s.Name] = s
	}
	c.specs.Store(&specs)
}

// manifest reads the packs in a node's record.
func manifest(n *fsm.Node, log *slog.Logger) []taskpacks.PackInfo {
	var packs []taskpacks.PackInfo
	if err := json.Unmarshal(n.Packs, &packs); err != nil {
		log.Warn("node's packs not understood", "node", n.Name, "err", err)
	}
	return packs
}

// Spec returns the signature of a func.
func (c *catalog) Spec(name string) (*taskpacks.Spec, bool) {
	s, ok := (*c.specs.Load())[name]
	return s, ok
}

// Specs returns all signatures, sorted by name.
func (c *catalog) Specs() []*taskpacks.Spec {
	var out []*taskpacks.Spec
	for _, s := range *c.specs.Load() {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *taskpacks.Spec) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
