package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/julienschmidt/httprouter"
	"github.com/prometheus/client_golang/prometheus"

	"pytasks/fsm"
	"pytasks/taskpacks"
)

// Options is what the API needs.
type Options struct {
	Tasks   Tasks
	Catalog Catalog
	Cluster Cluster

	Logger   *slog.Logger         // nil = no logs
	Registry *prometheus.Registry // takes the API's metrics and is shown at /metrics; nil = one of its own
	Version  string               // of this program, for people

	// MaxBody is the largest request body in bytes. Larger ones are answered
	// 413. 0 = 16 MiB.
	MaxBody int64
	// MaxArgs is the largest args of one task in bytes. Larger ones are
	// answered 413. 0 = 1 MiB.
	MaxArgs int
	// CORSOrigins are the exact origins whose pages may use the API; "*" is
	// any. Empty = none, and no CORS headers.
	CORSOrigins []string
	// WriteTimeout is how long a request may wait for the leader before it is
	// answered 503. It does not bound ?wait. 0 = 4 s.
	WriteTimeout time.Duration
	// Now is the clock of the request durations in the metrics. nil = time.Now.
	Now func() time.Time
}

// Consistency says how fresh what is read has to be.
type Consistency string

// The consistencies that a caller may ask for.
const (
	Default      Consistency = "default"      // what this node has of a finished task; else the leader is asked, if it answers
	Stale        Consistency = "stale"        // what this node has, hit or miss
	Linearizable Consistency = "linearizable" // everything that was answered before the request came
)

// Tasks is the queue and the records of tasks. Its errors carry the codes of
// package fsm. Records that it returns are not modified.
type Tasks interface {
	// Submit queues tasks, all or none, and waits for the commit. It may still
	// read s after it returned.
	Submit(ctx context.Context, s *fsm.Submit) (*fsm.Outcome, error)
	// Cancel revokes a task. fsm.ErrFinished may come with an outcome that
	// holds the task's status.
	Cancel(ctx context.Context, id string) (*fsm.Outcome, error)
	// Task returns the record of a task, fsm.ErrNotFound if there is none.
	Task(ctx context.Context, id string, c Consistency) (*fsm.Task, error)
	// Wait returns the record of a task when it is final. When ctx ends first
	// it returns the latest known record and no error.
	Wait(ctx context.Context, id string) (*fsm.Task, error)
	// List returns tasks, newest first.
	List(ctx context.Context, f fsm.Filter, c Consistency) (fsm.Page, error)
	// NodeName returns the name of the node of that number, "" if unknown.
	NodeName(number uint32) string
	Counts() fsm.Counts
}

// Catalog is every func that some node of the cluster can run.
type Catalog interface {
	Spec(name string) (*taskpacks.Spec, bool)
	Specs() []*taskpacks.Spec
}

// Cluster is what this node knows of the cluster.
type Cluster interface {
	Status() ClusterStatus
	// Ready returns what must hold before this node should be sent requests:
	// leader known, caught up, store writable, not draining.
	Ready() []Check
	// Remove takes a node that will not come back out of the cluster.
	Remove(ctx context.Context, nameOrID string) error
}

// api is the handlers' common ground. It does not change after New.
type api struct {
	Options
	cors  *cors
	page  []byte    // the answer to GET /
	calls sync.Pool // of *call
}

// New returns the handler of every path of the API. It panics if its metrics
// are on the registry already.
func New(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("component", "httpapi")
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 16 << 20
	}
	if o.MaxArgs <= 0 {
		o.MaxArgs = 1 << 20
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 4 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}

	a := &api{Options: o, cors: newCORS(o.CORSOrigins), page: startPage(o.Version)}
	a.calls.New = func() any { return &call{api: a} }

	m := newMetrics(o.Registry)
	router := httprouter.New()
	router.RedirectTrailingSlash = false
	router.RedirectFixedPath = false
	for _, rt := range a.routes() {
		router.Handle(rt.method, rt.pattern, a.serve(rt.handle, m.route(rt.pattern, rt.method)))
		if rt.method == http.MethodGet {
			router.Handle(http.MethodHead, rt.pattern, a.serve(rt.handle, m.route(rt.pattern, http.MethodHead)))
		}
	}
	// What matches no route has one series for all, so that a scan of paths
	// does not grow the metrics.
	router.NotFound = a.serveHTTP((*call).noSuchPath, m.route("none", "any"))
	router.MethodNotAllowed = a.serveHTTP((*call).wrongMethod, m.route("none", "any"))
	router.PanicHandler = a.panicked
	return a.cors.wrap(router)
}

// bounded is the context of what may have to ask the leader.
func (c *call) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.r.Context(), c.api.WriteTimeout)
}
