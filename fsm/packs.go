package fsm

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// RemoveLimit is how many tasks one PackRemove ends at most, as it is sent.
const RemoveLimit = 1000

// These are rules of Apply: builds that differ in one of them would drift apart.
const (
	// keptReleases is how many releases of a pack are kept. There are more only while
	// unfinished tasks refer to them, and never more than maxReleases.
	keptReleases = 5
	maxReleases  = 20
	// maxPackInfo bounds what a release says of itself, in bytes.
	maxPackInfo = 1 << 20
	// removeBytes bounds what one PackRemove ends, in bytes of arguments and logs; one task
	// may go beyond.
	removeBytes = 8 << 20
)

// find returns a release of a pack, nil if it is not there. A nil pack has none.
func (p *Pack) find(release string) *PackRelease {
	for _, r := range p.GetReleases() {
		if r.Release == release {
			return r
		}
	}
	return nil
}

// copyOf returns a copy of a pack's record for a transition to change. Its releases are
// replaced, never changed.
func (p *Pack) copyOf() *Pack {
	return &Pack{
		Name: p.Name, Releases: slices.Clone(p.Releases), Current: p.Current, Previous: p.Previous, Removing: p.Removing,
	}
}

func (r *PackRelease) copyOf() *PackRelease {
	return &PackRelease{
		Release: r.Release, Version: r.Version, Digest: r.Digest, Size: r.Size, Kind: r.Kind, Info: r.Info,
		InstalledMs: r.InstalledMs, InstalledIndex: r.InstalledIndex, Removing: r.Removing,
	}
}

// use makes a release the current one.
func (p *Pack) use(release string) {
	if p.Current != release {
		p.Previous, p.Current = p.Current, release
	}
}

// settle makes a pack whose releases changed name only those that take tasks: in the place
// of a current one that does not, the newest that does.
func (p *Pack) settle() {
	takes := func(r *PackRelease) bool { return r != nil && !r.Removing }
	if !takes(p.find(p.Previous)) {
		p.Previous = ""
	}
	if !takes(p.find(p.Current)) {
		p.Current = ""
		for _, r := range p.Releases {
			if takes(r) {
				p.Current = r.Release
			}
		}
	}
	if p.Previous == p.Current {
		p.Previous = ""
	}
	p.Removing = p.Current == ""
}

// putPack makes p the record of its pack, or removes that if it has no release.
func (a *applier) putPack(p *Pack) {
	a.changes.Packs = true
	if len(p.Releases) == 0 {
		delete(a.packs, p.Name)
		a.active.packs[p.Name] = nil
		return
	}
	p.settle()
	a.packs[p.Name] = p
	a.active.packs[p.Name] = p
	a.active.bytes += p.SizeVT()
}

// drop takes releases that no unfinished task refers to out of a pack.
func (a *applier) drop(p *Pack, gone func(*PackRelease) bool) {
	p.Releases = slices.DeleteFunc(p.Releases, func(r *PackRelease) bool {
		if !gone(r) {
			return false
		}
		a.index.forget(p.Name, r.Release)
		return true
	})
}

// packTasks returns how many unfinished tasks refer to a release.
func (a *applier) packTasks(pack, release string) int {
	return a.index.needed(PackKey(pack, release))
}

// installed says whether there is what a new task needs to run.
func (a *applier) installed(n *New) bool {
	if n.Release == "" {
		return true // the nodes have it, or it waits for one that has
	}
	r := a.packs[PackOf(n.Type)].find(n.Release)
	return r != nil && !r.Removing
}

func (a *applier) packPut(c *PackPut) (*Outcome, error) {
	named := c.Name != "" && len(c.Name) <= maxNameLen && !strings.ContainsAny(c.Name, ".@")
	if !named || c.Release == "" || len(c.Release) > maxNameLen || len(c.Digest) != digestLen || len(c.Info) > maxPackInfo {
		return &Outcome{Code: Code_MISFIT}, nil
	}
	p := a.packs[c.Name]
	if p == nil {
		p = &Pack{Name: strings.Clone(c.Name)}
	}
	p = p.copyOf()
	r := p.find(c.Release)
	switch {
	case p.Removing || r.GetRemoving():
		return &Outcome{Code: Code_PACK_BUSY}, nil
	case r == nil:
		r = &PackRelease{ // it shares no memory with the log entry
			Release: strings.Clone(c.Release), Version: strings.Clone(c.Version), Digest: bytes.Clone(c.Digest), Size: c.Size,
			Kind: strings.Clone(c.Kind), Info: bytes.Clone(c.Info), InstalledMs: a.now, InstalledIndex: a.changes.Index,
		}
		p.Releases = append(p.Releases, r)
	case !bytes.Equal(r.Digest, c.Digest):
		return &Outcome{Code: Code_MISFIT}, nil
	}
	p.use(r.Release)
	excess := len(p.Releases) - keptReleases
	a.drop(p, func(r *PackRelease) bool { // the oldest go first
		if excess <= 0 || r.Release == p.Current || r.Release == p.Previous || a.packTasks(p.Name, r.Release) > 0 {
			return false
		}
		excess--
		return true
	})
	if len(p.Releases) > maxReleases {
		return &Outcome{Code: Code_PACK_BUSY}, nil
	}
	a.putPack(p)
	return &Outcome{}, nil
}

