package node

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestStopBeforeRegistered: a node that is told to stop before any cluster has taken it in
// stops in good order.
func TestStopBeforeRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 2)
		m := w.machines[0] // waits for the second to found a cluster with
		m.start()
		time.Sleep(10 * time.Second)
		p := m.end()
		p.signal()
		<-p.ended
		if p.err != nil {
			t.Errorf("the node ended with %v, want nil", p.err)
		}
		w.stopAll()
	})
}

// inWorld runs a story in a world whose nodes have founded their cluster.
func inWorld(t *testing.T, size int, story func(t *testing.T, w *simWorld)) {
	t.Helper()
	if testing.Short() {
		t.Skip("simulates for minutes")
	}
	var w *simWorld
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, 1, size)
		w.net.SetDelay(0, simDelay)
		w.tune = oftenSnapshots
		w.startAll()
		if w.awaitWhole(firstWithin) {
			story(t, w)
		}
		w.stopAll()
	})
	w.report(t)
}

// TestSimPowerLossAfterSnapshot: a node that has lost its state's file starts from the
// newest snapshot and the log.
func TestSimPowerLossAfterSnapshot(t *testing.T) {
	inWorld(t, 1, func(t *testing.T, w *simWorld) {
		m := w.machines[0]
		var ids []string
		for m.node().cluster.Status().SnapshotIndex == 0 {
			ids = append(ids, m.add(t, http.StatusOK))
			time.Sleep(100 * time.Millisecond)
		}
		ids = append(ids, m.add(t, http.StatusOK))
		if err := m.losePower(rand.New(rand.NewPCG(1, 1))); err != nil {
			t.Fatal(err)
		}
		m.start()
		w.awaitWhole(firstWithin)
		for _, id := range ids {
			m.ask(t, http.MethodGet, "/task/"+id+"?consistency=stale", "", http.StatusOK)
		}
	})
}

// TestSimDiskHangs: a leader whose disk hangs ends within 13 s, although what it has open
// hangs too, and another leads.
func TestSimDiskHangs(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *simWorld) {
		m := w.leader()
		m.fault(func(d *simDisk) { d.hung = true })
		m.add(t, http.StatusServiceUnavailable) // an idle disk hangs unnoticed
		p, start := m.end(), time.Now()
		select {
		case <-p.ended:
		case <-time.After(13 * time.Second):
			t.Error("the node runs on after 13 s")
			m.kill()
		}
		if p.err == nil || !strings.Contains(p.err.Error(), "the disk hangs") {
			t.Errorf("it ended with %v, want the disk to be named", p.err)
		}
		for w.leader() == nil {
			time.Sleep(100 * time.Millisecond)
		}
		w.leader().add(t, http.StatusOK)
		if took := time.Since(start); took > 16*time.Second {
			t.Errorf("the next task was taken after %s, want 16s at most", took)
		}
		m.fault(func(d *simDisk) { d.hung = false })
		m.start()
		w.awaitWhole(30 * time.Second)
	})
}

// TestSimApartForMinutes: five nodes that were apart for three minutes, two here and three
// there, are one cluster again within 30 s. Meanwhile the two refuse in time and tell
// what they know.
func TestSimApartForMinutes(t *testing.T) {
	inWorld(t, 5, func(t *testing.T, w *simWorld) {
		few, most := w.machines[:2], w.machines[2:]
		id := few[0].add(t, http.StatusOK)
		for _, p := range apart(few, most) {
			w.net.Cut(p[0].ip, p[1].ip)
		}
		time.Sleep(5 * time.Second)
		most[0].add(t, http.StatusOK)
		for _, m := range few {
			start := time.Now()
			m.add(t, http.StatusServiceUnavailable)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("%s refused after %s, want 3s at most", m.name, took)
			}
			m.ask(t, http.MethodGet, "/task/"+id+"?consistency=stale", "", http.StatusOK)
			m.ask(t, http.MethodGet, "/task/"+id+"?consistency=linearizable", "", http.StatusServiceUnavailable)
		}
		time.Sleep(3 * time.Minute)
		w.net.HealAll()
		w.awaitWhole(30 * time.Second)
		w.compareStates()
	})
}

// TestSimHundredNodes: a hundred nodes found a cluster, lose thirty, two of the five voters
// among them, work on, and are whole again when those are back.
func TestSimHundredNodes(t *testing.T) {
	inWorld(t, 100, func(t *testing.T, w *simWorld) {
		voters := w.leader().node().cluster.Status().Voters
		var lost, left []*simMachine
		room := map[bool]int{true: 2, false: 28} // by whether a node votes: more voters would be the majority
		for _, m := range w.machines {
			votes := slices.Contains(voters, m.node().dir.ID)
			if room[votes] > 0 {
				room[votes]--
				lost = append(lost, m)
			} else {
				left = append(left, m)
			}
		}
		for _, m := range lost {
			m.kill()
		}
		time.Sleep(time.Minute)
		for _, m := range []*simMachine{left[0], left[len(left)/2], left[len(left)-1]} {
			m.add(t, http.StatusOK)
		}
		for _, m := range lost {
			m.start()
		}
		w.awaitWhole(time.Minute)
		w.compareStates()
	})
}

// add submits a task at a node, waits for it and returns its id.
func (m *simMachine) add(t *testing.T, want int) (id string) {
	t.Helper()
	return member(m.ask(t, http.MethodPost, "/task?wait=10s", `{"type":"chaos.main.work","args":{"n":1}}`, want), "id")
}

// ask has the node on the machine answer a request, and checks the status of the answer.
func (m *simMachine) ask(t *testing.T, method, path, body string, want int) []byte {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	m.node().server.Handler.ServeHTTP(answer, r)
	if answer.Code != want {
		t.Errorf("%s: %s %s: got %d %s, want %d", m.name, method, path, answer.Code, answer.Body, want)
	}
	return answer.Body.Bytes()
}
