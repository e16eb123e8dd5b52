package fsm

import (
	"bytes"
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"
)

// takes says whether a new task may be queued: its release is there, and stays.
func (m *model) takes(n *New) bool {
	return n.Release == "" || slices.ContainsFunc(m.packs[n.Type[:1]].GetReleases(), func(r *PackRelease) bool {
		return r.Release == n.Release && !r.Removing
	})
}

// referring returns the unfinished tasks that need a release: those that are pending by
// priority, those that run, and those that wait by time.
func (m *model) referring(pack, release string) []*Task {
	ts := m.inOrder(func(t *Task) bool {
		return m.ended[Key(t.Key)] == 0 && t.Type[:1] == pack && t.Release == release
	})
	place := func(t *Task) int {
		switch t.Status {
		case Status_PENDING:
			return -int(t.Priority)
		case Status_STARTED:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(ts, func(a, b *Task) int {
		if c := cmp.Compare(place(a), place(b)); c != 0 || place(a) < 2 {
			return c
		}
		return cmp.Compare(a.DueMs, b.DueMs)
	})
	return ts
}

// changePack replaces the record of a pack by a copy that f has changed, and makes that
// name only releases that take tasks.
func (m *model) changePack(name string, f func(*Pack)) {
	p := &Pack{Name: name}
	if old := m.packs[name]; old != nil {
		p = proto.CloneOf(old)
	}
	f(p)
	if len(p.Releases) == 0 {
		delete(m.packs, name)
		return
	}
	var open []string
	for _, r := range p.Releases {
		if !r.Removing {
			open = append(open, r.Release)
		}
	}
	p.Removing = len(open) == 0
	if p.Removing {
		p.Current = ""
	} else if !slices.Contains(open, p.Current) {
		p.Current = open[len(open)-1]
	}
	if p.Previous == p.Current || !slices.Contains(open, p.Previous) {
		p.Previous = ""
	}
	m.packs[name] = p
}

func (m *model) packPut(c *PackPut) *Outcome {
	if c.Name != "p" && c.Name != "q" {
		return &Outcome{Code: Code_MISFIT}
	}
	there := false
	for _, r := range m.packs[c.Name].GetReleases() {
		if r.Release != c.Release {
			continue
		}
		if there = true; r.Removing {
			return &Outcome{Code: Code_PACK_BUSY}
		}
		if !bytes.Equal(r.Digest, c.Digest) {
			return &Outcome{Code: Code_MISFIT}
		}
	}
	if m.packs[c.Name].GetRemoving() {
		return &Outcome{Code: Code_PACK_BUSY}
	}
	m.changePack(c.Name, func(p *Pack) {
		if !there {
			p.Releases = append(p.Releases, &PackRelease{
				Release: c.Release, Version: c.Version, Digest: c.Digest, Size: c.Size, Kind: c.Kind, Info: c.Info,
				InstalledMs: m.now, InstalledIndex: m.index,
			})
		}
		m.use(p, c.Release)
		for i := 0; i < len(p.Releases) && len(p.Releases) > 5; {
			r := p.Releases[i].Release
			if r == p.Current || r == p.Previous || len(m.referring(p.Name, r)) > 0 {
				i++
			} else {
				p.Releases = slices.Delete(p.Releases, i, i+1)
			}
		}
	})
	return &Outcome{}
}

func (m *model) use(p *Pack, release string) {
	if release != p.Current {
		p.Current, p.Previous = release, p.Current
	}
}

func (m *model) packUse(c *PackUse) *Outcome {
	for _, r := range m.packs[c.Name].GetReleases() {
		if r.Release == c.Release && !r.Removing {
			m.changePack(c.Name, func(p *Pack) { m.use(p, c.Release) })
			return &Outcome{}
		}
	}
	return &Outcome{Code: Code_NOT_FOUND}
}

func (m *model) packRemove(c *PackRemove) *Outcome {
	var meant []string
	var referring []*Task
	for _, r := range m.packs[c.Name].GetReleases() {
		if (c.Release == "" || c.Release == r.Release) && (!c.Resume || r.Removing) {
			meant = append(meant, r.Release)
			referring = append(referring, m.referring(c.Name, r.Release)...)
		}
	}
	switch {
	case len(meant) == 0:
		return &Outcome{Code: Code_NOT_FOUND}
	case len(referring) > 0 && !c.Force:
		return &Outcome{Code: Code_PACK_BUSY, Count: uint64(len(referring))}
	}
	end := min(len(referring), int(c.Limit))
	for _, t := range referring[:end] {
		m.change(t, func(t *Task) {
			t.Status, t.Reason = Status_FAILURE, "pack_removed"
			t.Error = &Failure{Type: "PackRemoved", Message: "the pack was removed: install it again and send the task again"}
		})
	}
	left := len(referring) - end
	m.changePack(c.Name, func(p *Pack) {
		p.Releases = slices.DeleteFunc(p.Releases, func(r *PackRelease) bool {
			r.Removing = r.Removing || slices.Contains(meant, r.Release)
			return left == 0 && slices.Contains(meant, r.Release)
		})
	})
	return &Outcome{Count: uint64(left)}
}
