//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pytasks/node/failpoint"
)

// crashes returns, for each failpoint, what is done to crash nodes there.
func crashes() map[string]func(r *run, point string) {
	// often is for points that every node with that role comes to under load.
	often := func(hit int, leads bool, follows bool) func(r *run, point string) {
		return func(r *run, point string) {
			if follows {
				n := r.all.follower()
				r.crash(n, point, hit, func() {})
				r.restart(n)
			}
			if leads {
				n := r.all.leader()
				r.crash(n, point, hit, func() {})
				r.restart(n)
			}
		}
	}
	const leader, follower = true, true
	return map[string]func(r *run, point string){
		"raft.append.before":       often(20, leader, follower),
		"raft.append.after":        often(20, leader, follower),
		"raft.stable.after":        (*run).crashInElection,
		"raft.compact.middle":      func(r *run, point string) { r.crash(r.all.follower(), point, 1, r.fill) },
		"fsm.flush.before":         often(3, leader, follower),
		"fsm.flush.after":          often(3, leader, follower),
		"fsm.snapshot.before":      func(r *run, point string) { r.crash(r.all.follower(), point, 1, r.fill) },
		"fsm.snapshot.after":       func(r *run, point string) { r.crash(r.all.leader(), point, 1, r.fill) },
		"fsm.restore.middle":       (*run).crashInRestore,
		"fsm.restore.swap":         (*run).crashInRestore,
		"scheduler.commit.after":   often(20, leader, !follower),
		"scheduler.answer.before":  often(20, leader, !follower),
		"scheduler.giveup.before":  (*run).crashInGivingUp,
		"scheduler.purge.before":   (*run).crashInPurge,
		"link.forward.after":       often(20, !leader, follower),
		"executor.start.before":    often(20, leader, follower),
		"executor.finish.before":   often(20, leader, follower),
		"executor.finish.after":    often(20, leader, follower),
		"executor.handback.before": (*run).crashInDrain,
		"packs.spread.before":      (*run).crashInInstall,
		"packs.commit.before":      (*run).crashInInstall,
		"blob.spread.before":       (*run).crashInLarge,
		"blob.commit.before":       (*run).crashInLarge,
		"blob.result.before":       (*run).crashInLarge,
		"cluster.identity.before":  (*run).crashInJoining,
		"cluster.save.middle":      (*run).crashInJoining,
		"cluster.nonvoter.after":   func(r *run, point string) { r.crash(r.all.leader(), point, 1, r.newcomer().start) },
		"cluster.remove.after":     (*run).crashInRemoval,
		"node.identity.middle":     (*run).crashInStart,
		"node.leave.before":        (*run).crashInDrain,
	}
}

// failpointRows returns a row for every failpoint.
func failpointRows() []row {
	var rows []row
	for _, spot := range failpoint.Spots() {
		crash := crashes()[spot.Name]
		if crash == nil {
			continue // TestEveryFailpointHasItsRow tells
		}
		row := row{name: "kill at " + spot.Name, sizes: []int{3}, failpoints: true}
		row.fault = func(r *run) {
			crash(r, spot.Name)
			for _, n := range r.all {
				if !n.running() && !n.out {
					r.restart(n)
				}
			}
		}
		switch spot.Name {
		case "raft.compact.middle", "fsm.snapshot.before", "fsm.snapshot.after", "fsm.restore.middle", "fsm.restore.swap":
			row.rate = 20 // filling a log takes long: there is no need of so much to be checked
		case "scheduler.purge.before":
			row.flags = []string{"--max-finished", fmt.Sprint(purgeAbove)}
			row.before = func(r *run) { r.additions(purgeAbove - 1000) }
		}
		rows = append(rows, row)
	}
	return rows
}

// TestEveryFailpointHasItsRow holds the matrix against the list of failpoints.
func TestEveryFailpointHasItsRow(t *testing.T) {
	for _, spot := range failpoint.Spots() {
		if crashes()[spot.Name] == nil {
			t.Errorf("nothing crashes a node at %s", spot.Name)
		}
	}
	if got, want := len(crashes()), len(failpoint.Spots()); got != want {
		t.Errorf("there are %d crashes for %d failpoints", got, want)
	}
}

// crash arms a failpoint of a node to kill it at a hit, provokes that and waits for it.
func (r *run) crash(n *node, point string, hit int, provoke func()) {
	r.Helper()
	n.arm(fmt.Sprintf("%s=kill@%d", point, hit))
	provoke()
	n.ends(30 * time.Second)
	n.arm("")
	if want := fmt.Sprintf("failpoint: %s hit %d: kill", point, hit); !strings.Contains(n.log(), want) {
		r.Errorf("%s ended, but not at its failpoint %s", n.name, point)
	}
	r.faults++
}

func (r *run) crashInElection(point string) {
	r.Helper()
	leader := r.all.leader()
	r.crash(r.all.without(leader)[0], point, 1, func() { r.kill(leader) })
}

// crashInGivingUp kills a node, and the leader just before it gives that node up.
func (r *run) crashInGivingUp(point string) {
	r.Helper()
	leader := r.all.leader()
	n := r.all.without(leader)[0]
	lost := r.busy(n, 7*time.Second)
	start := time.Now()
	r.crash(leader, point, 1, func() { r.kill(n) })
	r.restart(leader)
	r.all.up().elsewhere(lost, n, start, healIn)
}

// purgeAbove is how many finished tasks are kept in the row that has some forgotten. The oldest go, and those are not the
// load's.
const purgeAbove = 16_000

func (r *run) crashInPurge(point string) {
	r.Helper()
	r.crash(r.all.leader(), point, 1, func() { r.additions(6000) })
}

