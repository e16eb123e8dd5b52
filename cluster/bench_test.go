package cluster

import (
	"sync/atomic"
	"testing"
)

// BenchmarkPropose is three nodes on one machine with fsync: the latency of one proposer, and what many reach together.
func BenchmarkPropose(b *testing.B) {
	nodes := trio(b)
	lead := leader(b, nodes)
	entry := make([]byte, 512)
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := lead.Propose(b.Context(), entry); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("many", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, _, err := lead.Propose(b.Context(), entry); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkReadIndex is a follower that asks for a linearizable read index.
func BenchmarkReadIndex(b *testing.B) {
	nodes := trio(b)
	follower := followers(nodes, leader(b, nodes))[0]
	var failed atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := follower.ReadIndex(b.Context()); err != nil {
				failed.Add(1)
			}
		}
	})
	if n := failed.Load(); n > 0 {
		b.Errorf("%d of %d failed", n, b.N)
	}
}
