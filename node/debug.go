package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	"pytasks/fsm"
	"pytasks/httpapi"
)

// withDebug adds the profiler, and a digest of the state to compare nodes by, for
// addresses that only this machine reaches.
func withDebug(on bool, state *fsm.State, h http.Handler) http.Handler {
	if !on {
		return h
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.Handle("GET /debug/state", digest(state))
	mux.Handle("/", h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/debug/") && !httpapi.FromHere(r) {
			http.Error(w, "this is for programs on the node's own machine", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// digest answers with the log index that the node has applied and the SHA-256 of its state
// there. Nodes that answer with the same index must answer with the same sum.
func digest(state *fsm.State) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		applied, sum, err := state.Digest()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(struct {
			Applied uint64 `json:"applied"`
			SHA256  string `json:"sha256"`
		}{applied, fmt.Sprintf("%x", sum)})
	}
}
