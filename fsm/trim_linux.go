package fsm

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// trimAbove is how many bytes of mapped files a process may hold before Trim lets
// go of the store's.
const trimAbove = 48 << 20

// Trim unmaps the pages of the store that this process has touched, if they are
// many. They stay in the kernel's cache and are mapped again when they are read:
// this only keeps the process as small as what it works on.
func (s *State) Trim() error {
	held, err := mappedBytes()
	if err != nil || held < trimAbove {
		return err
	}
	s.mu.RLock()
	db := s.db
	s.mu.RUnlock()
	// The store cannot move or close its mapping while a transaction reads it;
	// without that, the range could be somebody else's memory by now.
	return db.view(func(*bolt.Tx) error {
		start, end, err := mapping(db.Path())
		if err != nil {
			return err
		}
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
		if errno != 0 {
			return fmt.Errorf("madvise: %w", errno)
		}
		return nil
	})
}

// mappedBytes returns how much of the process's resident memory is mapped files.
func mappedBytes() (int64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 3 {
		return 0, fmt.Errorf("statm has %d fields", len(fields))
	}
	pages, err := strconv.ParseInt(string(fields[2]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// mapping returns where a file is mapped.
func mapping(path string) (start, end uintptr, err error) {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Bytes()
		if !bytes.HasSuffix(line, append([]byte(" "), path...)) {
			continue
		}
		var a, b uint64
		if _, err := fmt.Sscanf(string(line), "%x-%x ", &a, &b); err != nil {
			return 0, 0, fmt.Errorf("read memory map: %w", err)
		}
		return uintptr(a), uintptr(b), nil
	}
	return 0, 0, fmt.Errorf("%s is not mapped", path)
}
