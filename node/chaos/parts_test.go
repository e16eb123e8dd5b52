//go:build linux

package chaos

import (
	"time"
)

// silent pulls a host's cable: nobody is told that its node is gone.
func (r *run) silent(n *node) {
	r.Helper()
	lost := r.busy(n, 25*time.Second)
	start := time.Now()
	r.faults++
	r.recorder.Note("unplug", n.name)
	check(r, r.network.unplug(n.host))
	rest := r.all.without(n)
	r.measured("next write, a node silent", rest.nextWrite(start), silentWrite)
	r.measured("tasks elsewhere, their node silent", rest.elsewhere(lost, n, start, silentIn), silentIn)
	r.heal()
	r.refused(lost, n)
}

// cutOffMinority cuts off as many nodes as the rest can do without.
func (r *run) cutOffMinority(withLeader bool, d time.Duration) {
	r.Helper()
	known := r.known()
	leader := r.all.leader()
	others := r.all.without(leader)
	count := (len(r.all) - 1) / 2
	some := others[:count]
	if withLeader {
		some = append(nodes{leader}, others[:count-1]...)
	}
	start := time.Now()
	r.split(some...)
	rest := r.all.without(some...)
	r.measured("next write, a node silent", rest.nextWrite(start), silentWrite)
	r.minority(some, known)
	time.Sleep(d - time.Since(start))
	if got := rest.leader(); withLeader && got == leader {
		r.Errorf("%s, which is cut off, leads the rest", leader.name)
	}
	r.heal()
}

// allAlone cuts every link.
func (r *run) allAlone() {
	r.Helper()
	known := r.known()
	r.faults++
	r.recorder.Note("all cut off", "")
	for _, a := range r.network.hosts {
		for _, b := range r.network.hosts {
			if a != b {
				check(r, r.network.cut(a, b))
			}
		}
	}
	r.minority(r.all, known)
	start := time.Now()
	r.recorder.Note("heal", "")
	check(r, r.network.heal())
	r.measured("next write after healing", r.all.nextWrite(start), 10*time.Second)
	r.measured("whole after healing", r.all.whole(healIn), healIn)
}

// oneWay makes the leader deaf, or dumb, for 10 s.
func (r *run) oneWay(deaf bool) {
	r.Helper()
	leader := r.all.leader()
	rest := r.all.without(leader)
	start := time.Now()
	r.faults++
	r.recorder.Note("one way", leader.name)
	for _, n := range rest {
		from, to := leader.host, n.host
		if deaf {
			from, to = to, from
		}
		check(r, r.network.cut(from, to))
	}
	r.measured("next write, a node silent", rest.nextWrite(start), silentWrite)
	time.Sleep(10*time.Second - time.Since(start))
	r.heal()
}

// bridge cuts the leader from one follower: all others reach both.
func (r *run) bridge() {
	r.Helper()
	leader := r.all.leader()
	other := r.all.without(leader)[0]
	before, err := leader.view()
	check(r, err)
	start := time.Now()
	r.faults++
	r.recorder.Note("bridge", other.name)
	check(r, r.network.cut(leader.host, other.host))
	check(r, r.network.cut(other.host, leader.host))
	r.measured("next write", r.all.nextWrite(start), nextWriteIn)
	const lasts = 15 * time.Second
	time.Sleep(lasts - time.Since(start))
	after, err := leader.view()
	check(r, err)
	if terms := after.Term - before.Term; terms > 2 {
		r.Errorf("%d terms in %s: two nodes that do not reach each other unseat leaders", terms, lasts)
	}
	r.heal()
}

// loss makes a share of the packets vanish at every host.
func (r *run) loss(share float64) {
	r.Helper()
	r.faults++
	r.recorder.Note("loss", "")
	for _, h := range r.network.hosts {
		check(r, r.network.lose(h, share))
	}
	r.more(500)
	time.Sleep(10 * time.Second)
	r.heal()
}
