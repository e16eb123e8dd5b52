package scheduler

import (
	"slices"
	"sync"
	"time"

	"pytasks/fsm"
)

// freshFor is how long after its last heartbeat a node is given new work.
const freshFor = 4 * time.Second

// secondChance is what a new leader leaves of the lease of a node that is held for dead.
const secondChance = 5 * time.Second

// workers is what the leader knows of the nodes: their records, from the state,
// and when each was last heard of, from their heartbeats. The latter is only in
// this leader's memory: a new leader gives every node a full lease.
type workers struct {
	cfg *Config

	mu    sync.Mutex
	seen  map[uint32]time.Time // last heartbeat or start of the term; guarded by mu
	beats map[uint32]uint64    // the start that was heard of last in this term, 0 if none; guarded by mu
	nodes []*fsm.Node          // guarded by mu
	packs map[uint32]packSet   // guarded by mu
	turns map[uint32]uint64    // when picked last; guarded by mu
	turn  uint64               // guarded by mu
	stuck map[uint32]bool      // handed attempts back, and none ended since; guarded by mu
	short map[uint32]bool      // had too little disk space at the last heartbeat; guarded by mu
}

// packSet is what a node can run, and its labels, read from one version of its record.
type packSet struct {
	of     *fsm.Node
	set    map[string]bool
	labels map[string]string
}

func newWorkers(cfg *Config) *workers {
	w := &workers{
		cfg: cfg, seen: map[uint32]time.Time{}, beats: map[uint32]uint64{},
		packs: map[uint32]packSet{}, turns: map[uint32]uint64{}, stuck: map[uint32]bool{},
		short: map[uint32]bool{},
	}
	w.refresh(true)
	return w
}

// refresh reads the nodes' records again if they changed.
func (w *workers) refresh(changed bool) {
	if !changed {
		return
	}
	nodes := w.cfg.State.Nodes()
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = nodes
	for _, n := range nodes {
		p := w.packs[n.Number]
		if p.of == nil || p.of.Boot != n.Boot || p.of.Down && !n.Down {
			w.seen[n.Number] = now // it registered, or the term begins: so does its lease
		}
		if p.of == nil { // a change of leaders gives the dead no second life
			w.seen[n.Number] = now.Add(-max(0, min(w.cfg.Cluster.Silent(n.Id), w.cfg.Lease-secondChance)))
		}
		if p.of != n {
			set := map[string]bool{}
			for _, name := range w.cfg.Packs(n) {
				set[name] = true
			}
			w.packs[n.Number] = packSet{n, set, n.AllLabels()}
		}
	}
}

// heartbeat notes a sign of life. back says that the node takes work from now on.
func (w *workers) heartbeat(h *fsm.Heartbeat) (back bool, err error) {
	n := w.cfg.State.Node(h.Place.GetNode())
	if n == nil || n.Boot != h.Place.GetBoot() || n.Down || n.Gone {
		return false, fsm.ErrStale
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	back = w.beats[n.Number] != n.Boot || now.Sub(w.seen[n.Number]) >= freshFor
	w.seen[n.Number], w.beats[n.Number] = now, n.Boot
	if h.DiskLow {
		w.short[n.Number] = true
	} else {
		delete(w.short, n.Number)
	}
	return back, nil
}

// mostHeard says whether most of the nodes that are up have been heard of in this term.
func (w *workers) mostHeard() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	up, heard := 0, 0
	for _, n := range w.nodes {
		if !n.Down {
			up++
		}
		if !n.Down && w.beats[n.Number] == n.Boot {
			heard++
		}
	}
	return up == 0 || heard > up/2
}

// shortOfDisk returns a node that votes and said lately that too little space is free on
// its disk, nil if there is none. One that is silent has stopped: the others go on.
func (w *workers) shortOfDisk() *fsm.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.short) == 0 {
		return nil
	}
	now := time.Now()
	for _, n := range w.nodes {
		if w.short[n.Number] && !n.Down && now.Sub(w.seen[n.Number]) < freshFor && w.cfg.Cluster.Votes(n.Id) {
			return n
		}
	}
	return nil
}

// observe learns whose slots are held for longer than the types of their tasks say:
// nodes that handed attempts back without having started them.
func (w *workers) observe(changes []fsm.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range changes {
		if c.Old == nil || c.Old.Status != fsm.Status_STARTED {
			continue
		}
		node := c.Old.Place.GetNode()
		if c.New.Status == fsm.Status_PENDING && len(c.New.Past) == len(c.Old.Past) {
			w.stuck[node] = true
		} else if w.stuck[node] {
			delete(w.stuck, node)
		}
	}
}

// lapsed returns the nodes that have been silent for a lease.
func (w *workers) lapsed() []*fsm.Node {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*fsm.Node
	for _, n := range w.nodes {
		if !n.Down && now.Sub(w.seen[n.Number]) > w.cfg.Lease {
			out = append(out, n)
		}
	}
	return out
}

// list returns the nodes as the choice of a place sees them, without the load.
func (w *workers) list() []Worker {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Worker, 0, len(w.nodes))
	for _, n := range w.nodes {
		out = append(out, Worker{
			Number: n.Number, Boot: n.Boot, ID: n.Id, Slots: int(n.Slots),
			Alive:    n.Takes() && w.beats[n.Number] == n.Boot && now.Sub(w.seen[n.Number]) < freshFor,
			Packs:    w.packs[n.Number].set,
			Labels:   w.packs[n.Number].labels,
			Pressure: w.cfg.Cluster.Pressure(n.Id),
			Stuck:    w.stuck[n.Number],
			picked:   w.turns[n.Number],
		})
	}
	return out
}

// picked notes that a worker was given a task, so that equals take turns.
func (w *workers) picked(p *Worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn++
	w.turns[p.Number], p.picked = w.turn, w.turn
}

// byID returns the record of a node, nil if it is not registered or down.
func (w *workers) byID(id string) *fsm.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.nodes, func(n *fsm.Node) bool { return n.Id == id })
	if i < 0 || w.nodes[i].Down {
		return nil
	}
	return w.nodes[i]
}
