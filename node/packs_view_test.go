package node

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pytasks/fsm"
	"pytasks/httpapi"
	"pytasks/taskpacks/fetch"
)

type viewState struct {
	packs []*fsm.Pack
	nodes []*fsm.Node
}

func (s viewState) Packs() []*fsm.Pack   { return s.packs }
func (s viewState) Nodes() []*fsm.Node   { return s.nodes }
func (s viewState) PackTasks(string) int { return 2 }

// TestPackViews: packs are shown as the nodes that are up say it; one that only a node has that is down is
// shown as well, since its tasks wait for that.
func TestPackViews(t *testing.T) {
	release := `{"name":"p","version":"1","release":"1+a","status":%q}`
	state := viewState{
		packs: []*fsm.Pack{{Name: "p", Current: "1+a", Releases: []*fsm.PackRelease{
			{Release: "1+a", Version: "1", Kind: "python", Info: []byte(`{"name":"p","description":"all of it"}`)},
		}}},
		nodes: []*fsm.Node{
			{Name: "b", Packs: []byte(`[{"name":"own","version":"2"},` + fmt.Sprintf(release, httpapi.PackFailed) + `]`)},
			{Name: "a", Packs: []byte(`[` + fmt.Sprintf(release, httpapi.PackReady) + `]`)},
			{Name: "c", Down: true, Packs: []byte(`[{"name":"own","version":"1"},{"name":"far","version":"1"}]`)},
			{Name: "d", Gone: true, Packs: []byte(`[{"name":"lost","version":"1"}]`)},
		},
	}
	got := ""
	for _, v := range packViews(state, slog.New(slog.DiscardHandler)) {
		got += fmt.Sprintf("%s %s %s %v\n", v.Name, v.Version, v.Kind, v.Nodes)
	}
	want := "far 1 go []\nown 2 go [{b ready }]\np 1 python [{a ready } {b failed }]\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestInstallFromNowhere: who names a URL is told what is wrong with that, not with the store.
func TestInstallFromNowhere(t *testing.T) {
	r := newPackRoom(t)
	r.fetch = fetch.New(fetch.Config{})
	_, err := r.Install(t.Context(), httpapi.PackSource{URL: "http://127.0.0.1:1/p.zip"})
	var bad *httpapi.PackError
	if !errors.As(err, &bad) || !strings.HasPrefix(bad.Message, "fetch http://127.0.0.1:1/p.zip: ") || !strings.Contains(bad.Message, "--allow-private") {
		t.Errorf("Install = %v", err)
	}
}
