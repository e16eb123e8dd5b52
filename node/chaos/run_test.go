//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pytasks/node/history"
)

const (
	// minRate is how many tasks must have been acknowledged in a second, over the whole run: less proves little.
	minRate = 50
	// enough is how many tasks are to be acknowledged before a fault, and after it.
	enough = 250
	// healIn is how long a cluster may take to be whole again when nothing is wrong any more.
	healIn = 30 * time.Second
)

// row is one fault of the matrix.
type row struct {
	name       string
	sizes      []int        // of the clusters that it is done to
	rate       float64      // requests that each writer begins in a second, at most; 0 = 50
	writers    int          // more where clients wait for nodes that are cut off; 0 = 4
	failpoints bool         // nodes are built with failpoints
	lease      bool         // it keeps living nodes from the leader for longer than a lease
	orderly    bool         // nothing that has finished may run a second time
	patience   int          // times that the limits of what is measured are allowed for; 0 = 1
	disk       int64        // bytes of a disk that each node has to itself; 0 = this machine's
	flags      []string     // of the nodes
	before     func(r *run) // what is done before the load begins; nil = nothing
	fault      func(r *run)
}

// run is a row done once to one cluster: load, the fault, and what all of them wrote down.
type run struct {
	testing.TB
	*cluster
	row      row
	recorder *history.Recorder
	load     *history.Workload
	faults   int      // that took effect
	gone     []string // names of nodes that were taken out, or left broken
	long     []string // ids of long tasks that busy has queued
	took     times
	began    time.Time // the load
	lasted   time.Duration
	report   *history.Report
}

func newRun(t testing.TB, row row, size, number int) *run {
	t.Helper()
	dir := t.TempDir()
	r := &run{TB: t, row: row, took: times{}}
	r.cluster = newCluster(t, program(t, row.failpoints), dir, size, row.flags...)
	r.recorder = history.NewRecorder(time.Now)
	cfg := history.Config{
		Recorder: r.recorder, Rate: row.rate, For: time.Hour, SettleIn: 3 * time.Minute, Timeout: 4 * time.Second, Writers: row.writers, Seed: seed(row.name, size, number),
		Transport: func(int) http.RoundTripper {
			return byAddress{&http.Transport{DialContext: r.dial, DisableCompression: true}}
		},
	}
	if cfg.Rate == 0 {
		cfg.Rate = 50
	}
	for _, n := range r.all {
		n.note = r.recorder.Note
		if row.disk > 0 {
			check(t, n.host.mount(n.data(), row.disk))
		}
		cfg.Nodes = append(cfg.Nodes, history.Node{Name: n.name, URL: "http://" + n.name + ":8080"})
	}
	var err error
	r.load, err = history.NewWorkload(cfg)
	check(t, err)
	t.Cleanup(func() { r.keep(dir) })
	return r
}

// seed is another number for every run.
func seed(name string, size, number int) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d/%d", name, size, number)
	return h.Sum64()
}

// do is the run: the fault happens under load, the load goes on when it is over, and then everything is checked.
func (r *run) do() {
	r.all.start()
	if r.row.before != nil {
		r.row.before(r)
	}
	ctx, stop := context.WithCancel(context.Background())
	loaded := make(chan struct{})
	defer func() { stop(); <-loaded }()
	r.began = time.Now()
	go func() {
		r.load.Run(ctx)
		close(loaded)
	}()
	r.more(enough)
	r.row.fault(r)
	check(r, r.network.heal())
	r.measured("whole again", r.all.up().whole(healIn), healIn)
	r.more(enough)
	r.untilBusy()
	r.lasted = time.Since(r.began)
	stop()
	<-loaded
	check(r, r.load.Settle(context.Background()))
	r.sameState()
	r.verify()
}

// acknowledged returns how many tasks clients of the load know of so far.
func (r *run) acknowledged() int {
	ids := map[string]bool{}
	for _, op := range r.recorder.History().Ops {
		if (op.Kind == history.Submit || op.Kind == history.Batch) && op.Outcome == history.OK {
			for _, t := range op.Tasks {
				ids[t.ID] = true
			}
		}
	}
	return len(ids)
}

// more waits until so many more tasks are acknowledged.
func (r *run) more(tasks int) {
	r.Helper()
	before := r.acknowledged()
	poll(r, 200*time.Millisecond, 30*time.Second, fmt.Sprintf("%d more tasks are acknowledged", tasks), func() error {
		if got := r.acknowledged() - before; got < tasks {
			return fmt.Errorf("got %d", got)
		}
		return nil
	})
}

// untilBusy lets the load go on after a fault during which little could be taken, until there was enough in all.
func (r *run) untilBusy() {
	r.Helper()
	poll(r, 200*time.Millisecond, 30*time.Second, fmt.Sprintf("%d tasks a second", minRate), func() error {
		if rate := float64(r.acknowledged()) / time.Since(r.began).Seconds(); rate < minRate*1.05 {
			return fmt.Errorf("got %.0f", rate)
		}
		return nil
	})
}

