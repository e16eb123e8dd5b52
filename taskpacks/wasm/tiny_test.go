package wasm

import (
	"encoding/binary"
	"slices"
)

// A tiny assembler: modules that do one thing, and that no compiler would make.

const (
	i32Type, i64Type = 0x7f, 0x7e

	opUnreachable, opBranch, opBranchIf, opCall, opDrop = 0x00, 0x0c, 0x0d, 0x10, 0x1a
	opIf, opLoop, opEnd                                 = 0x04, 0x03, 0x0b
	opLoad, opStore, opGrow, opI32, opI64, opEqualZero  = 0x28, 0x36, 0x40, 0x41, 0x42, 0x45
)

// imports are the functions that a tiny module has, by number: a name and the types of the params. All but proc_exit return a
// number of an error.
var imports = []struct {
	name   string
	params []byte
}{
	{"proc_exit", []byte{i32Type}},
	{"fd_write", []byte{i32Type, i32Type, i32Type, i32Type}},
	{"fd_read", []byte{i32Type, i32Type, i32Type, i32Type}},
	{"path_open", []byte{i32Type, i32Type, i32Type, i32Type, i32Type, i64Type, i64Type, i32Type, i32Type}},
	{"path_create_directory", []byte{i32Type, i32Type, i32Type}},
	{"path_symlink", []byte{i32Type, i32Type, i32Type, i32Type, i32Type}},
	{"poll_oneoff", []byte{i32Type, i32Type, i32Type, i32Type}},
	{"sock_accept", []byte{i32Type, i32Type, i32Type}},
	{"args_get", []byte{i32Type, i32Type}},
	{"environ_get", []byte{i32Type, i32Type}},
}

// The layout of a tiny module's memory: an iovec, a number to write to, and the data.
const (
	iovec  = 0
	result = 16
	data   = 64
)

// tiny assembles a module. Its memory has so many pages, and the data at its place; code is _start, which function startIndex
// is, less its last byte.
func tiny(pages int, text string, code ...[]byte) []byte {
	types := [][]byte{functype(nil, nil)}
	var imported [][]byte
	for i, f := range imports {
		results := []byte{i32Type}
		if f.name == "proc_exit" {
			results = nil
		}
		types = append(types, functype(f.params, results))
		imported = append(imported, slices.Concat(str(wasiModule), str(f.name), []byte{0x00, byte(i + 1)}))
	}
	body := slices.Concat([]byte{0}, slices.Concat(code...), []byte{opEnd})
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, types...),
		section(2, imported...),
		section(3, []byte{0}),
		section(5, slices.Concat([]byte{0}, leb(pages))),
		section(7, slices.Concat(str("memory"), []byte{2, 0}), slices.Concat(str("_start"), []byte{0}, leb(startIndex()))),
		section(10, slices.Concat(leb(len(body)), body)),
		section(11, slices.Concat([]byte{0}, i32(data), []byte{opEnd}, str(text))),
	)
}

func startIndex() int { return len(imports) }

func functype(params, results []byte) []byte {
	return slices.Concat([]byte{0x60}, leb(len(params)), params, leb(len(results)), results)
}

func section(id byte, items ...[]byte) []byte {
	content := slices.Concat(leb(len(items)), slices.Concat(items...))
	return slices.Concat([]byte{id}, leb(len(content)), content)
}

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func str(s string) []byte { return append(leb(len(s)), s...) }

// signed is a number of an instruction, in ten bytes at most.
func signed(n int64) (b []byte) {
	for {
		low := byte(n & 0x7f)
		n >>= 7
		if n == 0 && low&0x40 == 0 || n == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

func i32(n int32) []byte { return append([]byte{opI32}, signed(int64(n))...) }
func i64(n int64) []byte { return append([]byte{opI64}, signed(n)...) }

// call calls an imported function with constants. Its result stays on the stack.
func callOf(name string, args ...int) (code []byte) {
	for i, f := range imports {
		if f.name != name {
			continue
		}
		for k, arg := range args {
			if f.params[k] == i64Type {
				code = append(code, i64(int64(arg))...)
			} else {
				code = append(code, i32(int32(arg))...)
			}
		}
		return append(append(code, opCall), leb(i)...)
	}
	panic("no import " + name)
}

func store(at, value int) []byte {
	return slices.Concat(i32(int32(at)), i32(int32(value)), []byte{opStore, 2, 0})
}

// write prints n bytes that are at a place in memory.
func write(fd, at, n int) []byte {
	return slices.Concat(store(iovec, at), store(iovec+4, n), callOf("fd_write", fd, iovec, 1, result), []byte{opDrop})
}

// exitWith ends the module with the number that a call leaves.
func exitWith(code ...[]byte) []byte { return append(slices.Concat(code...), callOf("proc_exit")...) }

func loop(code ...[]byte) []byte {
	return slices.Concat([]byte{opLoop, 0x40}, slices.Concat(code...), []byte{opBranch, 0, opEnd})
}

func exit(status int) []byte { return exitWith(i32(int32(status))) }
