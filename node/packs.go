package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pytasks/cluster/blob"
	"pytasks/fsm"
	"pytasks/taskpacks"
	"pytasks/taskpacks/archive"
	"pytasks/taskpacks/packdir"
)

const (
	// preparing is how many releases are prepared at once: each may build an environment.
	preparing = 2
	// A release that could not be prepared is tried again after firstRetry, then after twice
	// as long each time, up to lastRetry.
	firstRetry = 5 * time.Second
	lastRetry  = 10 * time.Minute
)

// errNotReady is why a task cannot start here although the cluster has its pack.
var errNotReady = errors.New("this node is still preparing the pack")

// opener opens the pack in a folder under a name.
type opener func(ctx context.Context, dir, name string) (*packdir.Opened, error)

// packRecords are the installed packs as the state knows them.
type packRecords interface {
	Packs() []*fsm.Pack
	Pack(name string) *fsm.Pack
}

// packs is the installed packs on this node. It fetches, unpacks and prepares every release
// that the state names, tells which are ready, and lets go of those that the state does not
// name any more.
type packs struct {
	builtin *taskpacks.Registry
	state   packRecords
	blobs   *blobs
	open    opener
	dir     string        // of unpacked packs, one folder for each release
	timeout time.Duration // of preparing one
	log     *slog.Logger

	wake    chan struct{} // capacity 1: the state's packs changed
	changed chan struct{} // capacity 1: the manifest changed
	slots   chan struct{} // capacity preparing
	wg      sync.WaitGroup

	mu       sync.RWMutex
	releases map[string]*release // by pack key; guarded by mu
}

// release is one release of a pack on this node. What does not change stands first.
type release struct {
	key    string // "name@release"
	name   string
	text   string // the release's own
	digest blob.Digest
	size   int64

	opening sync.Mutex // held while it is prepared, and closed

	// Guarded by the packs' mu.
	opened *packdir.Opened // nil until it is ready
	funcs  map[string]*taskpacks.Func
	err    error // why it is not ready
	tries  int
	again  time.Time // when it is tried next
	held   int       // installs that need it before the state names it
	busy   bool      // a goroutine prepares it
}

func newPacks(builtin *taskpacks.Registry, state packRecords, dir string, log *slog.Logger) *packs {
	return &packs{
		builtin: builtin, state: state, dir: dir, log: log.With("component", "packs"),
		wake: make(chan struct{}, 1), changed: make(chan struct{}, 1), slots: make(chan struct{}, preparing),
		releases: map[string]*release{},
	}
}

