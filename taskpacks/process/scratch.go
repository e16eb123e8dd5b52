package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// folder makes an empty folder and returns its path.
func (h *Host) folder() (string, error) {
	path := h.cfg.Dir + "/" + scratchPrefix + strconv.FormatUint(h.folders.Add(1), 10)
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for the task: %w", err)
	}
	return path, nil
}

// discard removes a folder that folder made.
func (h *Host) discard(path string) {
	if err := removeAll(path); err != nil {
		h.log.Warn("files of a task not removed", "err", err)
	}
}

// untouched reports whether a folder is as folder made it.
func untouched(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil || info.Mode&0o7777 != 0o700 {
		return false
	}
	var buf [4096]byte
	for {
		n, err := unix.ReadDirent(fd, buf[:])
		if err != nil {
			return false
		}
		if n == 0 {
			return true
		}
		if _, count, _ := unix.ParseDirent(buf[:n], 1, nil); count > 0 { // "." and ".." do not count
			return false
		}
	}
}

// removeAll removes a tree, also one whose folders were made unreadable.
func removeAll(path string) error {
	err := os.Remove(path) // most are empty
	if err == nil {
		return nil
	}
	if err = os.RemoveAll(path); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	// WalkDir visits a folder before it reads it.
	filepath.WalkDir(path, func(sub string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(sub, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}
