// Package scheduler is what the leader does: it takes in every command of the
// cluster, decides which node runs which task, and keeps the cluster's timers,
// leases and limits. It works through the state and the log alone, so that a new
// leader goes on where the old one stopped; on a follower it is idle.
//
// Start with term.go, one time of leading, and its loop; then build.go, which
// makes the next log entry; pick.go is the choice of a node, a pure function.
//
//	Do ──▶ lanes ──▶ build (stamp, place, assign) ──▶ Propose ──▶ outcomes, nudges
//	                   ▲        ▲
//	     state: pending, load   pace: how long a type takes
//	                            workers: who is alive, by lease
//
// It does not run tasks, and it does not know how bytes reach a majority.
package scheduler
