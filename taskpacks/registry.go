package taskpacks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pack is a set of funcs under one name and version.
type Pack struct {
	Name    string // letters, digits and underscores, not beginning with a digit
	Version string
	Funcs   []Func // their names begin with "<Name>."
}

// Registry holds the packs that a node has. It does not change and is safe for concurrent use.
type Registry struct {
	packs []Pack           // by name, their funcs by name
	funcs map[string]*Func // by full name
}

// PackInfo is what a node tells others about one of its packs.
type PackInfo struct {
	Name        string  `json:"name"`
	Version     string  `json:"version"`
	Kind        string  `json:"kind,omitempty"` // that of its Manifest; "" = compiled in
	Description string  `json:"description,omitempty"`
	Specs       []*Spec `json:"specs"` // by name
}

// NewRegistry returns the registry of the given packs. Two packs of one name, two funcs of one name, a func that is not named
// after its pack, one without code and one whose spec is not valid are errors.
func NewRegistry(packs ...Pack) (*Registry, error) {
	r := &Registry{funcs: make(map[string]*Func)}
	seen := make(map[string]bool)
	for _, p := range packs {
		if !identifier.MatchString(p.Name) {
			return nil, fmt.Errorf("pack %q: use a name of letters, digits and underscores that does not begin with a digit", p.Name)
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("pack %s is registered twice", p.Name)
		}
		seen[p.Name] = true

		p.Funcs = slices.Clone(p.Funcs)
		slices.SortFunc(p.Funcs, func(a, b Func) int { return cmp.Compare(a.Name, b.Name) })
		for i := range p.Funcs {
			if err := r.add(&p.Funcs[i], p.Name); err != nil {
				return nil, err
			}
		}
		r.packs = append(r.packs, p)
	}
	slices.SortFunc(r.packs, func(a, b Pack) int { return cmp.Compare(a.Name, b.Name) })
	return r, nil
}

func (r *Registry) add(f *Func, pack string) error {
	if rest, ok := strings.CutPrefix(f.Name, pack+"."); !ok || rest == "" {
		return fmt.Errorf("pack %s: func %q: use a name that begins with %q, such as %q", pack, f.Name, pack+".", pack+".main.add")
	}
	if f.run == nil {
		return fmt.Errorf("pack %s: func %s has no code: make it with Define or NewFunc", pack, f.Name)
	}
	if r.funcs[f.Name] != nil {
		return fmt.Errorf("pack %s: func %s is defined twice", pack, f.Name)
	}
	if err := f.Validate(); err != nil {
		return fmt.Errorf("pack %s: %w", pack, err)
	}
	r.funcs[f.Name] = f
	return nil
}

// Func returns the func of that full name.
func (r *Registry) Func(name string) (*Func, bool) {
	f, ok := r.funcs[name]
	return f, ok
}

// Packs returns the packs by name. The caller must not change them.
func (r *Registry) Packs() []Pack { return slices.Clone(r.packs) }

// Specs returns the signatures of all funcs, by name within each pack. The caller must not change them.
func (r *Registry) Specs() []*Spec {
	specs := make([]*Spec, 0, len(r.funcs))
	for i := range r.packs {
		specs = appendSpecs(specs, &r.packs[i])
	}
	return specs
}

// Manifest returns what a node tells others about its packs. Nodes with the same packs give the same manifest.
func (r *Registry) Manifest() []PackInfo {
	infos := make([]PackInfo, 0, len(r.packs))
	for i := range r.packs {
		p := &r.packs[i]
		infos = append(infos, PackInfo{Name: p.Name, Version: p.Version, Specs: appendSpecs([]*Spec{}, p)})
	}
	return infos
}

func appendSpecs(specs []*Spec, p *Pack) []*Spec {
	for i := range p.Funcs {
		specs = append(specs, &p.Funcs[i].Spec)
	}
	return specs
}

// PackOf returns the pack that a func's full name belongs to: "test" for "test.main.add".
func PackOf(funcName string) string {
	pack, _, _ := strings.Cut(funcName, ".")
	return pack
}