// observe is told that the state's packs changed. It does not wait.
func (p *packs) observe() {
	poke(p.wake)
	poke(p.changed) // the manifest tells of the releases that the state names
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Func returns the code of a func, of a release of its pack or, if that is "", as it is compiled in.
// errNotReady: this node will have it.
func (p *packs) Func(kind, text string) (*taskpacks.Func, error) {
	if text == "" {
		if f, ok := p.builtin.Func(kind); ok {
			return f, nil
		}
		return nil, taskpacks.Permanent(fmt.Errorf("this node has no func %s", kind))
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	r := p.releases[fsm.PackKey(kind, text)]
	if r == nil || r.opened == nil {
		return nil, errNotReady
	}
	if f := r.funcs[kind]; f != nil {
		return f, nil
	}
	return nil, taskpacks.Permanent(fmt.Errorf("release %s of pack %s has no func %s", text, r.name, kind))
}

// Run keeps this node's releases as the state names them, until ctx ends; then it closes them.
func (p *packs) Run(ctx context.Context) error {
	defer p.close()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		retry.Reset(p.reconcile(ctx))
		select {
		case <-p.wake:
		case <-retry.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// reconcile begins what is to be done, and returns when to look again at the latest.
func (p *packs) reconcile(ctx context.Context) time.Duration {
	wanted := map[string]bool{}
	next, now := time.Hour, time.Now()
	for _, pack := range p.state.Packs() {
		for _, r := range pack.Releases {
			digest, err := blobDigest(r.Digest)
			if err != nil {
				p.log.Error("pack not understood", "pack", pack.Name, "err", err)
				continue
			}
			own := p.release(pack.Name, r.Release, digest, r.Size)
			wanted[own.key] = true
			p.mu.Lock()
			wait := own.again.Sub(now)
			start := own.opened == nil && !own.busy && wait <= 0
			own.busy = own.busy || start
			if own.opened == nil && wait > 0 {
				next = min(next, wait)
			}
			p.mu.Unlock()
			if start {
				p.wg.Go(func() { p.prepareSoon(ctx, own) })
			}
		}
	}
	p.mu.RLock()
	var gone []*release
	for key, r := range p.releases {
		if !wanted[key] && r.held == 0 {
			gone = append(gone, r)
		}
	}
	p.mu.RUnlock()
	for _, r := range gone {
		p.wg.Go(func() { p.drop(r) })
	}
	return next
}

// release returns this node's record of a release, which may be new.
func (p *packs) release(name, text string, digest blob.Digest, size int64) *release {
	key := name + "@" + text
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.releases[key]
	if r == nil {
		r = &release{key: key, name: name, text: text, digest: digest, size: size}
		p.releases[key] = r
	}
	return r
}

// prepareSoon prepares a release when it is its turn, and sees to the next try if that fails.
func (p *packs) prepareSoon(ctx context.Context, r *release) {
	defer p.observe()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
	}
	err := ctx.Err()
	if err == nil {
		err = p.prepare(ctx, r, nil)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r.busy = false
	if err != nil && ctx.Err() == nil {
		wait := min(firstRetry<<min(r.tries, 10), lastRetry)
		r.tries++
		r.again = time.Now().Add(wait)
		p.log.Warn("pack not ready here", "pack", r.key, "again", wait, "err", err)
	}
}

// prepare makes a release ready, if it is not. unpacked, if it is not nil, is its folder and what to
// call it by; otherwise its archive is fetched and unpacked.
func (p *packs) prepare(ctx context.Context, r *release, unpacked *unpacked) (err error) {
	r.opening.Lock()
	defer r.opening.Unlock()
	if p.isReady(r) {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("the pack was not ready within %v", p.timeout))
	defer cancel()
	defer func() {
		p.mu.Lock()
		r.err = err
		p.mu.Unlock()
		poke(p.changed)
	}()
	if unpacked == nil {
		if unpacked, err = p.unpack(ctx, r.digest, r.size); err != nil {
			return err
		}
	}
	defer unpacked.discard()
	dir := filepath.Join(p.dir, r.key)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove an old copy of the pack: %w", err)
	}
	if err := os.Rename(unpacked.dir, dir); err != nil {
		return fmt.Errorf("put the pack into place: %w", err)
	}
	start := time.Now()
	opened, err := p.open(ctx, dir, r.name)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	funcs := make(map[string]*taskpacks.Func, len(opened.Pack.Funcs))
	for i := range opened.Pack.Funcs {
		funcs[opened.Pack.Funcs[i].Name] = &opened.Pack.Funcs[i]
	}
	p.mu.Lock()
	r.opened, r.funcs, r.tries = opened, funcs, 0
	p.mu.Unlock()
	p.log.Info("pack ready", "pack", r.key, "kind", opened.Manifest.Kind, "funcs", len(funcs), "took", time.Since(start).Round(time.Millisecond))
	return nil
}

func (p *packs) isReady(r *release) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return r.opened != nil
}

// unpacked is a pack's folder before it is in its place.
type unpacked struct {
	dir  string
	root string // the archive's parent folder, "" if it had none
}

func (u *unpacked) discard() { _ = os.RemoveAll(u.dir) } // what is left is removed at the next start

// unpack unpacks an archive, which is fetched if it is not here, or is damaged.
func (p *packs) unpack(ctx context.Context, d blob.Digest, size int64) (*unpacked, error) {
	f, err := p.blobs.Open(ctx, d, size)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dir, err := os.MkdirTemp(p.dir, ".new-")
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	u := &unpacked{dir: dir}
	if u.root, err = archive.Unpack(f, size, dir, archive.Limits{}); err != nil {
		u.discard()
		return nil, err
	}
	return u, nil
}

// holds says whether a blob is the archive of a release that this node has, or is about to have.
func (p *packs) holds(d blob.Digest) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, r := range p.releases {
		if r.digest == d {
			return true
		}
	}
	return false
}

// drop lets go of a release, unless it is wanted again meanwhile.
func (p *packs) drop(r *release) {
	r.opening.Lock()
	defer r.opening.Unlock()
	p.mu.Lock()
	if p.releases[r.key] != r || r.held > 0 || p.named(r) {
		p.mu.Unlock()
		return
	}
	opened := r.opened
	r.opened, r.funcs, r.err = nil, nil, nil
	p.mu.Unlock()
	poke(p.changed)
	var errs []error
	if opened != nil {
		errs = append(errs, opened.Close())
	}
	errs = append(errs, os.RemoveAll(filepath.Join(p.dir, r.key)))
	p.mu.Lock()
	if r.held == 0 && !p.named(r) { // only now: whoever wants it again waits until its folder is gone
		delete(p.releases, r.key)
	} else {
		p.observe()
	}
	p.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		p.log.Warn("pack not removed as a whole", "pack", r.key, "err", err)
		return
	}
	p.log.Info("pack removed", "pack", r.key)
}

// named says whether the state names a release.
func (p *packs) named(r *release) bool {
	for _, pack := range p.state.Packs() {
		for _, named := range pack.Releases {
			if pack.Name+"@"+named.Release == r.key {
				return true
			}
		}
	}
	return false
}

// close closes what is ready, when nothing is prepared any more.
func (p *packs) close() {
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.releases {
		if r.opened != nil {
			if err := r.opened.Close(); err != nil {
				p.log.Warn("pack not closed", "pack", r.key, "err", err)
			}
			r.opened, r.funcs = nil, nil
		}
	}
}
