// Package datadir is what may be done with a node's data directory as a whole: opening it, so that no other process does
// (datadir.go), taking one of a pool (pool.go), and, while no node runs there, making it that of a new cluster: from a
// snapshot (restore.go), or of a node that has lost the others (recover.go).
package datadir
