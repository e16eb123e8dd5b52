//go:build linux

package chaos

import (
	"net/http"
	"os"
	"strings"
	"time"
)

// newDisk replaces a node by one with its name and address and an empty disk.
func (r *run) newDisk() {
	r.Helper()
	n := r.all.follower()
	r.kill(n)
	check(r, os.RemoveAll(n.data()))
	check(r, os.Mkdir(n.data(), 0o700))
	n.flags = append(dropFlag("--bootstrap-expect", n.flags), "--join", r.all.joinAddrs())
	n.start()
	r.measured("as many voters again", r.all.vote(votersIn), votersIn)
}

// newAddress moves a node, with its disk, to another host.
func (r *run) newAddress() {
	r.Helper()
	n := r.all.follower()
	r.recorder.Note("move", n.name)
	n.stop()
	h, err := r.network.addHost()
	check(r, err)
	n.move(h)
	r.faults++
	n.start()
	r.measured("as many voters again", r.all.vote(votersIn), votersIn)
}

// newNode replaces a dead node by one with another name, address and disk.
func (r *run) newNode() {
	r.Helper()
	dead := r.all.follower()
	r.kill(dead)
	start := time.Now()
	dead.out = true
	r.gone = append(r.gone, dead.name)
	n := r.newcomer()
	n.start()
	rest := r.all.without(dead)
	rest.vote(votersIn + 30*time.Second)
	r.measured("as many voters again", time.Since(start), votersIn)
	r.stand(n, dead)
	eventually(r, 20*time.Second, dead.name+" is removed", func() error {
		a, err := n.send(5*time.Second, http.MethodDelete, "/nodes/"+dead.name, "")
		return statusError(a, err, http.StatusOK)
	})
}

// stand has clients of a node that is gone use another.
func (c *cluster) stand(in, gone *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in.replaces = gone.name
}

// dropFlag returns flags but one, which has a value.
func dropFlag(flag string, flags []string) []string {
	var kept []string
	for i := 0; i < len(flags); i++ {
		if flags[i] == flag {
			i++
			continue
		}
		kept = append(kept, flags[i])
	}
	return kept
}

// joinFlood has many nodes join within 5 s, and some that belong to another cluster.
func (r *run) joinFlood() {
	r.Helper()
	const many, strange = 20, 4
	before, err := r.all[0].view()
	check(r, err)
	founders := r.all
	var strangers nodes
	for range strange {
		n := r.newcomer()
		n.out = true
		n.flags = dropFlag("--join", n.flags) // founds a cluster of its own
		n.start()
		eventually(r, 10*time.Second, n.name+" has a cluster", func() error {
			a, err := n.send(time.Second, http.MethodGet, "/readyz", "")
			return statusError(a, err, http.StatusOK)
		})
		n.stop()
		n.flags = append(n.flags, "--join", founders.joinAddrs())
		strangers = append(strangers, n)
	}
	var newcomers nodes
	for range many {
		newcomers = append(newcomers, r.newcomer())
	}
	r.faults++
	start := time.Now()
	for i, n := range newcomers {
		n.flags = append(dropFlag("--join", n.flags), "--join", founders.joinAddrs())
		n.start()
		if i < strange {
			strangers[i].start()
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		r.Errorf("starting %d nodes took %s, want a flood", many, took)
	}
	for _, n := range strangers {
		if code := n.ends(20 * time.Second); code == 0 || !strings.Contains(n.log(), "another cluster") && !strings.Contains(n.log(), "belongs to cluster") {
			r.Errorf("%s, of another cluster, ended with status %d, want a failure that says why", n.name, code)
		}
	}
	members := append(founders, newcomers...)
	r.measured("all newcomers are members", members.whole(votersIn), votersIn)
	after, err := r.all[0].view()
	check(r, err)
	if after.Term != before.Term || after.Leader != before.Leader {
		r.Errorf("the leader changed from %s in term %d to %s in term %d", before.Leader, before.Term, after.Leader, after.Term)
	}
	for _, n := range newcomers {
		n.kill() // one after another could not be told from a fault of its own
		n.out = true
	}
	r.measured("next write without them", founders.nextWrite(time.Now()), 10*time.Second)
}
