package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pytasks/cluster/blob"
	"pytasks/fsm"
	"pytasks/httpapi"
	"pytasks/taskpacks"
	"pytasks/taskpacks/archive"
	"pytasks/taskpacks/packdir"
)

// packRoom is one node's packs over a state, a log and another node that are fakes.
type packRoom struct {
	*installer
	t     *testing.T
	other *blobs // of the other node
	stop  context.CancelFunc

	mu       sync.Mutex
	packs    []*fsm.Pack
	puts     []*fsm.PackPut // what was proposed
	putErr   error
	spread   error // what the other node answers when it is to keep a blob
	openErr  error
	opened   []string // keys, as they were opened; those closed begin with "-"
	removing *fsm.Outcome
}

func newPackRoom(t *testing.T) *packRoom {
	r := &packRoom{t: t}
	builtin, err := taskpacks.NewRegistry(taskpacks.Pack{Name: "own", Version: "1", Funcs: []taskpacks.Func{
		taskpacks.Define("own.main.f", func(context.Context, struct{}) (int, error) { return 1, nil }),
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := newPacks(builtin, r, t.TempDir(), slog.New(slog.DiscardHandler))
	p.timeout, p.open = time.Minute, r.open
	movers := map[string]*blobs{}
	for id, others := range map[string][]string{"here": {"there"}, "there": {"here"}} {
		store, err := blob.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		b := newBlobs(store, r, id, roomyDisk(), slog.New(slog.DiscardHandler))
		b.Others, b.voters = func() []string { return others }, func() []string { return []string{"here", "there"} }
		b.Call = func(ctx context.Context, to, method string, body []byte) ([]byte, error) {
			if err := r.fault(method); err != nil {
				return nil, err
			}
			return movers[to].Handlers()[method](ctx, id, body)
		}
		movers[id] = b
	}
	p.blobs, r.other = movers["here"], movers["there"]
	r.installer = &installer{
		packs: p, queue: r, limit: 1 << 20,
		caught: func(context.Context) error { return nil }, view: func() []httpapi.PackView { return packViews(r, p.log) },
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx)
	}()
	r.stop = func() { stop(); <-done }
	t.Cleanup(r.stop)
	return r
}

func (r *packRoom) fault(method string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if method == "blob.keep" {
		return r.spread
	}
	return nil
}

// open makes a pack of a folder: a func for each line of its file funcs.
func (r *packRoom) open(_ context.Context, dir, name string) (*packdir.Opened, error) {
	key := filepath.Base(dir)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.openErr != nil {
		return nil, r.openErr
	}
	m, err := taskpacks.ReadManifest(dir, name, "")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "funcs"))
	if err != nil {
		return nil, err
	}
	r.opened = append(r.opened, key)
	o := &packdir.Opened{Manifest: m, Pack: taskpacks.Pack{Name: name, Version: m.Version}, Close: func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.opened = append(r.opened, "-"+key)
		return nil
	}}
	for line := range strings.Lines(string(text)) {
		o.Pack.Funcs = append(o.Pack.Funcs, taskpacks.Define(name+".main."+strings.TrimSpace(line),
			func(context.Context, struct{}) (string, error) { return key, nil }))
	}
	return o, nil
}

// The state.

func (r *packRoom) Packs() []*fsm.Pack {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.packs)
}

func (r *packRoom) EachBlob(func([]byte, int64)) error { return nil }

