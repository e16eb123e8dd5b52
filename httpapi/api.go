package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/julienschmidt/httprouter"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"pytasks/fsm"
	"pytasks/httpapi/auth"
	"pytasks/taskpacks"
)

// Options is what the API needs.
type Options struct {
	Tasks   Tasks
	Catalog Catalog
	Packs   Packs
	Cluster Cluster
	Users   Users
	Keys    Keys
	Secrets Secrets
	Audit   Audit
	// Snapshots is the cluster as a whole.
	Snapshots Snapshots

	// Anonymous is what may be done without a token. "" = AnonymousSubmit.
	Anonymous Anonymous
	// LoopbackOnly says that nobody but this machine reaches the node: then requests without a token must be sent to
	// one of its addresses, not to a name.
	LoopbackOnly bool
	// LocalToken is a token that programs on this machine may do everything with. "" = there is none.
	LocalToken string
	// TokenTTL is how long tokens are valid. 0 = 1 hour.
	TokenTTL time.Duration
	// RateLimit is how many requests per second an address of another machine may send. 0 = any number.
	RateLimit int

	Logger   *slog.Logger         // nil = no logs
	Registry *prometheus.Registry // takes the API's metrics and is shown at /metrics; nil = one of its own
	Version  string               // of this program, for people

	// MaxBody is the largest request body in bytes. Larger ones are answered
	// 413. 0 = 80 MiB.
	MaxBody int64
	// MaxLargeBodies bounds the request bodies of more than 64 KiB that are in hand
	// at once, in bytes, until their tasks are queued: on the way there some is
	// copied several times. More wait, as long as WriteTimeout, and are then
	// answered 503. 0 = 32 MiB; at least MaxBody.
	MaxLargeBodies int64
	// MaxArgs is the largest args of one task in bytes. Larger ones are
	// answered 413. 0 = 64 MiB.
	MaxArgs int64
	// MaxPack is the largest archive of a pack in bytes. 0 = 64 MiB.
	MaxPack int64
	// CORSOrigins are the exact origins whose pages may use the API; "*" is
	// any. Empty = none, and no CORS headers.
	CORSOrigins []string
	// WriteTimeout is how long a request may wait for the leader before it is
	// answered 503; one with large arguments or a large result, whose bytes have to
	// travel, a second longer for every 4 MiB. It does not bound ?wait. 0 = 2.5 s, so that
	// a minority refuses within 3.
	WriteTimeout time.Duration
	// Now is the clock of the ids that are given out and of the durations in the
	// metrics. nil = time.Now.
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
	// Blob returns the bytes of large arguments, or of a large result, that a record
	// names. fsm.ErrNoBlob: nobody gives them now.
	Blob(ctx context.Context, b *fsm.Blob) (io.ReadCloser, error)
	// Log gives out what a task has printed, part by part, of its last attempt. With
	// follow it goes on until the task is finished or ctx ends.
	Log(ctx context.Context, id string, follow bool, out func(part []byte) error) error
	// NodeName returns the name of the node of that number, "" if unknown.
	NodeName(number uint32) string
	Counts() fsm.Counts
}

// Catalog is every func that the cluster can run: those of the packs that are installed,
// in their current release, and those that the nodes' programs have compiled in.
type Catalog interface {
	// Spec returns a func's signature, and the release of its pack that a task of it is
	// to run on: "" where the pack is compiled in.
	Spec(name string) (spec *taskpacks.Spec, release string, ok bool)
	Specs() []*taskpacks.Spec
	// Version is another number after the specs have changed.
	Version() uint64
}

