package node

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patientLoad is requests of clients that send what was answered 503 once more, after a second, and what was not sent to
// the next node. Every other answer but success fails the test. Its tasks may be tried once.
type patientLoad struct {
	t       *testing.T
	nodes   processes
	over    atomic.Bool
	sent    atomic.Int64 // and acknowledged
	again   atomic.Int64 // of these, those that were answered 503 first
	clients sync.WaitGroup
	mu      sync.Mutex
	ids     []string // guarded by mu
}

// load starts so many clients, each of which begins with another node.
func (ps processes) load(clients int) *patientLoad {
	l := &patientLoad{t: ps[0].t, nodes: ps}
	l.t.Cleanup(func() { l.over.Store(true); l.clients.Wait() }) // before the nodes are killed
	for i := range clients {
		l.clients.Go(func() {
			transport := &http.Transport{MaxIdleConnsPerHost: 1}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
			for node := i; !l.over.Load(); {
				node = l.one(client, node)
			}
		})
	}
	return l
}

// one sends one task, beginning with a node, and returns the one that took it.
func (l *patientLoad) one(client *http.Client, node int) int {
	refused, moved := false, 0
	for {
		p := l.nodes[node%len(l.nodes)]
		resp, err := client.Post(p.http+"/task?wait=10s", "application/json", strings.NewReader(sleepFor(5*time.Millisecond, `"retry":{"max_attempts":1}`)))
		if err != nil && neverSent(err) && moved < len(l.nodes) {
			node, moved = node+1, moved+1
			continue
		}
		var body []byte
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		switch {
		case err != nil:
			l.t.Errorf("a request to %s failed: %v", p.name, err)
		case resp.StatusCode == http.StatusServiceUnavailable && !refused:
			refused = true
			time.Sleep(time.Second) // as Retry-After says
			continue
		case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted:
			l.t.Errorf("a request to %s was answered %d, again %v: %s", p.name, resp.StatusCode, refused, body)
		default:
			l.mu.Lock()
			l.ids = append(l.ids, member(body, "id"))
			l.mu.Unlock()
			if refused {
				l.again.Add(1)
			}
			l.sent.Add(1)
			return node
		}
		l.over.Store(true)
		return node
	}
}

// more waits until so many more tasks are acknowledged.
func (l *patientLoad) more(n int64) {
	l.t.Helper()
	goal := l.sent.Load() + n
	eventually(l.t, 30*time.Second, "the load goes on", func() error {
		if sent := l.sent.Load(); sent < goal && !l.over.Load() {
			return fmt.Errorf("%d of %d tasks", sent, goal)
		}
		return nil
	})
}

// end stops the load and checks that all its tasks have succeeded.
func (l *patientLoad) end() {
	l.t.Helper()
	l.over.Store(true)
	l.clients.Wait()
	l.t.Logf("%d tasks, %d of them at the second try", len(l.ids), l.again.Load())
	for i, id := range l.ids {
		l.nodes.up()[i%len(l.nodes.up())].succeeded(id, 20*time.Second)
	}
}

// where runs tasks and returns how many ran on each node.
func (ps processes) where(n int) map[string]int {
	ran := map[string]int{}
	for _, task := range ps.runAll(repeat(sleepFor(20*time.Millisecond), n), n) {
		ran[task.Node]++
	}
	return ran
}

