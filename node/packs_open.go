package node

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"pytasks/cluster"
	"pytasks/cluster/blob"
	"pytasks/fsm"
	"pytasks/httpapi"
	"pytasks/taskpacks"
	"pytasks/taskpacks/fetch"
	"pytasks/taskpacks/packdir"
	subprocess "pytasks/taskpacks/process"
	"pytasks/taskpacks/python"
	"pytasks/taskpacks/wasm"
)

// openPacks makes what installed packs need on this node: the store of their archives, folders,
// and the hosts of their code.
func (n *Node) openPacks(builtin *taskpacks.Registry) error {
	dirs := map[string]string{}
	for _, name := range []string{"blobs", "envs", "wasm"} {
		dir, err := n.dir.Sub(name)
		if err != nil {
			return err
		}
		dirs[name] = dir
	}
	for _, name := range []string{"packs", "work"} { // made anew by every start
		dirs[name] = filepath.Join(n.cfg.DataDir, name)
		if err := clearDir(dirs[name]); err != nil {
			return err
		}
	}
	store, err := blob.Open(dirs["blobs"])
	if err != nil {
		return err
	}
	processes, err := subprocess.New(subprocess.Config{
		Dir: filepath.Join(dirs["work"], "process"), Idle: n.cfg.WorkerIdle, MaxRSS: n.cfg.WorkerMaxRSS,
		MaxMemory: n.cfg.TaskMaxMemory, MaxResult: n.cfg.MaxResult, Logger: n.log.With("component", "process"),
	})
	if err != nil {
		return err
	}
	n.onClose(processes.Close)
	switch by, why := processes.MemoryBound(); {
	case by == "cgroup":
		n.log.Info("memory of tasks is bounded", "component", "process", "by", by)
	case by != "":
		n.log.Info("memory of tasks is bounded", "component", "process", "by", by, "err", why)
	}
	modules, err := wasm.New(wasm.Config{
		Dir: filepath.Join(dirs["work"], "wasm"), Cache: dirs["wasm"], MaxMemory: n.cfg.TaskMaxMemory, MaxResult: n.cfg.MaxResult,
	})
	if err != nil {
		return err
	}
	n.onClose(modules.Close)

	n.packs = newPacks(builtin, n.state, dirs["packs"], n.log)
	n.packs.timeout = n.cfg.PackTimeout
	n.blobs = newBlobs(store, n.state, n.dir.ID, n.disk, n.log)
	n.blobs.holds, n.packs.blobs = n.packs.holds, n.blobs
	n.blobs.voters = func() []string { return n.cluster.Status().Voters }
	n.blobs.Others = n.others
	n.blobs.Call = func(ctx context.Context, id, method string, body []byte) ([]byte, error) {
		return n.cluster.Call(ctx, id, method, body)
	}
	n.packs.open = func(ctx context.Context, dir, name string) (*packdir.Opened, error) {
		return packdir.Open(ctx, packdir.Options{
			Dir: dir, Name: name, Process: processes, WASM: modules, Envs: dirs["envs"], Python: n.cfg.Python,
			Logger: n.log.With("component", "packs"),
		})
	}
	return nil
}

const (
	// sweepEvery is how often environments of Python packs that nobody uses are looked for, and unusedFor how
	// long they are kept: the next release of a pack mostly needs what the last one did.
	sweepEvery = time.Hour
	unusedFor  = 7 * 24 * time.Hour
)

// sweepEnvironments removes environments of Python packs that are not used any more.
func (n *Node) sweepEnvironments(ctx context.Context) {
	for sleep(ctx, sweepEvery) == nil {
		if err := python.Sweep(filepath.Join(n.cfg.DataDir, "envs"), unusedFor); err != nil {
			n.log.Warn("old environments not removed", "component", "packs", "err", err)
		}
	}
}

// others returns the ids of the other nodes that are alive, those that vote first: they have every
// blob soon.
func (n *Node) others() []string {
	var voters, ids []string
	for _, m := range n.cluster.Members() {
		switch {
		case m.ID == n.dir.ID || m.Status != cluster.Alive:
		case m.Role == cluster.Voter:
			voters = append(voters, m.ID)
		default:
			ids = append(ids, m.ID)
		}
	}
	return append(voters, ids...)
}

// handlers are the calls that other nodes may make.
func (n *Node) handlers() map[string]cluster.Handler {
	all := n.link.handlers()
	for method, h := range n.blobs.Handlers() {
		all[method] = h
	}
	all[methodSecrets] = n.secrets.answer
	return n.link.whenReady(all)
}

// up is what this start of the node is to be known for.
func (n *Node) up() (*fsm.NodeUp, error) {
	text, err := n.packs.manifest()
	if err != nil {
		return nil, fmt.Errorf("describe the packs of this node: %w", err)
	}
	return &fsm.NodeUp{
		Id: n.dir.ID, Name: n.cfg.Name, Boot: n.dir.Boot, Slots: uint32(n.cfg.Slots),
		Packs: text, Http: n.URL(), Version: buildVersion(), Labels: labelsOf(n.cfg.Labels),
	}, nil
}

func (n *Node) newInstaller(caught func(context.Context) error) *installer {
	return &installer{
		packs: n.packs, queue: n.queue, indexes: n.cfg.Indexes, limit: n.cfg.MaxPack, caught: caught,
		fetch:  fetch.New(fetch.Config{AllowPrivate: n.cfg.AllowPrivate, MaxBytes: n.cfg.MaxPack, UserAgent: "pytasks/" + buildVersion()}),
		view:   func() []httpapi.PackView { return packViews(n.state, n.log) },
		wanted: n.cfg.Packs, registered: n.members.registered,
	}
}

// first installs the packs that the node was told to when it has started, if the cluster does not have
// them: which release it then runs is not for a restart to decide.
func (i *installer) first(ctx context.Context) {
	for wait := time.Duration(0); len(i.wanted) > 0; wait = min(2*wait+firstRetry/5, lastRetry/10) {
		if sleep(ctx, wait) != nil {
			return
		}
		if !i.registered() {
			wait = 0
			continue
		}
		var left []string
		for _, name := range i.wanted {
			if i.state.Pack(name) != nil {
				continue
			}
			if _, err := i.Install(ctx, httpapi.PackSource{Index: name}); err != nil {
				i.log.Error("pack not installed", "pack", name, "err", err)
				left = append(left, name)
			}
		}
		i.wanted = left
	}
}