// Cluster is what this node knows of the cluster.
type Cluster interface {
	Status() ClusterStatus
	// Ready returns what must hold before this node should be sent requests:
	// leader known, caught up, store writable, not draining.
	Ready() []Check
	// Remove takes a node that will not come back out of the cluster.
	Remove(ctx context.Context, nameOrID string) error
	// Drain makes a node take no tasks until it is resumed, and hand back what it has not finished within timeout;
	// 0 = within its own. fsm.ErrLastNode: none would be left that takes tasks, and force is not set.
	Drain(ctx context.Context, nameOrID string, timeout time.Duration, force bool) error
	// Resume makes a drained node take tasks again.
	Resume(ctx context.Context, nameOrID string) error
	// Label changes the labels of a node, beginning, with forget, with those that it was started with; nil takes one
	// away. An error with the code misfit: there would be too many.
	Label(ctx context.Context, nameOrID string, labels map[string]*string, forget bool) error
	// StepDown gives the leadership to another node and returns its name. An error with the code no_successor: there is
	// none that may have it.
	StepDown(ctx context.Context) (leader string, err error)
}

// api is the handlers' common ground. It does not change after New.
type api struct {
	Options
	cors *cors

	anonymous *auth.Principal
	hasher    *auth.Hasher
	throttle  *auth.Throttle
	logins    *prometheus.CounterVec
	large     *semaphore.Weighted // bytes of large bodies in hand
	describer *describer

	remembered *auth.Remembered // passwords of who reads /metrics
	calls      sync.Pool        // of *call
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
		o.MaxBody = 80 << 20
	}
	if o.MaxArgs <= 0 {
		o.MaxArgs = 64 << 20
	}
	if o.MaxPack <= 0 {
		o.MaxPack = 64 << 20
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 2500 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}

	if o.MaxLargeBodies <= 0 {
		o.MaxLargeBodies = 32 << 20
	}
	o.MaxLargeBodies = max(o.MaxLargeBodies, o.MaxBody)

	if o.TokenTTL <= 0 {
		o.TokenTTL = time.Hour
	}
	a := &api{Options: o, anonymous: o.Anonymous.principal(), hasher: auth.NewHasher(), throttle: auth.NewThrottle(o.Now), remembered: auth.NewRemembered(), large: semaphore.NewWeighted(o.MaxLargeBodies), cors: newCORS(o.CORSOrigins)}
	a.describer = newDescriber(a)
	a.calls.New = func() any { return &call{api: a} }

	m := newMetrics(o.Registry)
	a.logins = m.logins
	router := httprouter.New()
	router.RedirectTrailingSlash = false
	router.RedirectFixedPath = false
	for _, rt := range a.describer.routes {
		router.Handle(rt.method, rt.pattern, a.serve(rt.need, rt.handle, m.route(rt.pattern, rt.method)))
		if rt.method == http.MethodGet {
			router.Handle(http.MethodHead, rt.pattern, a.serve(rt.need, rt.handle, m.route(rt.pattern, http.MethodHead)))
		}
	}
	// What matches no route has one series for all, so that a scan of paths
	// does not grow the metrics.
	router.NotFound = a.serveHTTP((*call).noSuchPath, m.route("none", "any"))
	router.MethodNotAllowed = a.serveHTTP((*call).wrongMethod, m.route("none", "any"))
	router.PanicHandler = a.panicked
	return a.cors.wrap(a.limited(router)) // a page is told why, too
}

// limited refuses other machines that send too much.
func (a *api) limited(next http.Handler) http.Handler {
	if a.RateLimit <= 0 {
		return next
	}
	buckets := auth.NewBuckets(float64(a.RateLimit), 2*a.RateLimit, a.Now)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addr := peer(r)
		if ip := net.ParseIP(addr); ip != nil && !ip.IsLoopback() {
			if wait := buckets.Take(auth.Client(addr)); wait > 0 {
				w.Header()["Retry-After"] = []string{strconv.Itoa(int(wait/time.Second) + 1)}
				c := &call{api: a, w: w, r: r}
				c.refuse(&problem{status: http.StatusTooManyRequests, code: codeTooMany, message: "this address sends more than " + strconv.Itoa(a.RateLimit) + " requests per second (--rate-limit)"})
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// bounded is the context of what may have to ask the leader.
func (c *call) bounded() (context.Context, context.CancelFunc) { return c.boundedFor(0) }

// boundedFor is bounded where so many bytes have to travel too.
func (c *call) boundedFor(bytes int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.r.Context(), c.api.WriteTimeout+time.Duration(bytes>>20)*time.Second/4)
}
