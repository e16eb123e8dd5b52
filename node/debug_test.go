package node

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hashicorp/raft"

	"pytasks/fsm"
)

// TestDebugState checks what /debug/state answers, and that it is there only where it was
// asked for.
func TestDebugState(t *testing.T) {
	state, err := fsm.Open(fsm.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := state.Close(); err != nil {
			t.Error(err)
		}
	})
	entry, err := fsm.EncodeEntry(&fsm.Entry{NowMs: 5, Commands: []*fsm.Command{
		{Kind: &fsm.Command_NodeUp{NodeUp: &fsm.NodeUp{Id: "id", Name: "alpha", Boot: 1}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	state.FSM().Apply(&raft.Log{Index: 7, Type: raft.LogCommand, Data: entry})
	_, sum, err := state.Digest()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, method, from string
		on                 bool
		status             int
		body               string
	}{
		{"on", http.MethodGet, "127.0.0.1:5000", true, http.StatusOK, fmt.Sprintf("{\"applied\":7,\"sha256\":\"%x\"}\n", sum)},
		{"off", http.MethodGet, "127.0.0.1:5000", false, http.StatusNotFound, "404 page not found\n"},
		{"another method", http.MethodPost, "127.0.0.1:5000", true, http.StatusNotFound, "404 page not found\n"},
		{"another machine", http.MethodGet, "192.0.2.1:5000", true, http.StatusForbidden, "this is for programs on the node's own machine\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(tt.method, "/debug/state", nil)
			r.RemoteAddr, r.Host = tt.from, "127.0.0.1:8080"
			withDebug(tt.on, state, http.NotFoundHandler()).ServeHTTP(w, r)
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tt.status, tt.body)
			}
		})
	}
}
