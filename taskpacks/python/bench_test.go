package python

import (
	"testing"

	"pytasks/taskpacks/process"
)

func BenchmarkWarmCall(b *testing.B) {
	p := mustOpen(b, "testdata/reference")
	call := process.Request{ID: "id", Attempt: 1, Task: "reference.main.upside_down"}
	for b.Loop() {
		if _, err := p.pool.Call(b.Context(), call); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkColdCall measures a call that starts its worker.
func BenchmarkColdCall(b *testing.B) {
	p := mustOpen(b, "testdata/reference")
	call := process.Request{ID: "id", Attempt: 1, Task: "reference.main.upside_down"}
	for b.Loop() {
		pool := p.host.NewPool(p.program("serve"))
		if _, err := pool.Call(b.Context(), call); err != nil {
			b.Fatal(err)
		}
		pool.Close()
	}
}

func BenchmarkOpen(b *testing.B) {
	o := options(b, "testdata/reference")
	for b.Loop() {
		p, err := Open(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}
