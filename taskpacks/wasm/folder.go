package wasm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"

	"pytasks/taskpacks"
)

const (
	// maxOpen bounds the files that a call has open: they are the node's files.
	maxOpen = 256
	// maxWritten bounds what a call writes to its folder, in bytes: it is the node's disk.
	maxWritten = 1 << 30
)

// folder is the folder of one call as its module sees it. wazero keeps paths inside, yet follows symbolic links wherever they
// lead: a module must not make any.
type folder struct {
	sys.FS
	open    map[*file]struct{}
	used    bool // there may be something in it
	written int64
	stop    func(error) // ends the call
}

func newFolder(dir string, stop func(error)) *folder {
	return &folder{FS: sysfs.DirFS(dir), open: map[*file]struct{}{}, stop: stop}
}

// folder returns an empty folder for a call: one that a call has not used, or a new one.
func (h *Host) folder() (string, error) {
	h.mu.Lock()
	if n := len(h.folders); n > 0 {
		dir := h.folders[n-1]
		h.folders = h.folders[:n-1]
		h.mu.Unlock()
		return dir, nil
	}
	h.mu.Unlock()
	dir, err := os.MkdirTemp(h.cfg.Dir, scratchPrefix)
	if err != nil {
		return "", fmt.Errorf("make the task's folder: %w", err)
	}
	return dir, nil
}

// discard takes back the folder of a call. Making one takes longer than running a small module.
func (h *Host) discard(dir string, used bool) {
	if used {
		h.remove(dir)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.folders = append(h.folders, dir)
}

func (h *Host) remove(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		h.log.Warn("a task's folder is left behind", "dir", dir, "err", err)
	}
}

// Symlink implements sys.FS.
func (*folder) Symlink(_, _ string) sys.Errno { return sys.EPERM }

// Mkdir implements sys.FS.
func (d *folder) Mkdir(path string, perm fs.FileMode) sys.Errno {
	d.used = true
	return d.FS.Mkdir(path, perm)
}

// Utimens implements sys.FS.
func (d *folder) Utimens(path string, atim, mtim int64) sys.Errno {
	d.used = true // the times of the folder itself
	return d.FS.Utimens(path, atim, mtim)
}

// OpenFile implements sys.FS.
func (d *folder) OpenFile(path string, flag sys.Oflag, perm fs.FileMode) (sys.File, sys.Errno) {
	d.used = true
	if len(d.open) >= maxOpen {
		return nil, sys.EIO // of the numbers that there are the nearest to EMFILE
	}
	opened, errno := d.FS.OpenFile(path, flag, perm)
	if errno != 0 {
		return nil, errno
	}
	f := &file{File: opened, dir: d}
	d.open[f] = struct{}{}
	return f, 0
}

// close closes what the module has left open.
func (d *folder) close() {
	for f := range d.open {
		f.Close()
	}
}

// file is one that the module has opened.
type file struct {
	sys.File
	dir *folder
}

func (f *file) Write(buf []byte) (int, sys.Errno) {
	if !f.dir.mayWrite(len(buf)) {
		return 0, sys.EIO
	}
	return f.File.Write(buf)
}

func (f *file) Pwrite(buf []byte, off int64) (int, sys.Errno) {
	if !f.dir.mayWrite(len(buf)) {
		return 0, sys.EIO
	}
	return f.File.Pwrite(buf, off)
}

func (f *file) Close() sys.Errno {
	delete(f.dir.open, f)
	return f.File.Close()
}

func (d *folder) mayWrite(n int) bool {
	d.written += int64(n)
	if d.written <= maxWritten {
		return true
	}
	d.stop(taskpacks.Permanent(errors.New("the module wrote more than 1 GiB to its folder: write less")))
	return false
}
