package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"

	"pytasks/cluster/blob"
	"pytasks/fsm"
	"pytasks/httpapi"
	"pytasks/node/failpoint"
	"pytasks/taskpacks"
	"pytasks/taskpacks/archive"
	"pytasks/taskpacks/fetch"
	"pytasks/taskpacks/packdir"
)

const (
	// commitTimeout bounds one write to the log about a pack.
	commitTimeout = 10 * time.Second
	// removeTimeout bounds a removal, which may have to end many tasks.
	removeTimeout = time.Minute
	// maxPackInfo bounds what the log says of a release, in bytes of JSON.
	maxPackInfo = 1 << 20
)

// packQueue is what installing needs of *fsm.Queue.
type packQueue interface {
	PackPut(ctx context.Context, c *fsm.PackPut) error
	PackUse(ctx context.Context, c *fsm.PackUse) (*fsm.Outcome, error)
	PackRemove(ctx context.Context, c *fsm.PackRemove) (*fsm.Outcome, error)
}

// installer changes the packs of the cluster from this node; see httpapi.Packs.
type installer struct {
	*packs
	queue   packQueue
	fetch   *fetch.Client
	indexes []string
	limit   int64                       // of an archive, in bytes
	view    func() []httpapi.PackView   // all packs as this node's state shows them
	caught  func(context.Context) error // waits until the state shows what was committed before

	wanted     []string    // to be installed when the node has started
	registered func() bool // whether it has
}

// List returns all packs, by name.
func (i *installer) List() []httpapi.PackView { return i.view() }

// Install makes a pack known to the whole cluster. In this order: its bytes are here; this node can
// run it; its bytes are on the disks of a majority; the log names it. So nothing is in the log that
// could be lost, or that nobody ever ran; and of what fails before only the archive stays, until it
// is collected.
func (i *installer) Install(ctx context.Context, from httpapi.PackSource) (httpapi.PackView, error) {
	digest, size, err := i.receive(ctx, &from)
	if err != nil {
		return httpapi.PackView{}, err
	}
	r, info, err := i.stage(ctx, digest, size, from.Name)
	if err != nil {
		return httpapi.PackView{}, badPack(err)
	}
	defer i.letGo(r)
	failpoint.Point("packs.spread.before")
	if err := i.blobs.spread(ctx, digest, size); err != nil {
		return httpapi.PackView{}, err
	}
	failpoint.Point("packs.commit.before")
	commit, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err = i.queue.PackPut(commit, &fsm.PackPut{
		Name: r.name, Release: r.text, Version: info.Version, Digest: digest[:], Size: size, Kind: info.Kind, Info: info.text,
	})
	if err != nil {
		return httpapi.PackView{}, err
	}
	return i.shown(commit, r.name)
}

// receive stores the bytes of a pack here, wherever they come from, and checks that they are those that
// were meant.
func (i *installer) receive(ctx context.Context, from *httpapi.PackSource) (d blob.Digest, size int64, err error) {
	if from.Index != "" {
		e, err := i.fetch.Find(ctx, i.indexes, from.Index)
		if err != nil {
			return d, 0, badPack(err)
		}
		from.URL, from.Name = e.Link, from.Index
		if from.SHA256 == "" {
			from.SHA256 = e.SHA256
		}
	}
	var want blob.Digest
	if from.SHA256 != "" {
		if want, err = blob.ParseDigest(from.SHA256); err != nil {
			return d, 0, badPack(err)
		}
	}
	if from.URL != "" {
		d, size, err = i.download(ctx, from.URL)
	} else {
		d, size, err = i.blobs.Store.Put(from.Archive, i.limit)
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return d, 0, err
	case errors.Is(err, blob.ErrTooLarge):
		return d, 0, badPack(fmt.Errorf("the archive is larger than %d bytes (--max-pack)", i.limit))
	case err != nil && from.URL != "":
		return d, 0, badPack(err)
	case err != nil:
		return d, 0, badPack(fmt.Errorf("the archive did not arrive: %w", err))
	case from.SHA256 != "" && d != want:
		return d, 0, badPack(fmt.Errorf("the archive has the SHA-256 %s, not %s: it is another one, or was changed", d, want))
	}
	return d, size, nil
}

// download stores what is at a URL.
func (i *installer) download(ctx context.Context, url string) (blob.Digest, int64, error) {
	r, w := io.Pipe()
	failed := make(chan error, 1)
	go func() { // ends with the reading end
		_, err := i.fetch.Get(ctx, url, w)
		failed <- err // before the pipe ends
		w.CloseWithError(err)
	}()
	d, size, err := i.blobs.Store.Put(r, i.limit)
	_ = r.CloseWithError(err)
	if err == nil || errors.Is(err, blob.ErrTooLarge) {
		return d, size, err
	}
	select {
	case err = <-failed: // it says why no more bytes came
	default:
	}
	return d, 0, err
}

// packInfo is what the log is to say of a release.
type packInfo struct {
	taskpacks.PackInfo
	text []byte // as JSON
}