// TestProcessDrainUntilResumed: under load, a leader is drained: it finishes what is short, hands back what is long at no
// cost, leads no more and runs nothing, also after it was restarted and others have led; no request fails. Then it is
// resumed. The last node that takes tasks is not drained.
func TestProcessDrainUntilResumed(t *testing.T) {
	ps := startCluster(t, 3, "--slots", "4", "--drain-timeout", "1s")
	ps.workersReady()
	drained := ps.leader()
	rest := ps.without(drained)
	load := ps.load(6)
	var long []string
	ran := map[string]bool{} // by id, whether it ran on the node that is drained
	for here := 0; here < 2 && len(long) < 10; {
		id := ps[0].submit(sleepFor(4*time.Second, `"retry":{"max_attempts":1}`))
		if ran[id] = ps[0].started(id).Node == drained.name; ran[id] {
			here++
		}
		long = append(long, id)
	}
	load.more(50)

	start := time.Now()
	out := rest[0].tools("node", "drain", drained.name)
	since(t, start, 5*time.Second, "a drain with a timeout of 1 s")
	if !strings.Contains(out, drained.name+" is drained") || !strings.Contains(out, " on "+drained.name+"\n") {
		t.Errorf("drain printed %q, want how much still runs, and its end", out)
	}
	eventually(t, 5*time.Second, "another node leads", func() error {
		if ps.leader() == drained {
			return errors.New("the drained one")
		}
		return nil
	})
	checkDrained := func(p *process) {
		t.Helper()
		if m := p.mustBe(drained.name); m.Running != 0 || !m.Drained || !m.Draining || m.Status != "alive" {
			t.Errorf("as %s sees it: %+v, want it drained", p.name, m)
		}
	}
	checkDrained(rest[0])
	load.more(50)
	for _, p := range ps {
		p.ready()
		if p != drained {
			continue
		}
		if a := p.must(http.StatusOK, http.MethodGet, "/metrics", ""); !strings.Contains(string(a.body), "pytasks_node_draining 1") {
			t.Error("pytasks_node_draining is not 1")
		}
	}
	if ran := ps.where(60); ran[drained.name] != 0 {
		t.Errorf("of 60 tasks the nodes ran %v, want none by %s", ran, drained.name)
	}
	if out, err := rest[1].tool("cluster", "status"); err != nil || !strings.Contains(out, drained.name+" is drained: it takes no tasks and may be stopped") {
		t.Errorf("cluster status: %v: %s", err, out)
	}

	// It is stopped and started, and the others take turns in leading.
	drained.stop()
	load.more(20)
	drained.start()
	drained.ready()
	before := ps.leader()
	if out, want := drained.tools("cluster", "stepdown"), ps.without(drained, before)[0].name+" leads now"; !strings.Contains(out, want) {
		t.Errorf("stepdown printed %q, want %q", out, want)
	}
	load.more(50)
	for _, p := range ps {
		eventually(t, 5*time.Second, p.name+" has caught up", func() error {
			if !p.mustBe(drained.name).Drained {
				return errors.New("not drained")
			}
			return nil
		})
	}
	if ran := ps.where(60); ran[drained.name] != 0 {
		t.Errorf("after a restart: of 60 tasks the nodes ran %v, want none by %s", ran, drained.name)
	}

	handed := 0
	for _, id := range long {
		task := rest[1].succeeded(id, 25*time.Second)
		if !ran[id] {
			continue
		}
		handed++
		if task.Node == drained.name || len(task.Attempts) != 1 || task.Attempts[0].Reason != "drain" {
			t.Errorf("long task %s: on %s after %+v, want it handed back with the reason drain", id, task.Node, task.Attempts)
		}
	}
	if handed == 0 {
		t.Errorf("%s ran none of the long tasks", drained.name)
	}
	load.end()

	rest[0].tools("node", "drain", rest[0].name, "--timeout", "1s")
	if out, err := rest[0].tool("node", "drain", rest[1].name, "--no-wait"); err == nil || !strings.Contains(out, "nothing would run") || !strings.Contains(out, "--force") {
		t.Errorf("the last node: %v: %s", err, out)
	}
	rest[0].tools("node", "drain", rest[1].name, "--force", "--no-wait")
	eventually(t, 5*time.Second, "cluster status says that nothing runs", func() error {
		if out, err := rest[0].tool("cluster", "status"); err == nil || !strings.Contains(out, "no node takes tasks") {
			return errors.New(out)
		}
		return nil
	})
	waits := ps[0].submit(sleepFor(0))
	for _, p := range ps {
		if out := rest[0].tools("node", "resume", p.name); !strings.Contains(out, p.name+" takes tasks again") {
			t.Errorf("resume printed %q", out)
		}
	}
	ps[0].succeeded(waits, 10*time.Second)
	ps.workersReady()
}

// TestProcessDrainedLeads: a drained node that is elected, as the leader dies, passes the office on to one that takes tasks.
func TestProcessDrainedLeads(t *testing.T) {
	ps := startCluster(t, 3)
	for range 2 {
		leader := ps.leader()
		drained, other := ps.without(leader)[0], ps.without(leader)[1]
		leader.tools("node", "drain", drained.name)
		leader.kill()
		eventually(t, 20*time.Second, other.name+" leads", func() error {
			if got := ps.leader(); got != other {
				return fmt.Errorf("%s does", got.name)
			}
			return nil
		})
		leader.start()
		leader.ready()
		leader.tools("node", "resume", drained.name)
	}
}
