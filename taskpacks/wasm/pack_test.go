package wasm

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"pytasks/taskpacks"
)

// underRace reports whether the race detector is on, which makes the compiler of modules take tens of seconds for one of Go.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// TestExample builds the example with the go tool and runs it.
func TestExample(t *testing.T) {
	if underRace() {
		t.Skip("the compiler takes too long under the race detector")
	}
	dir, m := buildExample(t)
	p, err := Open(t.Context(), dir, m, newHost(t, Config{}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r, err := taskpacks.NewRegistry(p.Pack)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, args, want, err string }{
		{"summary", `{"values": [1, 2, 3, 6]}`, `{"count":4,"least":1,"greatest":6,"mean":3,"spread":1.8708286933869707}`, ""},
		{"sentence", `{"values": [1, 2, 3.5], "digits": 1}`, `"3 values from 1.0 to 3.5\n"`, ""},
		{"sentence", `{"values": [7]}`, `"1 values from 7.00 to 7.00\n"`, ""},
		{"summary", `{"values": []}`, "", "summary exited with status 1: values is empty: pass one number at least"},
	}
	for _, tt := range tests {
		var log strings.Builder
		fn, _ := r.Func("numbers.main." + tt.name)
		got, err := fn.Call(taskpacks.WithCall(t.Context(), taskpacks.Call{Log: &log}), json.RawMessage(tt.args))
		switch {
		case tt.err == "" && (string(got) != tt.want || err != nil):
			t.Errorf("%s(%s) = %s, %v, want %s", tt.name, tt.args, got, err, tt.want)
		case tt.err != "" && (err == nil || err.Error() != tt.err || !strings.Contains(tt.err, strings.TrimSpace(log.String()))):
			t.Errorf("%s(%s) = %s, %v, log %q, want %s", tt.name, tt.args, got, err, &log, tt.err)
		}
	}
}

func TestOpenProblems(t *testing.T) {
	h := newHost(t, Config{MaxMemory: 2 * pageSize})
	good := tiny(1, "")
	noStart := slices.Concat([]byte("\x00asm\x01\x00\x00\x00"), section(5, []byte{0, 1}), section(7, slices.Concat(str("memory"), []byte{2, 0})))
	tests := []struct {
		more   string
		module []byte
		want   string
	}{
		{`{"module": ""}`, good, `pack tiny: task do: it names no module`},
		{`{"module": "../do.wasm"}`, good, `module "../do.wasm": name a file inside the pack's folder`},
		{`{"module": "main.wasm"}`, good, `main.wasm is not there: build it before the pack is installed, in Go with "GOOS=wasip1`},
		{`{"argv": ["sum"]}`, good, `argv is for packs of kind "command"`},
		{`{"input": "argv"}`, good, `input "argv": a module reads its arguments as JSON`},
		{`{"output": "fd4"}`, good, `output "fd4": use "json" or "text"`},
		{`{"memory": 200000}`, good, `memory 200000: this node allows 131072 bytes`},
		{`{"memory": 70000}`, tiny(2, ""), `it begins with 131072 bytes of memory and may have 65536`},
		{`{"timeout": "soon"}`, good, `timeout "soon"`},
		{``, tiny(3, ""), `it begins with 196608 bytes of memory and may have 131072`},
		{``, []byte("#!/bin/sh\n"), `do.wasm is no module that can be run: invalid magic number`},
		{``, good[:len(good)-5], `do.wasm is no module that can be run`},
		{``, noStart, `it has no _start, it is a library: build it as a WASI preview 1 command`},
		{``, []byte(strings.ReplaceAll(string(good), "sock_accept", "sock_listen")), `it imports wasi_snapshot_preview1.sock_listen`},
		{``, []byte(strings.ReplaceAll(string(good), "wasi_snapshot_preview1", "wasi_snapshot_preview2")), `it imports wasi_snapshot_preview2.proc_exit`},
	}
	for _, tt := range tests {
		_, err := openPack(t, h, tt.more, map[string][]byte{"do": tt.module})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q in it", tt.more, err, tt.want)
		}
	}
}

func TestConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Dir is empty":          {},
		"MaxMemory is 100":      {Dir: "x", MaxMemory: 100},
		"MaxResult is negative": {Dir: "x", MaxResult: -1},
	} {
		if h, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v) = %v, %v, want an error with %q in it", cfg, h, err, want)
		}
	}
	fn := openTiny(t, newHost(t, Config{MaxMemory: 16 << 30}), "", tiny(1, "1", write(1, data, 1)))
	if got, err := fn.Call(t.Context(), nil); string(got) != "1" || err != nil {
		t.Errorf("with memory for all that a module can address: got %s, %v, want 1", got, err)
	}
}