// measured notes how long something took, of which 95 in 100 times must keep a limit. Nodes with the race detector need
// several times as long for everything.
func (r *run) measured(what string, d, limit time.Duration) {
	limit *= time.Duration(max(1, r.row.patience))
	if raced() {
		limit *= 5
	}
	r.took.add(what, d, limit)
}

// verify holds everything that was written down against what is promised.
func (r *run) verify() {
	r.Helper()
	var journals []string
	for _, n := range r.all {
		journals = append(journals, n.journal())
		r.checkLog(n)
	}
	entries, err := history.ReadJournal(journals...)
	check(r, err)
	o := history.Options{Faults: r.faults, LeaseFaults: r.row.lease, Gone: r.gone}
	r.report = history.Check(r.recorder.History(), entries, o)
	r.Logf("%s, %d nodes:\n%s%s", r.row.name, len(r.all), r.report, r.took)
	if r.row.orderly {
		r.checkOnce(entries)
	}
	if bad := len(r.report.Violations); bad > 0 {
		r.Errorf("%d violations, the first: %s", bad, r.report.Violations[0])
	}
	if rate := r.rate(); rate < minRate {
		r.Errorf("%.0f tasks were acknowledged in a second, want %d: the run proves little", rate, minRate)
	}
	for what, m := range r.took {
		if got := m.high(); got > m.limit {
			r.Errorf("%s: p95 is %s, want %s at most, of %v", what, got, m.limit, m.all)
		}
	}
}

// checkOnce looks for tasks that were run again although an attempt had ended well.
func (r *run) checkOnce(entries []history.Entry) {
	r.Helper()
	ended := map[string]history.Entry{}
	for _, e := range entries { // of all nodes, so not in order of time
		if first, ok := ended[e.Task]; e.End == history.EndOK && (!ok || e.At < first.At) {
			ended[e.Task] = e
		}
	}
	for _, e := range entries {
		if first, ok := ended[e.Task]; ok && e.End == "" && e.At > first.At {
			r.Errorf("task %s began attempt %d at %s, after attempt %d had ended well at %s", e.Task, e.Attempt, e.Node, first.Attempt, first.Node)
		}
	}
}

// rate returns how many tasks were acknowledged in a second.
func (r *run) rate() float64 { return float64(r.report.Acked) / r.lasted.Seconds() }

// sameState holds the nodes' states against each other, at the same index of the log.
func (r *run) sameState() {
	r.Helper()
	type digest struct {
		Applied uint64 `json:"applied"`
		SHA256  string `json:"sha256"`
	}
	digests := map[string]digest{}
	eventually(r, healIn, "all nodes have applied the same", func() error {
		for _, n := range r.all.up() {
			var d digest
			text, err := n.get("/debug/state")
			if err == nil {
				err = json.Unmarshal(text, &d)
			}
			if err != nil {
				return err
			}
			digests[n.name] = d
		}
		first := digests[r.all.up()[0].name]
		for name, d := range digests {
			if d.Applied != first.Applied {
				return fmt.Errorf("%s has applied %d, another %d", name, d.Applied, first.Applied)
			}
		}
		return nil
	})
	first := digests[r.all.up()[0].name]
	for name, d := range digests {
		if d.SHA256 != first.SHA256 || len(d.SHA256) != 64 {
			r.Errorf("at index %d the state of %s is %q, another's %q", d.Applied, name, d.SHA256, first.SHA256)
		}
	}
}

// checkLog looks for what no log may hold.
func (r *run) checkLog(n *node) {
	r.Helper()
	log := n.log()
	for _, bad := range []string{"panic:", "fatal error:", "WARNING: DATA RACE", "runtime error"} {
		if before, after, found := strings.Cut(log, bad); found {
			r.Errorf("the log of %s holds %q: %s%s%.2000s", n.name, bad, before[max(0, len(before)-300):], bad, after)
		}
	}
}

// keep saves what a failed run left, and shows the end of its logs.
func (r *run) keep(dir string) {
	if !r.Failed() {
		return
	}
	for _, n := range r.all {
		log := strings.SplitAfter(n.log(), "\n")
		r.Logf("the log of %s:\n%s", n.name, strings.Join(log[max(0, len(log)-25):], ""))
	}
	if flags.keep == "" {
		return
	}
	to := filepath.Join(flags.keep, strings.ReplaceAll(r.Name(), "/", "-"))
	err := errors.Join(os.RemoveAll(to), os.MkdirAll(flags.keep, 0o700), r.recorder.History().Save(filepath.Join(dir, "history")))
	err = errors.Join(err, os.CopyFS(to, os.DirFS(dir)))
	r.Logf("data, logs and history are in %s (%v)", to, err)
}
