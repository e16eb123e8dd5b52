package wasm

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// dataOf is a module of nothing but data segments.
func dataOf(segments ...segment) []byte {
	var items [][]byte
	for _, s := range segments {
		items = append(items, slices.Concat([]byte{0}, i32(int32(s.addr)), []byte{opEnd}, str(string(s.data))))
	}
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"), section(1, functype(nil, nil)), section(dataSection, items...), section(0, str("name")))
}

func TestJoinData(t *testing.T) {
	text := func(addr uint32, s string) segment { return segment{addr, []byte(s)} }
	long := strings.Repeat("x", 100)
	tests := []struct {
		name     string
		in, want []segment // want is nil where all stays as it is
	}{
		{"none", nil, []segment{}},
		{"one", []segment{text(64, "a")}, []segment{text(64, "a")}},
		{"neighbours", []segment{text(0, "ab"), text(2, "c"), text(6, "d")}, []segment{text(0, "abc\x00\x00\x00d")}},
		{"far", []segment{text(0, long), text(165, "b"), text(230, "c")}, []segment{text(0, long), text(165, "b"+string(make([]byte, 64))+"c")}},
		{"any order", []segment{text(5, "b"), text(3, "a"), text(1<<31, "d")}, []segment{text(3, "a\x00b"), text(1<<31, "d")}},
		{"overlap", []segment{text(0, "abc"), text(2, "d")}, nil},
		{"the same twice", []segment{text(0, "abc"), text(0, "d")}, nil},
	}
	for _, tt := range tests {
		in := dataOf(tt.in...)
		want := in
		if tt.want != nil {
			want = dataOf(tt.want...)
		}
		if got := joinData(in); !bytes.Equal(got, want) {
			t.Errorf("%s: got %q\nwant %q", tt.name, got, want)
		}
	}
	near := dataOf(text(0, "a"), text(2, "b"))
	for name, in := range map[string][]byte{
		"counted":        slices.Concat(near, section(dataCountSection)),
		"passive":        slices.Concat(near[:8], section(dataSection, slices.Concat([]byte{1}, str("a")))),
		"from a global":  slices.Concat(near[:8], section(dataSection, []byte{0, 0x23, 0, opEnd, 0})),
		"too long":       slices.Concat(near[:8], section(dataSection, slices.Concat([]byte{0}, i32(0), []byte{opEnd, 9, 'a'}))),
		"something more": slices.Concat(near[:8], section(dataSection, slices.Concat([]byte{0}, i32(0), []byte{opEnd, 0, 'a'}))),
	} {
		if got := joinData(in); !bytes.Equal(got, in) {
			t.Errorf("%s: got %q, want no change", name, got)
		}
	}
	for n := range near { // whatever is there of a module
		joinData(near[:n])
	}
}

// TestJoinDataBound: what is written between segments does not make a module of many small ones much larger.
func TestJoinDataBound(t *testing.T) {
	var many []segment
	for i := range uint32(10_000) {
		many = append(many, segment{i * 60, []byte{1}})
	}
	in := dataOf(many...)
	if got := joinData(in); len(got) > 2*len(in) || len(got) <= len(in) {
		t.Errorf("got %d bytes of %d, want more, and twice as many at most", len(got), len(in))
	}
}

// TestJoinDataMemory sets the memory that drawn segments make, as they were and as they are joined.
func TestJoinDataMemory(t *testing.T) {
	const size = 4096
	load := func(module []byte) []byte {
		at, _ := findSection(module, dataSection)
		all, ok := readSegments(at.content(module))
		if !ok {
			t.Fatalf("a section that cannot be read: %q", at.content(module))
		}
		memory := make([]byte, size)
		for _, s := range all {
			copy(memory[s.addr:], s.data)
		}
		return memory
	}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 0))
		var all []segment
		for range r.IntN(20) {
			data := make([]byte, r.IntN(30))
			for i := range data {
				data[i] = byte(r.IntN(3))
			}
			all = append(all, segment{uint32(r.IntN(size - 30)), data})
		}
		in := dataOf(all...)
		if got, want := load(joinData(in)), load(in); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: another memory", seed)
		}
	}
}
