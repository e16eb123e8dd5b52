package wasm

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pytasks/taskpacks"
)

// buildExample copies the example to a fresh folder and builds its module there.
func buildExample(t testing.TB) (dir string, m *taskpacks.Manifest) {
	t.Helper()
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go on PATH")
	}
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("example")); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), goTool, "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "main.wasm"), ".")
	build.Dir = "example"
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if m, err = taskpacks.ReadManifest(dir, "", ""); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

// BenchmarkOpen compiles the example's 3 MB of Go, or finds it in the cache.
func BenchmarkOpen(b *testing.B) {
	dir, m := buildExample(b)
	cache := b.TempDir()
	open := func() {
		h := newHost(b, Config{Cache: cache})
		p, err := Open(b.Context(), dir, m, h)
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
		h.Close()
	}
	b.Run("compiled", func(b *testing.B) {
		for b.Loop() {
			os.RemoveAll(cache)
			open()
		}
	})
	b.Run("cached", func(b *testing.B) {
		open()
		for b.Loop() {
			open()
		}
	})
}

// BenchmarkCall is one call: of the example, whose runtime is Go's, and of a module that has none.
func BenchmarkCall(b *testing.B) {
	h := newHost(b, Config{})
	b.Run("Go", func(b *testing.B) {
		dir, m := buildExample(b)
		p, err := Open(b.Context(), dir, m, h)
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		benchmarkCall(b, &p.Funcs[1], `{"values": [1, 2, 3]}`)
	})
	b.Run("tiny", func(b *testing.B) {
		benchmarkCall(b, openTiny(b, h, "", tiny(1, "1", write(1, data, 1))), `{}`)
	})
}

func benchmarkCall(b *testing.B, fn *taskpacks.Func, args string) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fn.Call(b.Context(), json.RawMessage(args)); err != nil {
			b.Fatal(err)
		}
	}
}
