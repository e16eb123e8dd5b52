//go:build linux

package process

import (
	"fmt"
	"testing"
)

func BenchmarkWarm(b *testing.B) {
	for _, size := range []int{16, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			h := newHost(b, Config{MaxCalls: 1 << 30})
			p := h.NewPool(program(b, "worker"))
			call(b, p, "pid", nil)
			text := args(b, arg{"n": size})
			for b.Loop() {
				if _, err := p.Call(b.Context(), Request{ID: "01234567-89ab-cdef", Attempt: 1, Node: "n1", Task: "long", Args: text}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCold(b *testing.B) {
	h := newHost(b, Config{MaxCalls: 1})
	p := h.NewPool(program(b, "worker"))
	for b.Loop() {
		call(b, p, "pid", nil)
	}
}

func BenchmarkOnce(b *testing.B) {
	h := newHost(b, Config{})
	for b.Loop() {
		if _, err := h.Once(b.Context(), Program{Argv: []string{"/bin/true"}}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