// TestClose replaces a pack by one with the same module.
func TestClose(t *testing.T) {
	h := newHost(t, Config{})
	module := map[string][]byte{"do": tiny(1, "1", write(1, data, 1))}
	before, err := openPack(t, h, "", module)
	if err != nil {
		t.Fatal(err)
	}
	after, err := openPack(t, h, "", module)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := before.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := before.Funcs[0].Call(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, ErrClosed)
	}
	if got, err := after.Funcs[0].Call(t.Context(), nil); string(got) != "1" || err != nil {
		t.Errorf("its successor: got %s, %v, want 1", got, err)
	}
}

// TestCloseUnderCall closes a pack while a call of it runs, which goes on to its end.
func TestCloseUnderCall(t *testing.T) {
	p, err := openPack(t, newHost(t, Config{}), "", map[string][]byte{"do": tiny(1, "1", write(2, data, 1), write(1, data, 1))})
	if err != nil {
		t.Fatal(err)
	}
	ctx := taskpacks.WithCall(t.Context(), taskpacks.Call{Log: writerFunc(func([]byte) { p.Close() })})
	if got, err := p.Funcs[0].Call(ctx, nil); string(got) != "1" || err != nil {
		t.Errorf("got %s, %v, want 1", got, err)
	}
	if len(p.code) > 0 {
		t.Errorf("%d modules are left when the last call has ended, want 0", len(p.code))
	}
}

// TestCache damages compiled code in every way that a disk knows: it is compiled anew, and kept again.
func TestCache(t *testing.T) {
	dir := t.TempDir()
	run := func(where string) {
		t.Helper()
		h := newHost(t, Config{Cache: dir})
		defer h.Close()
		fn := openTiny(t, h, "", tiny(1, "1", write(1, data, 1)))
		if got, err := fn.Call(t.Context(), nil); string(got) != "1" || err != nil {
			t.Errorf("%s: got %s, %v, want 1", where, got, err)
		}
	}
	// files are those of compiled code.
	files := func() (paths []string) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Base(path) != sealsFile {
				paths = append(paths, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return paths
	}
	edit := func(path string, change func(text []byte) []byte) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	run("empty")
	written := files()
	if len(written) == 0 {
		t.Skip("wazero has no compiler for this platform, so there is no code to keep")
	}
	whole, err := os.ReadFile(written[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, len(whole) / 2, len(whole) - 1} {
		edit(written[0], func(text []byte) []byte { text[at] ^= 1; return text })
		run("after a flipped bit")
		if again, err := os.ReadFile(written[0]); !bytes.Equal(again, whole) || err != nil {
			t.Errorf("after a flipped bit in byte %d of %d: the file is not as it was, %v", at, len(whole), err)
		}
	}
	edit(written[0], func(text []byte) []byte { return text[:len(text)/2] })
	run("cut in half")
	edit(filepath.Join(dir, sealsFile), func(text []byte) []byte { return []byte("{") })
	run("without seals")
	if again := files(); !slices.Equal(again, written) {
		t.Errorf("without seals: got the files %v, want %v", again, written)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("where the folder is a file")
}

// TestCacheLost takes the folder away from under a host, which goes on in memory.
func TestCacheLost(t *testing.T) {
	dir := t.TempDir()
	h := newHost(t, Config{Cache: dir})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := openTiny(t, h, "", tiny(1, "1", write(1, data, 1))).Call(t.Context(), nil); string(got) != "1" || err != nil {
		t.Errorf("got %s, %v, want 1", got, err)
	}
}

// TestTables holds the tables of a module to what the node has for them.
func TestTables(t *testing.T) {
	grow := func(tables ...[]byte) []byte {
		module := tiny(1, "", exitWith([]byte{0xd0, funcRef}, i32(maxTable+1), []byte{0xfc, 15, 0}))
		memory := section(5, []byte{0, 1})
		return []byte(strings.Replace(string(module), string(memory), string(section(tableSection, tables...))+string(memory), 1))
	}
	h := newHost(t, Config{})
	for name, table := range map[string][]byte{"no maximum": {funcRef, 0, 0}, "a large one": {funcRef, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}} {
		_, err := openTiny(t, h, "", grow(table)).Call(t.Context(), nil)
		if want := "do exited with status 4294967295"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s, for -1", name, err, want)
		}
	}
	for want, tables := range map[string][][]byte{
		"a table of 4194304 elements, 1048576 at most": {{funcRef, 0, 0x80, 0x80, 0x80, 0x02}},
		"a table of 1048576 elements, 524288 at most":  {{funcRef, 0, 0}, {externRef, 0, 0x80, 0x80, 0x40}},
		"a section of 0 tables":                        {},
		"a table of a kind that is not known":          {{0x40, 0, funcRef, 0, 0}},
	} {
		if _, err := openPack(t, h, "", map[string][]byte{"do": grow(tables...)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q in it", err, want)
		}
	}
}
