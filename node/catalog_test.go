package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"pytasks/fsm"
	"pytasks/taskpacks"
)

// catalogState is a state that is no more than records.
type catalogState struct {
	packs []*fsm.Pack
	nodes []*fsm.Node
}

func (s *catalogState) Packs() []*fsm.Pack   { return s.packs }
func (s *catalogState) PackTasks(string) int { return 0 }
func (s *catalogState) Nodes() []*fsm.Node   { return s.nodes }

// TestCatalogStrangers: of the signatures in the log, written by a node of whatever version, those
// that this one cannot make sense of are left out, and do not bring it down.
func TestCatalogStrangers(t *testing.T) {
	const specs = `[null, {"name":"p.main.f","params":[{"name":"x","type":{"kind":"optional"}}]},
		{"name":"p.main.g","params":[{"name":"x","type":{"kind":"int"}}]}, {"name":"p.main.h","params":[{"name":"x","type":{"kind":"quaternion"}}]}]`
	info := []byte(`{"name":"p","version":"1","description":"about p","specs":` + specs + `}`)
	state := &catalogState{
		packs: []*fsm.Pack{{Name: "p", Current: "1+a", Releases: []*fsm.PackRelease{{Release: "1+a", Version: "1", Kind: "python", Info: info}}}},
		nodes: []*fsm.Node{{Number: 1, Name: "n1", Packs: []byte(`[{"name":"q","version":"1","specs":[null]},` + string(info) + `]`)}},
	}
	log := slog.New(slog.DiscardHandler)
	own, err := taskpacks.NewRegistry()
	if err != nil {
		t.Fatal(err)
	}
	c := newCatalog(own, log)
	c.read(state.nodes, state.packs)
	if got := c.Specs(); len(got) != 1 || got[0].Name != "p.main.g" {
		t.Errorf("got %d specs, want p.main.g alone", len(got))
	}
	c.read(state.nodes, nil)
	if got := c.Specs(); len(got) != 1 || got[0].Name != "p.main.g" {
		t.Errorf("compiled into another node: got %d specs, want p.main.g alone", len(got))
	}
	for _, packs := range [][]*fsm.Pack{state.packs, nil} {
		state.packs = packs
		views := packViews(state, log)
		if len(views) != 2 || views[0].Name != "p" || len(views[0].Tasks) != 1 || views[0].Tasks[0].Type != "p.main.g" || views[0].Description != "about p" {
			t.Errorf("got %+v, want p with p.main.g alone, and q", views)
		}
	}
}

// TestCatalog: an installed pack hides the compiled one of its name as a whole.
func TestCatalog(t *testing.T) {
	builtin, err := taskpacks.NewRegistry(taskpacks.Pack{Name: "p", Version: "1", Funcs: []taskpacks.Func{
		taskpacks.Define("p.main.old", func(context.Context, struct{}) (int, error) { return 1, nil }),
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := newCatalog(builtin, slog.New(slog.DiscardHandler))
	has := func(name, release string, want bool) {
		t.Helper()
		s, got, ok := c.Spec(name)
		if ok != want || got != release || ok && s.Name != name {
			t.Errorf("Spec(%s) = %v, %q, %v; want it to be there: %v, of %q", name, s, got, ok, want, release)
		}
	}
	has("p.main.old", "", true)
	before := c.Version()
	info, _ := json.Marshal(taskpacks.PackInfo{Name: "p", Specs: []*taskpacks.Spec{{Name: "p.main.new"}}})
	stale, _ := json.Marshal(taskpacks.PackInfo{Name: "p", Specs: []*taskpacks.Spec{{Name: "p.main.stale"}}})
	others, _ := json.Marshal([]nodePack{{PackInfo: taskpacks.PackInfo{Name: "q", Specs: []*taskpacks.Spec{{Name: "q.main.f"}}}}})
	c.read([]*fsm.Node{{Packs: others}}, []*fsm.Pack{{Name: "p", Current: "2+b", Releases: []*fsm.PackRelease{
		{Release: "1+a", Info: stale}, {Release: "2+b", Info: info},
	}}})
	has("p.main.old", "", false)
	has("p.main.stale", "", false)
	has("p.main.new", "2+b", true)
	has("q.main.f", "", true)
	if c.Version() == before {
		t.Error("the version is the same after a change")
	}
	if specs := c.Specs(); len(specs) != 2 || specs[0].Name != "p.main.new" {
		t.Errorf("Specs = %v", specs)
	}
}
