package node

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// TestProcessLeaderKilledUnderLoad: 10,000 tasks over 64 connections spread over three
// nodes, the leader killed in the middle and its node restarted. Every task that was
// acknowledged succeeds, once, and all nodes tell the same of it.
func TestProcessLeaderKilledUnderLoad(t *testing.T) {
	ps := startCluster(t, 3)
	all := ps.sums(10_000, 64, map[int]func(){
		4000: func() {
			leader := ps.leader()
			leader.kill()
			leader.start()
		},
	})
	ps.ready()
	ps.checkSums(all, 0)
}

// TestProcessMajority: with one of three nodes down everything goes on. With two down
// writes are refused in time and what is known is still told, whether the last node
// led or followed. When they are back everything goes on, and nothing is lost.
func TestProcessMajority(t *testing.T) {
	ps := startCluster(t, 3)
	leader := ps.leader()
	followers := ps.without(leader)

	followers[0].kill()
	known := ps.sumsAtEach(ps.up())
	leader.kill() // the other follower is left
	checkMinority(t, followers[1], known[0])
	startAll(leader, followers[0])
	ps.ready()
	known = append(known, ps.sumsAtEach(ps)...)

	leader = ps.leader()
	ps.without(leader)[0].kill()
	ps.without(leader)[1].kill()
	checkMinority(t, leader, known[0])
	startAll(ps.without(leader)...)
	ps.ready()
	known = append(known, ps.sumsAtEach(ps)...)
	for _, id := range known {
		for _, p := range ps {
			p.succeeded(id, 10*time.Second)
		}
	}
}

// sumsAtEach adds numbers at each of some nodes and returns the tasks' ids.
func (ps processes) sumsAtEach(some processes) []string {
	var ids []string
	for i := range 30 {
		p := some[i%len(some)]
		p.t.Helper()
		var id string
		eventually(p.t, 10*time.Second, p.name+" takes a task", func() error {
			s := &sum{number: i}
			a, err := send(p, http.MethodPost, "/task?wait=10s", s.body())
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%v", a)
			}
			id = member(a.body, "id")
			return err
		})
		ids = append(ids, id)
	}
	return ids
}

func startAll(ps ...*process) {
	for _, p := range ps {
		p.start()
	}
}

// checkMinority looks at the last node of three.
func checkMinority(t *testing.T, p *process, known string) {
	t.Helper()
	const limit = 5 * time.Second
	refusals := []string{"no_leader", "unknown", "timeout"}
	check := func(what, method, path, body string) {
		start := time.Now()
		a, err := send(p, method, path, body)
		since(t, start, limit, what)
		if err != nil || a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !slices.Contains(refusals, a.code()) {
			t.Errorf("%s: got %v %v (%v), want 503 with Retry-After and a code of %v", what, a, a.header, err, refusals)
		}
	}
	missing := "0190a0a0-0000-7000-8000-000000000000"
	body := `{"type":"test.main.add","args":{"x":1,"y":2}}`
	checks := []func(){
		func() { check("a write", http.MethodPost, "/task", body) },
		func() { check("a batch", http.MethodPost, "/tasks/batch", `{"tasks":[`+body+`]}`) },
		func() { check("a cancel", http.MethodPost, "/task/"+known+"/cancel", "") },
		func() {
			check("a linearizable read", http.MethodGet, "/task/"+known+"?consistency=linearizable", "")
		},
		func() { p.must(http.StatusOK, http.MethodGet, "/task/"+known, "") },
		func() { p.must(http.StatusOK, http.MethodGet, "/task/"+known+"?consistency=stale", "") },
		func() { p.must(http.StatusNotFound, http.MethodGet, "/task/"+missing+"?consistency=stale", "") },
		func() { p.must(http.StatusOK, http.MethodGet, "/task?limit=5", "") },
		func() { p.must(http.StatusOK, http.MethodGet, "/livez", "") },
	}
	atOnce(len(checks), func(i int) { checks[i]() })
	eventually(t, limit, "the last node is not ready", func() error {
		a, err := send(p, http.MethodGet, "/readyz", "")
		if err == nil && a.status != http.StatusServiceUnavailable {
			err = fmt.Errorf("%v", a)
		}
		return err
	})
	p.must(http.StatusOK, http.MethodGet, "/task/"+known, "")
	// Not before: while the lease of a leader lasts nobody else leads, and its 404 is right.
	check("a read of an unknown task", http.MethodGet, "/task/"+missing, "")
}
