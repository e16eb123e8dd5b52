package node

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"slices"
	"sync/atomic"

	"pytasks/fsm"
	"pytasks/httpapi"
	"pytasks/taskpacks"
)

// catalog knows every func that the cluster can run: those of the installed packs in
// their current release, those that this node's program has compiled in, and those that
// the other nodes' records name. The first wins.
type catalog struct {
	own   *taskpacks.Registry
	log   *slog.Logger
	funcs atomic.Pointer[map[string]catalogFunc]
	reads atomic.Uint64
}

// catalogFunc is a func, and the release of its pack that it is taken from, "" if it is
// compiled in.
type catalogFunc struct {
	spec    *taskpacks.Spec
	release string
}

func newCatalog(own *taskpacks.Registry, log *slog.Logger) *catalog {
	c := &catalog{own: own, log: log}
	c.read(nil, nil)
	return c
}

// read takes the records of the nodes and of the installed packs. An installed pack hides
// all funcs of a compiled one of its name.
func (c *catalog) read(nodes []*fsm.Node, packs []*fsm.Pack) {
	funcs := map[string]catalogFunc{}
	installed := map[string]bool{}
	for _, p := range packs {
		installed[p.Name] = true
		for _, s := range currentInfo(p, c.log).Specs {
			funcs[s.Name] = catalogFunc{s, p.Current}
		}
	}
	compiled := func(specs []*taskpacks.Spec) {
		for _, s := range specs {
			if !installed[taskpacks.PackOf(s.Name)] {
				funcs[s.Name] = catalogFunc{spec: s}
			}
		}
	}
	for _, n := range nodes {
		for _, p := range manifest(n, c.log) {
			compiled(p.Specs)
		}
	}
	compiled(c.own.Specs()) // over those of others: what callers' arguments are checked against here
	c.funcs.Store(&funcs)
	c.reads.Add(1)
}

// Version is another number after the records have been read anew.
func (c *catalog) Version() uint64 { return c.reads.Load() }

// currentInfo returns what the current release of a pack says of itself.
func currentInfo(p *fsm.Pack, log *slog.Logger) taskpacks.PackInfo {
	var info taskpacks.PackInfo
	for _, r := range p.Releases {
		if r.Release != p.Current {
			continue
		}
		if err := json.Unmarshal(r.Info, &info); err != nil {
			log.Warn("pack's description not understood", "pack", p.Name, "release", r.Release, "err", err)
		}
	}
	info.Specs = valid(info.Specs, log)
	return info
}

// manifest reads what a node's record says of its packs.
func manifest(n *fsm.Node, log *slog.Logger) []nodePack {
	var packs []nodePack
	if err := json.Unmarshal(n.Packs, &packs); err != nil {
		log.Warn("node's packs not understood", "node", n.Name, "err", err)
	}
	for i := range packs {
		packs[i].Specs = valid(packs[i].Specs, log)
	}
	return packs
}

// valid returns the specs without those that this node's program does not understand, which a newer
// one may have written.
func valid(specs []*taskpacks.Spec, log *slog.Logger) []*taskpacks.Spec {
	return slices.DeleteFunc(specs, func(s *taskpacks.Spec) bool {
		if s == nil {
			return true
		}
		err := s.Validate()
		if err != nil {
			log.Warn("func's signature not understood", "err", err)
		}
		return err != nil
	})
}

// packKeys returns what a node can run: the names of packs compiled in, and the keys of releases that
// are ready.
func packKeys(log *slog.Logger) func(*fsm.Node) []string {
	return func(n *fsm.Node) []string {
		var keys []string
		for _, p := range manifest(n, log) {
			switch {
			case p.Release == "":
				keys = append(keys, p.Name)
			case p.Status == httpapi.PackReady:
				keys = append(keys, p.Name+"@"+p.Release)
			}
		}
		return keys
	}
}

// Spec returns the signature of a func, and the release that it is of.
func (c *catalog) Spec(name string) (*taskpacks.Spec, string, bool) {
	f, ok := (*c.funcs.Load())[name]
	return f.spec, f.release, ok
}

// Specs returns all signatures, sorted by name.
func (c *catalog) Specs() []*taskpacks.Spec {
	var out []*taskpacks.Spec
	for _, f := range *c.funcs.Load() {
		out = append(out, f.spec)
	}
	slices.SortFunc(out, func(a, b *taskpacks.Spec) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
