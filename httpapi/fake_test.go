package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/fsm"
	"pytasks/taskpacks"
)

// fakeTasks is a queue in memory: what is submitted stays pending. Funcs that
// are set take the place of what it does.
type fakeTasks struct {
	mu      sync.Mutex
	submits []*fsm.Submit
	tasks   map[string]*fsm.Task
	filter  fsm.Filter
	how     Consistency

	submit func(context.Context, *fsm.Submit) (*fsm.Outcome, error)
	cancel func(context.Context, string) (*fsm.Outcome, error)
	task   func(context.Context, string) (*fsm.Task, error)
	wait   func(context.Context, string) (*fsm.Task, error)
	list   func(fsm.Filter) (fsm.Page, error)
	blob   func(*fsm.Blob) (io.ReadCloser, error)
	log    func(id string, follow bool, out func([]byte) error) error
}

func (f *fakeTasks) Submit(ctx context.Context, s *fsm.Submit) (*fsm.Outcome, error) {
	if f.submit != nil {
		return f.submit(ctx, s)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.submits = append(f.submits, s)
	return &fsm.Outcome{Ids: idsOf(s.Tasks), Status: fsm.Status_PENDING}, nil
}

func (f *fakeTasks) Cancel(ctx context.Context, id string) (*fsm.Outcome, error) {
	return f.cancel(ctx, id)
}

func (f *fakeTasks) Task(ctx context.Context, id string, c Consistency) (*fsm.Task, error) {
	f.how = c
	if f.task != nil {
		return f.task(ctx, id)
	}
	if t := f.tasks[id]; t != nil {
		return t, nil
	}
	return nil, fsm.ErrNotFound
}

func (f *fakeTasks) Wait(ctx context.Context, id string) (*fsm.Task, error) { return f.wait(ctx, id) }

func (f *fakeTasks) List(_ context.Context, filter fsm.Filter, c Consistency) (fsm.Page, error) {
	f.filter, f.how = filter, c
	return f.list(filter)
}

func (f *fakeTasks) Log(_ context.Context, id string, follow bool, out func([]byte) error) error {
	return f.log(id, follow, out)
}

func (f *fakeTasks) Blob(_ context.Context, b *fsm.Blob) (io.ReadCloser, error) { return f.blob(b) }

func (f *fakeTasks) NodeName(number uint32) string {
	return map[uint32]string{1: "ada", 2: "bob"}[number]
}

func (f *fakeTasks) Counts() fsm.Counts {
	var c fsm.Counts
	c.Tasks[fsm.Status_SUCCESS] = 7
	return c
}

// last returns the newest submitted task.
func (f *fakeTasks) last(t *testing.T) *fsm.New {
	t.Helper()
	if len(f.submits) == 0 {
		t.Fatal("nothing was submitted")
	}
	return f.submits[len(f.submits)-1].Tasks[0]
}

type fakeCatalog struct {
	specs []*taskpacks.Spec
	byKey map[string]*taskpacks.Spec

	release string // of every func
	version uint64
}

func (f *fakeCatalog) Specs() []*taskpacks.Spec { return f.specs }
func (f *fakeCatalog) Version() uint64          { return f.version }

func (f *fakeCatalog) Spec(name string) (*taskpacks.Spec, string, bool) {
	s, ok := f.byKey[name]
	return s, f.release, ok
}

func newCatalog() *fakeCatalog {
	params := func(kind taskpacks.Kind, names ...string) (list []taskpacks.Param) {
		for _, name := range names {
			list = append(list, taskpacks.Param{Name: name, Type: taskpacks.Type{Kind: kind}, Required: true})
		}
		return list
	}
	c := &fakeCatalog{byKey: map[string]*taskpacks.Spec{}, specs: []*taskpacks.Spec{
		{Name: "test.main.add", Params: params(taskpacks.KindInt, "x", "y")},
		{Name: "test.main.echo", Params: params(taskpacks.KindAny, "value")},
		{Name: "test.main.hypot", Params: params(taskpacks.KindFloat, "x", "y"), Timeout: 90 * time.Second, MaxAttempts: 5},
		{Name: "test.main.none"},
		{Name: "test.main.secret", Params: params(taskpacks.KindInt, "x"), Protected: true},
	}}
	for _, s := range c.specs {
		c.byKey[s.Name] = s
	}
	return c
}

type fakeCluster struct {
	status ClusterStatus
	checks []Check
	remove func(context.Context, string) error
	drain  func(name string, timeout time.Duration, force bool) error
	resume func(name string) error
	step   func() (string, error)
	label  func(name string, labels map[string]*string, forget bool) error
}

func (f *fakeCluster) Status() ClusterStatus { return f.status }
func (f *fakeCluster) Ready() []Check        { return f.checks }
func (f *fakeCluster) Remove(ctx context.Context, nameOrID string) error {
	return f.remove(ctx, nameOrID)
}
func (f *fakeCluster) Drain(_ context.Context, name string, timeout time.Duration, force bool) error {
	return f.drain(name, timeout, force)
}
func (f *fakeCluster) Label(_ context.Context, name string, labels map[string]*string, forget bool) error {
	return f.label(name, labels, forget)
}
func (f *fakeCluster) Resume(_ context.Context, name string) error { return f.resume(name) }
func (f *fakeCluster) StepDown(context.Context) (string, error)    { return f.step() }

// setup is an API over fakes.
type setup struct {
	http.Handler
	raw     http.Handler // without what the tests add, for benchmarks
	tasks   *fakeTasks
	cluster *fakeCluster
	people  *fakePeople
	reg     *prometheus.Registry
}

func newSetup(change ...func(*Options)) *setup {
	s := &setup{tasks: &fakeTasks{tasks: map[string]*fsm.Task{}}, cluster: &fakeCluster{}, people: newPeople(), reg: prometheus.NewRegistry()}
	o := Options{
		Tasks: s.tasks, Catalog: newCatalog(), Cluster: s.cluster, Registry: s.reg, Version: "1.2.3", Anonymous: AnonymousRead,
		Users: s.people, Keys: s.people, Secrets: s.people, Audit: s.people, LocalToken: localToken,
	}
	for _, f := range change {
		f(&o)
	}
	s.raw = New(o)
	s.Handler = checked(s.raw)
	return s
}

// do sends a request with a JSON body; headers come in pairs.
func (s *setup) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// answer is any JSON answer of the API.
type answer struct {
	ID, Type, Status, Message, Code, Detail string

	Result, Args json.RawMessage
	IDs          []string        `json:"ids"`
	Errors       json.RawMessage `json:"errors"`
}

type fault struct {
	Task                            *int
	Param, Code, Message, Got, Want string
}

func decode(t *testing.T, w *httptest.ResponseRecorder) (a answer) {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type: got %q, want application/json", got)
	}
	if !strings.HasSuffix(w.Body.String(), "}\n") {
		t.Errorf("body %q does not end in a newline", w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("body %q: %v", w.Body, err)
	}
	return a
}

// faults returns the errors of an answer as a list.
func (a *answer) faults(t *testing.T) (list []fault) {
	t.Helper()
	if err := json.Unmarshal(a.Errors, &list); err != nil {
		t.Fatalf("errors %s: %v", a.Errors, err)
	}
	return list
}

// fields returns the errors of an answer as an object.
func (a *answer) fields(t *testing.T) (m map[string]string) {
	t.Helper()
	if err := json.Unmarshal(a.Errors, &m); err != nil {
		t.Fatalf("errors %s: %v", a.Errors, err)
	}
	return m
}

func wantStatus(t *testing.T, w *httptest.ResponseRecorder, want int) {
	t.Helper()
	if w.Code != want {
		t.Fatalf("status: got %d, want %d; body %s", w.Code, want, w.Body)
	}
}
