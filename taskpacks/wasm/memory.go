package wasm

import (
	"fmt"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// memory is what one call has as its module's memory: addresses for all that it may have, to which the kernel gives pages as
// they are touched. So growing copies nothing, and what a call took is free again when it ends, not when the garbage collector
// comes by.
type memory struct {
	area    []byte
	refused bool // the module asked for more than it may have
}

func newMemory(limit int64) (*memory, error) {
	area, err := unix.Mmap(-1, 0, int(limit), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("no memory for a module: %d bytes of addresses: %w", limit, err)
	}
	return &memory{area: area}, nil
}

// Allocate implements experimental.MemoryAllocator. A module has one memory.
func (m *memory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate implements experimental.LinearMemory; nil makes memory.grow return -1.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.area)) {
		m.refused = true
		return nil
	}
	return m.area[:size:size]
}

// Free implements experimental.LinearMemory. It leaves the memory to release: wazero calls it when a context ends, too.
func (m *memory) Free() {}

// release gives the memory back. No code of the module may run any more.
func (m *memory) release() { _ = unix.Munmap(m.area) }