// additions has so many numbers added, in batches.
func (r *run) additions(count int) {
	r.Helper()
	const batch = 3000
	tasks := strings.Repeat(`{"type":"test.main.add","args":{"x":1,"y":2}},`, batch)
	for range count / batch {
		r.post("/tasks/batch", `{"tasks":[`+strings.TrimSuffix(tasks, ",")+`]}`)
	}
}

func (r *run) crashInDrain(point string) {
	r.Helper()
	n := r.all.leader()
	r.busy(n, 2*time.Second)
	r.crash(n, point, 1, func() { n.signal(syscall.SIGTERM) })
}

func (r *run) crashInStart(point string) {
	r.Helper()
	n := r.all.follower()
	r.kill(n)
	r.crash(n, point, 1, n.start)
}

// crashInLarge crashes a node that is sent tasks which are too large for the log, and runs some.
func (r *run) crashInLarge(point string) {
	r.Helper()
	n := r.all.follower()
	r.crash(n, point, 1, func() {
		for i := range 12 {
			text, _ := json.Marshal(noise(uint32(i), 1<<20))
			if _, err := n.send(5*time.Second, http.MethodPost, "/task", `{"type":"test.main.echo","args":{"value":`+string(text)+`}}`); err != nil {
				return // it is dead
			}
		}
	})
	r.restart(n)
}

// newcomer adds a node that is not started.
func (r *run) newcomer() *node {
	r.Helper()
	n := r.add("--join", r.all.joinAddrs())
	n.note = r.recorder.Note
	return n
}

func (r *run) crashInJoining(point string) {
	r.Helper()
	n := r.newcomer()
	r.crash(n, point, 1, n.start)
}

// crashInRemoval crashes the leader when it has taken out a node that is dead.
func (r *run) crashInRemoval(point string) {
	r.Helper()
	n := r.newcomer()
	n.start()
	r.all.whole(healIn)
	r.kill(n)
	n.out = true
	leader := r.all.up().leader()
	r.crash(leader, point, 1, func() {
		_, _ = leader.send(5*time.Second, http.MethodDelete, "/nodes/"+n.name, "") // there is no answer
	})
	r.restart(leader)
	eventually(r, healIn, n.name+" is out", func() error {
		a, err := leader.send(5*time.Second, http.MethodDelete, "/nodes/"+n.name, "")
		if err == nil && a.status != http.StatusOK && a.status != http.StatusNotFound {
			err = fmt.Errorf("%v", a)
		}
		return err
	})
}

// crashInRestore keeps a node away until the others have compacted their logs, so that it is sent a snapshot.
func (r *run) crashInRestore(point string) {
	r.Helper()
	n := r.all.follower()
	r.kill(n)
	r.fill()
	rest := r.all.without(n)
	eventually(r, time.Minute, "the rest takes snapshots", func() error {
		for _, other := range rest {
			if !strings.Contains(other.log(), `msg="snapshot taken"`) {
				return fmt.Errorf("%s has none", other.name)
			}
		}
		return nil
	})
	r.crash(n, point, 1, n.start)
}

// fill makes the log so long, in entries and then in bytes, that every node takes a snapshot and drops what is behind it.
// It ends early when a node dies of that.
func (r *run) fill() {
	r.Helper()
	const (
		entries = 12_000   // raft keeps 10,240 behind a snapshot
		bytes   = 80 << 20 // 64 MiB cause a snapshot
		size    = 32 << 10 // of a large task's value, which is logged again as its result
		clients = 6        // with more, more tasks share an entry
	)
	ns := r.all.up()
	first, err := ns[0].view()
	check(r, err)
	over := make(chan struct{})
	var long atomic.Bool // there are enough entries
	var sent atomic.Int64
	var work sync.WaitGroup
	for c := range clients {
		work.Go(func() {
			for i := c; ; i += clients {
				select {
				case <-over:
					return
				default:
				}
				value := "small"
				if long.Load() {
					value = noise(uint32(i), size)
				}
				text, _ := json.Marshal(value)
				a, err := ns[i%len(ns)].send(5*time.Second, http.MethodPost, "/task", `{"type":"test.main.echo","args":{"value":`+string(text)+`}}`)
				if statusError(a, err, http.StatusOK) == nil {
					sent.Add(2 * int64(len(value)))
				}
			}
		})
	}
	defer work.Wait()
	defer close(over)
	poll(r, 200*time.Millisecond, 2*time.Minute, "the log is long enough", func() error {
		if len(ns.up()) < len(ns) {
			return nil
		}
		v, err := ns[0].view()
		if err != nil {
			return nil // it died just now
		}
		got := v.LastIndex - first.LastIndex
		long.Store(got >= entries)
		if got < entries || sent.Load() < bytes {
			return fmt.Errorf("%d entries and %d MiB were added", got, sent.Load()>>20)
		}
		return nil
	})
}

// noise returns a text that does not pack well.
func noise(seed uint32, size int) string {
	text := make([]byte, size)
	for i, x := 0, seed+1; i < size; i++ {
		x = x*1664525 + 1013904223
		text[i] = 'A' + byte(x>>24)%58
	}
	return string(text)
}

// post sends a request to whichever node takes it.
func (r *run) post(path, body string) {
	r.Helper()
	eventually(r, 20*time.Second, "POST "+path, func() error {
		var last error
		for _, n := range r.all.up() {
			a, err := n.send(10*time.Second, http.MethodPost, path, body)
			if err == nil && a.status == http.StatusOK {
				return nil
			}
			last = fmt.Errorf("%s: %v %w", n.name, a, err)
		}
		return last
	})
}