func (a *applier) packUse(c *PackUse) (*Outcome, error) {
	p := a.packs[c.Name]
	r := p.find(c.Release)
	if r == nil || r.Removing {
		return &Outcome{Code: Code_NOT_FOUND}, nil
	}
	p = p.copyOf()
	p.use(r.Release)
	a.putPack(p)
	return &Outcome{}, nil
}

// packRemove removes releases that no unfinished task refers to. By force it ends those
// tasks; until all are ended the releases stay, and take no new ones.
func (a *applier) packRemove(c *PackRemove) (*Outcome, error) {
	p := a.packs[c.Name]
	meant := func(r *PackRelease) bool {
		return (c.Release == "" || r.Release == c.Release) && (r.Removing || !c.Resume)
	}
	if !slices.ContainsFunc(p.GetReleases(), meant) {
		return &Outcome{Code: Code_NOT_FOUND}, nil
	}
	p = p.copyOf()
	tasks := 0
	for _, r := range p.Releases {
		if meant(r) {
			tasks += a.packTasks(p.Name, r.Release)
		}
	}
	if tasks > 0 && !c.Force {
		return &Outcome{Code: Code_PACK_BUSY, Count: uint64(tasks)}, nil
	}
	limit, size := int(c.Limit), removeBytes
	for i, r := range p.Releases {
		if !meant(r) {
			continue
		}
		for _, l := range a.index.needing(PackKey(p.Name, r.Release), limit) {
			if size <= 0 {
				break
			}
			size -= l.size
			if err := a.endRemoved(l.key); err != nil {
				return nil, err
			}
			tasks, limit = tasks-1, limit-1
		}
		p.Releases[i] = r.copyOf()
		p.Releases[i].Removing = true
	}
	if tasks == 0 {
		a.drop(p, meant)
	}
	a.putPack(p)
	return &Outcome{Count: uint64(tasks)}, nil
}

// endRemoved ends a task whose pack is removed.
func (a *applier) endRemoved(k Key) error {
	old, err := a.task(k)
	if err != nil {
		return err
	}
	t := old.next()
	t.Error = &Failure{Type: "PackRemoved", Message: "the pack was removed: install it again and send the task again"}
	t.end(a.now, Status_FAILURE, ReasonPackRemoved)
	a.put(old, t)
	return nil
}

// needed returns how many unfinished tasks a pack has, by PackKey.
func (x *index) needed(key string) int {
	if p := x.packs[key]; p != nil {
		return p.tasks
	}
	return 0
}

// needing returns the unfinished tasks that a pack has, at most so many, in an order that
// follows from their records alone: those that are ready, those that run, those that wait
// for their time.
func (x *index) needing(key string, limit int) []*live {
	p := x.packs[key]
	if p == nil {
		return nil
	}
	out := make([]*live, 0, min(limit, p.tasks))
	take := func(l *live) bool {
		if len(out) == cap(out) {
			return false
		}
		if l.pack == p {
			out = append(out, l)
		}
		return true
	}
	byOrder := func(a, b *live) int { return cmp.Compare(a.order, b.order) }
	for priority := MaxPriority; priority >= 0 && len(out) < cap(out); priority-- {
		ready := p.ready.first(priority, cap(out))
		for _, q := range p.placed {
			ready = append(ready, q.first(priority, cap(out))...)
		}
		slices.SortFunc(ready, byOrder) // whatever the order of the map
		for _, l := range ready {
			take(l)
		}
	}
	var running []*live
	for _, g := range x.assigned {
		for l := g.first; l != nil; l = l.next {
			running = append(running, l)
		}
	}
	slices.SortFunc(running, byOrder)
	for _, l := range running {
		take(l)
	}
	x.due.Ascend(take)
	return out
}

// Packs returns the records of the installed packs, by name.
func (s *State) Packs() []*Pack {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*Pack, 0, len(s.packs))
	for _, p := range s.packs {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Pack) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Pack returns the record of an installed pack, nil if there is none.
func (s *State) Pack(name string) *Pack {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.packs[name]
}

// PackTasks returns how many unfinished tasks a pack has, by PackKey.
func (s *State) PackTasks(key string) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.needed(key)
}