// stage makes a release ready on this node before the state names it. The caller lets go of it
// afterwards.
func (i *installer) stage(ctx context.Context, d blob.Digest, size int64, name string) (*release, *packInfo, error) {
	u, err := i.unpack(ctx, d, size)
	if err != nil {
		return nil, nil, err
	}
	defer u.discard()
	m, err := taskpacks.ReadManifest(u.dir, name, packdir.NameOf(u.root))
	if err != nil {
		return nil, nil, err
	}
	r := i.hold(m.Name, m.Version+"+"+d.String()[:12], d, size)
	if err := i.prepare(ctx, r, u); err != nil {
		i.letGo(r)
		return nil, nil, err
	}
	info, err := i.info(r)
	if err != nil {
		i.letGo(r)
		return nil, nil, err
	}
	return r, info, nil
}

// info describes a release that is ready.
func (i *installer) info(r *release) (*packInfo, error) {
	i.mu.RLock()
	opened := r.opened
	i.mu.RUnlock()
	if opened == nil {
		return nil, errNotReady // removed at this very moment
	}
	if len(opened.Pack.Funcs) == 0 {
		return nil, fmt.Errorf("pack %s has no tasks: mark functions with @task", r.name)
	}
	m := opened.Manifest
	info := &packInfo{PackInfo: taskpacks.PackInfo{Name: r.name, Version: m.Version, Kind: m.Kind, Description: m.Description}}
	for j := range opened.Pack.Funcs {
		info.Specs = append(info.Specs, &opened.Pack.Funcs[j].Spec)
	}
	var err error
	if info.text, err = json.Marshal(info.PackInfo); err != nil {
		return nil, fmt.Errorf("describe pack %s: %w", r.name, err)
	}
	if len(info.text) > maxPackInfo {
		return nil, fmt.Errorf("the description of pack %s has %d bytes, %d at most: it has too many tasks, or too long texts", r.name, len(info.text), maxPackInfo)
	}
	return info, nil
}

// hold keeps a release although the state does not name it yet.
func (i *installer) hold(name, text string, d blob.Digest, size int64) *release {
	for {
		r := i.release(name, text, d, size)
		i.mu.Lock()
		if i.releases[r.key] == r {
			r.held++
			i.mu.Unlock()
			return r
		}
		i.mu.Unlock() // dropped in between
	}
}

func (i *installer) letGo(r *release) {
	i.mu.Lock()
	r.held--
	i.mu.Unlock()
	i.observe()
}

// Use makes another release of a pack current. Which one was before is looked up here: a
// command that found it out itself would go back twice where it is applied twice.
func (i *installer) Use(ctx context.Context, name, text string) (httpapi.PackView, error) {
	if text == "" {
		if err := i.caught(ctx); err != nil {
			return httpapi.PackView{}, err
		}
		p := i.state.Pack(name)
		if p == nil {
			return httpapi.PackView{}, fsm.ErrNotFound
		}
		if text = p.Previous; text == "" {
			return httpapi.PackView{}, &httpapi.PackError{Message: "there is no release of pack " + name + " before " + p.Current}
		}
	}
	if _, err := i.queue.PackUse(ctx, &fsm.PackUse{Name: name, Release: text}); err != nil {
		return httpapi.PackView{}, err
	}
	return i.shown(ctx, name)
}

// shown returns a pack when this node's state shows what was just committed.
func (i *installer) shown(ctx context.Context, name string) (httpapi.PackView, error) {
	if err := i.caught(ctx); err != nil {
		return httpapi.PackView{}, err
	}
	for _, p := range i.view() {
		if p.Name == name {
			return p, nil
		}
	}
	return httpapi.PackView{}, fsm.ErrNotFound // removed meanwhile
}

// Remove takes out a release of a pack, or all of it. By force it ends the tasks that need it.
func (i *installer) Remove(ctx context.Context, name, text string, force bool) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	out, err := i.queue.PackRemove(ctx, &fsm.PackRemove{Name: name, Release: text, Force: force})
	if errors.Is(err, fsm.ErrPackBusy) && out.GetCount() > 0 {
		return &busyPack{name, out.GetCount()}
	}
	return err
}

// busyPack says how many tasks need a pack that was to be removed.
type busyPack struct {
	name  string
	tasks uint64
}

func (e *busyPack) Code() string { return fsm.ErrPackBusy.Code() }

func (e *busyPack) Error() string {
	need := "s need"
	if e.tasks == 1 {
		need = " needs"
	}
	return fmt.Sprintf("%d unfinished task%s pack %s: wait, cancel what needs it, or remove it with force (--force), which makes that fail", e.tasks, need, e.name)
}

// badPack makes an error the pack's, for its author, unless it is the disk's or the caller's.
func badPack(err error) error {
	var path *fs.PathError
	var bad *archive.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, errNotReady):
		return err
	case errors.As(err, &path) && !errors.As(err, &bad) && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return &httpapi.PackError{Message: err.Error(), Traceback: packdir.Traceback(err)}
}

// clearDir makes an empty folder of path, whatever was there.
func clearDir(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("clear %s: %w", path, err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return nil
}
