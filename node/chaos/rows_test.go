//go:build linux

package chaos

import "time"

// rows returns the matrix: every fault, and the sizes of the clusters that suffer it.
func rows() []row {
	three, both := []int{3}, []int{3, 5}
	return []row{
		{name: "kill -9 the leader, 20 times", sizes: three, fault: func(r *run) { r.killLeaders(20) }},
		{name: "kill -9 the leader, 5 times", sizes: []int{5}, fault: func(r *run) { r.killLeaders(5) }},
		{name: "kill -9 a follower", sizes: both, fault: func(r *run) {
			n := r.all.follower()
			r.killed(n)
			r.restart(n)
		}},
		{name: "kill -9 all at once, 3 times", sizes: both, fault: (*run).killAll},
		{name: "cable of the leader pulled", sizes: both, writers: 16, rate: 15, lease: true, fault: func(r *run) { r.silent(r.all.leader()) }},
		{name: "cable of a follower pulled", sizes: three, writers: 16, rate: 15, lease: true, fault: func(r *run) { r.silent(r.all.follower()) }},
		{name: "SIGSTOP of the leader, 3 s", sizes: both, fault: func(r *run) { r.freeze(r.all.leader(), 3*time.Second) }},
		{name: "SIGSTOP of the leader, beyond its lease", sizes: three, writers: 40, rate: 6, lease: true, fault: func(r *run) { r.frozen(r.all.leader()) }},
		{name: "SIGSTOP of a follower, beyond its lease", sizes: both, writers: 40, rate: 6, lease: true, fault: func(r *run) { r.frozen(r.all.follower()) }},
		{name: "minority with the leader cut off", sizes: both, writers: 16, rate: 15, lease: true, fault: func(r *run) { r.cutOffMinority(true, 10*time.Second) }},
		{name: "minority of followers cut off", sizes: both, writers: 16, rate: 15, lease: true, fault: func(r *run) { r.cutOffMinority(false, 10*time.Second) }},
		{name: "no majority anywhere", sizes: both, writers: 16, rate: 15, lease: true, fault: (*run).allAlone},
		{name: "minority cut off for three minutes", sizes: three, writers: 40, rate: 6, lease: true, fault: func(r *run) { r.cutOffMinority(true, 3*time.Minute) }},
		{name: "leader hears nobody", sizes: both, writers: 16, rate: 15, lease: true, fault: func(r *run) { r.oneWay(true) }},
		{name: "nobody hears the leader", sizes: both, writers: 16, rate: 15, lease: true, fault: func(r *run) { r.oneWay(false) }},
		{name: "a bridge: two that do not reach each other", sizes: both, writers: 16, rate: 15, lease: true, fault: (*run).bridge},
		{name: "5 % of all packets lost", sizes: both, fault: func(r *run) { r.loss(0.05) }},
		{name: "20 % of all packets lost", sizes: three, rate: 60, lease: true, fault: func(r *run) { r.loss(0.2) }},
		{name: "rolling restart", sizes: both, orderly: true, flags: []string{"--drain-timeout", "3s"}, fault: (*run).rollingRestart},
		{name: "a voter with an empty disk, same address", sizes: three, fault: (*run).newDisk},
		{name: "a voter at another address, same disk", sizes: both, fault: (*run).newAddress},
		{name: "a dead voter replaced, new address and disk", sizes: three, fault: (*run).newNode},
		{name: "20 nodes join within 5 s, 4 of another cluster", sizes: three, fault: (*run).joinFlood},
		{name: "overload for 60 s: far more than ten times the load", sizes: three, writers: 16, rate: 15, flags: []string{"--max-queued", "20000", "--max-finished", "5000000"}, fault: (*run).overload},
		{name: "ambiguous submits: leaders killed before they answer, 1000 keys", sizes: three, failpoints: true, fault: (*run).ambiguous},
	}
}
