package node

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pytasks/cluster"
	"pytasks/node/history"
)

// TestSim's flags: go test ./node -run TestSim -sim.seeds=5000, or -sim.seed=17 for one run.
var (
	simSeeds = flag.Int("sim.seeds", 0, "how many simulations TestSim runs; 0 = 200, 5 under the race detector")
	simSeed  = flag.Uint64("sim.seed", 0, "the seed of the first simulation; 0 = 1")
)

const (
	simNodes    = 5
	simTime     = 10 * time.Minute // of the storm, virtual
	simDelay    = 2 * time.Millisecond
	simLatency  = time.Millisecond // of a synced write
	simLoad     = 0.5              // requests of each client in a second
	simRate     = 0.3              // writes that must be acknowledged in a second
	healWithin  = time.Minute      // all nodes are one cluster again
	firstWithin = time.Minute      // after the first start
)

// TestSim runs real nodes on simulated machines, in virtual time, while faults that the
// seed draws come and go, and checks what their clients were told against what is
// promised. A seed names a run; the order of goroutines is not part of it, so that a
// failure may need several tries to come again.
func TestSim(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates for minutes")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // a third less time
	seeds := *simSeeds
	switch {
	case seeds == 0 && raceDetected():
		seeds = 5
	case seeds == 0:
		seeds = 200
	}
	for i := range seeds {
		seed := max(*simSeed, 1) + uint64(i)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			var w *simWorld
			synctest.Test(t, func(t *testing.T) {
				w = newWorld(t, seed, simNodes)
				w.vary()
				w.run()
			})
			w.report(t)
		})
	}
}

// vary makes the worlds of different seeds differ: in some, not all nodes vote; in some,
// snapshots are taken so often that a node which was away needs one.
func (w *simWorld) vary() {
	if w.seed%3 == 0 {
		w.voters = 3
	}
	if w.seed%2 == 0 {
		w.tune = oftenSnapshots
	}
}

// oftenSnapshots has a node that was away for some minutes need a snapshot.
func oftenSnapshots(c *cluster.Config) { c.SnapshotEntries, c.TrailingLogs = 150, 100 }

// run is one simulation, from the first start of the nodes to the last stop.
func (w *simWorld) run() {
	w.net.SetDelay(0, simDelay)
	w.startAll()
	if w.awaitWhole(firstWithin) {
		w.storm()
	}
	w.stopAll()
}

// storm keeps the cluster busy while faults come and go, and waits until it is whole.
func (w *simWorld) storm() {
	load, hangUp := w.workload(history.Config{
		Writers: 3, Readers: 3, Rate: simLoad, For: simTime, SettleIn: 2 * time.Minute,
	})
	defer hangUp()
	busy := &simBusy{taken: map[*simMachine]bool{}}
	until := time.Now().Add(simTime - 30*time.Second)
	var wg sync.WaitGroup
	wg.Go(func() { load.Run(context.Background()) })
	for i := range uint64(2) {
		s := &simStorm{w: w, rng: rand.New(rand.NewPCG(w.seed, i)), busy: busy}
		wg.Go(func() { s.rage(until) })
	}
	wg.Wait()
	w.note("storm is over", "")
	if !w.awaitWhole(healWithin) {
		return
	}
	if err := load.Settle(context.Background()); err != nil {
		w.violation("%v", err)
	}
	w.compareStates()
	w.settled = true
}
