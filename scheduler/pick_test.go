package scheduler

import (
	"testing"
)

// worker returns a living worker with pack p; opts change it.
func worker(number uint32, slots, running int, opts ...func(*Worker)) *Worker {
	w := &Worker{Number: number, Slots: slots, Running: running, Slow: running, Alive: true, Packs: map[string]bool{"p": true}}
	for _, opt := range opts {
		opt(w)
	}
	return w
}

func short(w *Worker)                { w.Slow = 0 }
func stuck(w *Worker)                { w.Stuck = true }
func slow(n int) func(*Worker)       { return func(w *Worker) { w.Slow = n } }
func dead(w *Worker)                 { w.Alive = false }
func pressed(p uint8) func(*Worker)  { return func(w *Worker) { w.Pressure = p } }
func last(turn uint64) func(*Worker) { return func(w *Worker) { w.picked = turn } }
func packs(names ...string) func(*Worker) {
	return func(w *Worker) {
		w.Packs = map[string]bool{}
		for _, name := range names {
			w.Packs[name] = true
		}
	}
}

func TestPick(t *testing.T) {
	for name, c := range map[string]struct {
		workers []*Worker
		ahead   int
		avoid   uint32
		want    uint32 // 0 = nobody
	}{
		"nobody there":                  {nil, 0, 0, 0},
		"the only one":                  {[]*Worker{worker(1, 1, 0)}, 0, 0, 1},
		"all slots taken":               {[]*Worker{worker(1, 2, 2), worker(2, 1, 1)}, 0, 0, 0},
		"least loaded":                  {[]*Worker{worker(1, 4, 3), worker(2, 4, 1), worker(3, 4, 2)}, 0, 0, 2},
		"least loaded by slots":         {[]*Worker{worker(1, 1, 0), worker(2, 8, 3)}, 0, 0, 2},
		"a small one in its turn":       {[]*Worker{worker(1, 1, 0), worker(2, 8, 7, last(2))}, 0, 0, 1},
		"equals take turns":             {[]*Worker{worker(1, 2, 1, last(9)), worker(2, 2, 1, last(8)), worker(3, 2, 1, last(10))}, 0, 0, 2},
		"a dead one is not asked":       {[]*Worker{worker(1, 8, 0, dead), worker(2, 2, 1)}, 0, 0, 2},
		"one without the pack neither":  {[]*Worker{worker(1, 8, 0, packs("q")), worker(2, 2, 1, packs("q", "p"))}, 0, 0, 2},
		"another than before":           {[]*Worker{worker(1, 8, 0), worker(2, 8, 7)}, 0, 1, 2},
		"the same if there is no other": {[]*Worker{worker(1, 8, 0), worker(2, 8, 8)}, 0, 1, 1},
		"but not beyond its slots":      {[]*Worker{worker(1, 8, 8), worker(2, 8, 8)}, 0, 1, 0},
		"pressure breaks a tie":         {[]*Worker{worker(1, 2, 1, pressed(200)), worker(2, 2, 1, pressed(100), last(5))}, 0, 0, 2},
		"pressure is not a whole slot":  {[]*Worker{worker(1, 2, 0, pressed(200)), worker(2, 2, 1)}, 0, 0, 1},
		"short ones wait ahead":         {[]*Worker{worker(1, 2, 5, short)}, 3, 0, 1},
		"but only so many":              {[]*Worker{worker(1, 2, 8, short)}, 3, 0, 0},
		"a free slot goes first":        {[]*Worker{worker(1, 2, 5, short), worker(2, 2, 1)}, 3, 0, 2},
		"long ones do not wait":         {[]*Worker{worker(1, 2, 2, short)}, 0, 0, 0},
		"nor short ones behind them":    {[]*Worker{worker(1, 2, 2, slow(2))}, 100, 0, 0},
		"nor any behind stuck slots":    {[]*Worker{worker(1, 2, 2, short, stuck)}, 100, 0, 0},
		"though a free slot is free":    {[]*Worker{worker(1, 2, 1, short, stuck)}, 100, 0, 1},
		"half the slots, half ahead":    {[]*Worker{worker(1, 2, 4, slow(1))}, 3, 0, 1},
		"and not more":                  {[]*Worker{worker(1, 2, 5, slow(1))}, 3, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := pick(c.workers, "p", c.ahead, c.avoid)
			number := uint32(0)
			if got != nil {
				number = got.Number
			}
			if number != c.want {
				t.Errorf("got worker %d, want %d", number, c.want)
			}
		})
	}
}

// TestPickFillsInProportion: one task after another, nodes with 1, 2 and 8 slots fill up
// at the same rate.
func TestPickFillsInProportion(t *testing.T) {
	ws := []*Worker{worker(1, 1, 0), worker(2, 2, 0), worker(3, 8, 0)}
	for i := range 11 {
		w := pick(ws, "p", 0, 0)
		if w == nil {
			t.Fatalf("no place for task %d of 11", i+1)
		}
		w.Running++
		for _, w := range ws { // of 11 slots i+1 are taken: each has its share, give or take a task and a half
			if share := float64((i+1)*w.Slots) / 11; float64(w.Running) > share+1.5 || float64(w.Running) < share-1.5 {
				t.Errorf("after %d tasks worker %d of %d slots has %d", i+1, w.Number, w.Slots, w.Running)
			}
		}
	}
	if w := pick(ws, "p", 0, 0); w != nil {
		t.Errorf("worker %d got a task beyond its slots", w.Number)
	}
}