func (r *packRoom) Pack(name string) *fsm.Pack {
	for _, p := range r.Packs() {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (r *packRoom) PackTasks(string) int { return 0 }

func (r *packRoom) Nodes() []*fsm.Node {
	text, err := r.manifest()
	if err != nil {
		r.t.Error(err)
	}
	return []*fsm.Node{{Number: 1, Name: "n1", Packs: text}}
}

// The log: what is proposed stands in the state at once.

func (r *packRoom) PackPut(_ context.Context, c *fsm.PackPut) error {
	defer r.observe()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.puts = append(r.puts, c)
	if r.putErr != nil {
		return r.putErr
	}
	r.packs = []*fsm.Pack{{Name: c.Name, Current: c.Release, Releases: []*fsm.PackRelease{
		{Release: c.Release, Version: c.Version, Digest: c.Digest, Size: c.Size, Kind: c.Kind, Info: c.Info},
	}}}
	return nil
}

func (r *packRoom) PackUse(context.Context, *fsm.PackUse) (*fsm.Outcome, error) { return nil, nil }

func (r *packRoom) PackRemove(context.Context, *fsm.PackRemove) (*fsm.Outcome, error) {
	defer r.observe()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.removing != nil {
		return r.removing, fsm.ErrPackBusy
	}
	r.packs = nil
	return &fsm.Outcome{}, nil
}

// archiveOf is a pack with some funcs.
func archiveOf(t *testing.T, name, version string, funcs ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"package.json": fmt.Sprintf(`{"name":%q,"version":%q}`, name, version), "funcs": strings.Join(funcs, "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := archive.Pack(&b, dir); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// empty waits until no pack is on this node's disk, and nothing needs its archive.
func (r *packRoom) empty() {
	r.t.Helper()
	eventually(r.t, 5*time.Second, "nothing is left", func() error {
		archives, err := r.blobs.Store.List()
		if err != nil {
			return err
		}
		for d := range archives {
			if r.holds(d) {
				return fmt.Errorf("archive %s is needed", d)
			}
		}
		entries, err := os.ReadDir(r.dir)
		if err != nil || len(entries) > 0 {
			return fmt.Errorf("there are %v, %v", entries, err)
		}
		return nil
	})
}

// ready waits until a func of a release can be called here, and calls it.
func (r *packRoom) ready(kind, text string) {
	r.t.Helper()
	eventually(r.t, 5*time.Second, kind+" is ready", func() error {
		f, err := r.Func(kind, text)
		if err != nil {
			return err
		}
		got, err := f.Call(r.t.Context(), nil)
		if want := fmt.Sprintf("%q", fsm.PackKey(kind, text)); err != nil || string(got) != want {
			r.t.Errorf("%s = %s, %v; want %s", kind, got, err, want)
		}
		return nil
	})
}

func TestInstall(t *testing.T) {
	r := newPackRoom(t)
	body := archiveOf(t, "hello", "1.0", "a", "b")
	v, err := r.Install(t.Context(), httpapi.PackSource{Archive: bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	if v.Name != "hello" || v.Version != "1.0" || len(v.Tasks) != 2 || v.Tasks[0].Type != "hello.main.a" || len(v.Nodes) != 1 || v.Nodes[0].Status != httpapi.PackReady {
		t.Errorf("installed %+v", v)
	}
	put := r.puts[0]
	if d := blob.Digest(put.Digest); put.Release != "1.0+"+d.String()[:12] || put.Size != int64(len(body)) || !r.other.Store.Has(d) {
		t.Errorf("proposed %v, and the other node has its bytes: %v", put, r.other.Store.Has(d))
	}
	r.ready("hello.main.a", put.Release)
	if _, err := r.Func("hello.main.c", put.Release); !taskpacks.IsPermanent(err) {
		t.Errorf("a func that the release does not have: %v, want a permanent error", err)
	}
	if _, err := r.Func("hello.main.a", "0.9+0"); !errors.Is(err, errNotReady) {
		t.Errorf("a release that is not here: %v, want errNotReady", err)
	}
	if _, err := r.Func("own.main.f", ""); err != nil {
		t.Errorf("a func that is compiled in: %v", err)
	}
	if err := r.Remove(t.Context(), "hello", "", false); err != nil {
		t.Fatal(err)
	}
	r.empty()
	r.mu.Lock()
	defer r.mu.Unlock()
	if want := []string{"hello@" + put.Release, "-hello@" + put.Release}; !slices.Equal(r.opened, want) {
		t.Errorf("opened and closed %v, want %v", r.opened, want)
	}
}

// TestInstallFails: whatever step fails, the log names nothing, and nothing is left.
func TestInstallFails(t *testing.T) {
	good := archiveOf(t, "hello", "1.0", "a")
	broken := errors.New("it says no")
	for name, tt := range map[string]struct {
		body  []byte
		sum   string
		setup func(*packRoom)
		want  string
		puts  int
	}{
		"no archive":       {body: []byte("text"), want: ""},
		"another archive":  {body: good, sum: strings.Repeat("0", 64), want: "has the SHA-256"},
		"not a sum":        {body: good, sum: "12", want: "64 hexadecimal digits"},
		"too large":        {body: bytes.Repeat([]byte("x"), 2<<20), want: "larger than 1048576 bytes"},
		"a bad name":       {body: archiveOf(t, "he-llo", "1.0", "a"), want: "letters, digits and underscores"},
		"no tasks":         {body: archiveOf(t, "hello", "1.0"), want: "has no tasks"},
		"it does not open": {body: good, setup: func(r *packRoom) { r.openErr = broken }, want: "it says no"},
		"no majority":      {body: good, setup: func(r *packRoom) { r.spread = broken }, want: "no leader"},
		"no leader":        {body: good, setup: func(r *packRoom) { r.putErr = fsm.ErrNoLeader }, want: "no leader", puts: 1},
		"nobody knows":     {body: good, setup: func(r *packRoom) { r.putErr = fsm.ErrUnknown }, want: "unknown", puts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newPackRoom(t)
			if tt.setup != nil {
				tt.setup(r)
			}
			_, err := r.Install(t.Context(), httpapi.PackSource{Archive: bytes.NewReader(tt.body), SHA256: tt.sum})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Install = %v, want %q in it", err, tt.want)
			}
			if len(r.puts) != tt.puts {
				t.Errorf("%d commands were proposed, want %d", len(r.puts), tt.puts)
			}
			r.empty()
		})
	}
}

// TestPacksFollowState: a release that the state names is fetched from the node that has it; one
// that cannot be opened is told of, and tried again.
func TestPacksFollowState(t *testing.T) {
	r := newPackRoom(t)
	r.mu.Lock()
	r.openErr = errors.New("ImportError: no such module")
	r.mu.Unlock()
	body := archiveOf(t, "hello", "2", "a")
	d, size, err := r.other.Store.Put(bytes.NewReader(body), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := json.Marshal(taskpacks.PackInfo{Name: "hello", Version: "2"})
	if err := r.PackPut(t.Context(), &fsm.PackPut{Name: "hello", Release: "2+x", Version: "2", Digest: d[:], Size: size, Info: info}); err != nil {
		t.Fatal(err)
	}
	status := func() nodePack { return r.status("hello", r.Packs()[0].Releases[0]) }
	eventually(t, 5*time.Second, "the failure is told of", func() error {
		if s := status(); s.Status != httpapi.PackFailed || !strings.Contains(s.Error, "no such module") {
			return fmt.Errorf("the status is %+v", s)
		}
		return nil
	})
	if keys := packKeys(r.log)(r.Nodes()[0]); !slices.Equal(keys, []string{"own"}) {
		t.Errorf("the node can run %v, want own alone", keys)
	}
	r.mu.Lock()
	r.openErr = nil
	r.mu.Unlock()
	r.installer.packs.mu.Lock()
	r.releases["hello@2+x"].again = time.Time{} // as if the pause were over
	r.installer.packs.mu.Unlock()
	r.observe()
	r.ready("hello.main.a", "2+x")
	if keys := packKeys(r.log)(r.Nodes()[0]); !slices.Equal(keys, []string{"own", "hello@2+x"}) {
		t.Errorf("the node can run %v, want hello too", keys)
	}
	if s := status(); s.Status != httpapi.PackReady || s.Error != "" {
		t.Errorf("the status is %+v, want ready", s)
	}
}

// TestRemoveBusy: who wants to remove a pack that tasks need learns how many.
func TestRemoveBusy(t *testing.T) {
	r := newPackRoom(t)
	r.removing = &fsm.Outcome{Count: 7}
	err := r.Remove(t.Context(), "hello", "", false)
	var coded interface{ Code() string }
	if !errors.As(err, &coded) || coded.Code() != fsm.ErrPackBusy.Code() || !strings.Contains(err.Error(), "7 unfinished tasks") {
		t.Errorf("Remove = %v", err)
	}
}

func TestPackNameOf(t *testing.T) {
	for folder, want := range map[string]string{"pytasks-physicsjs-master": "pytasks_physicsjs", "hello-main": "hello", "hello": "hello", "": ""} {
		if got := packdir.NameOf(folder); got != want {
			t.Errorf("packdir.NameOf(%q) = %q, want %q", folder, got, want)
		}
	}
}
