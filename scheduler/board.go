package scheduler

// board is the state of play while one entry is built: the nodes, how loaded each
// is, and which packs have tasks waiting.
type board struct {
	workers []*Worker
	pace    *pace
	ahead   map[string]int // by type, as pace said when the board was made
	pending map[string]int // waiting tasks by fsm.WaitKey
	picked  func(*Worker)
}

func (t *term) board() *board {
	b := &board{pace: t.pace, ahead: map[string]int{}, picked: t.workers.picked}
	// What is on its way is read before the state: in the other order an entry
	// that lands in between would not be counted at all.
	load := map[uint32]map[string]int{}
	t.flight.addTo(load)
	b.pending = t.flight.waiting(t.cfg.State.PendingPacks())
	for node, kinds := range t.cfg.State.Load() {
		for kind, n := range kinds {
			if load[node] == nil {
				load[node] = map[string]int{}
			}
			load[node][kind] += n
		}
	}
	for _, w := range t.workers.list() {
		for _, n := range load[w.Number] {
			w.Running += n
		}
		w.Slow = t.pace.slow(load[w.Number])
		b.workers = append(b.workers, &w)
	}
	return b
}

func (b *board) aheadOf(kind string) int {
	n, ok := b.ahead[kind]
	if !ok {
		n = b.pace.ahead(kind)
		b.ahead[kind] = n
	}
	return n
}

// pick chooses a place for a task of a type that waits by a key, and counts it there.
func (b *board) pick(pack, kind string, avoid uint32) *Worker {
	ahead := b.aheadOf(kind)
	w := pick(b.workers, pack, ahead, avoid)
	if w == nil {
		return nil
	}
	w.Running++
	if ahead == 0 {
		w.Slow++
	}
	b.picked(w)
	return w
}

// room says whether some node may take a task of a type that needs a pack.
func (b *board) room(pack, kind string) bool {
	return pick(b.workers, pack, b.aheadOf(kind), 0) != nil
}

// waiting says whether tasks of a pack wait already, so that a new one has to stand
// behind them.
func (b *board) waiting(pack string) bool { return b.pending[pack] > 0 }

func (b *board) wait(pack string) { b.pending[pack]++ }
