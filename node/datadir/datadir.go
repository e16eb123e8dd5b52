package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/uuid"

	"pytasks/node/config"
	"pytasks/node/failpoint"
)

const IdentityFile = "node.json"

// identity is who a data directory is. An empty directory is a new node.
type identity struct {
	ID   string `json:"id"`   // a UUID, for ever
	Boot uint64 `json:"boot"` // counts the starts
}

// ErrUsed is that of a directory which another process has locked.
var ErrUsed = errors.New("is used by another process")

// Dir is a node's data directory, locked against a second process.
type Dir struct {
	Path string
	identity
	lock *os.File
}

// Open makes the directory if need be, locks it and counts this start.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if err := keepPrivate(path); err != nil {
		return nil, err
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{Path: path, lock: lock}
	if err := d.count(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// OpenOffline locks the directory of a node that was started before and does not run. It does not count as a start.
func OpenOffline(path string) (*Dir, error) {
	if _, err := os.Stat(filepath.Join(path, IdentityFile)); err != nil {
		return nil, fmt.Errorf("%s is no data directory of a node: %w", path, err)
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{Path: path, lock: lock}
	if err := d.read(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// lockDir keeps other processes from using a data directory until the file is closed.
func lockDir(path string) (*os.File, error) {
	if _, err := os.Stat(filepath.Join(path, RestoringFile)); err == nil {
		return nil, fmt.Errorf("restoring a snapshot into %s did not come to its end: empty the directory, and restore it again", path)
	}

	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock data directory %s: %w", path, err)
		}
		return nil, fmt.Errorf("data directory %s %w: stop that one, or give this node another --data-dir", path, ErrUsed)
	}
	return lock, nil
}

// keepPrivate sees to it that nobody else reads what will be in a data directory. One with data
// in it that others can read is refused: who has read it already?
func keepPrivate(path string) error {
	if config.CheckPrivate(path) == nil {
		return nil
	}
	if inside, err := os.ReadDir(path); err == nil && len(inside) == 0 && os.Chmod(path, 0o700) == nil {
		return nil // made for the node, by a container or a service manager
	}
	return fmt.Errorf("data directory: %w", config.CheckPrivate(path))
}

// count counts this start.
func (d *Dir) count() error {
	err := d.read()
	if errors.Is(err, os.ErrNotExist) {
		d.ID, err = uuid.NewString(), nil
	}
	if err != nil {
		return err
	}
	d.Boot++
	return d.write()
}

// read reads the identity, os.ErrNotExist if there is none yet.
func (d *Dir) read() error {
	file := filepath.Join(d.Path, IdentityFile)
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read identity: %w", err)
	}
	if err := json.Unmarshal(text, &d.identity); err != nil || d.ID == "" {
		return fmt.Errorf("identity %s is damaged: put it back from a copy, or move the data directory away to start as a new node", file)
	}
	return nil
}

// write writes the identity.
func (d *Dir) write() error {
	text, err := json.Marshal(d.identity)
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	if err := WriteDurably(filepath.Join(d.Path, IdentityFile), append(text, '\n')); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}

// WriteDurably replaces a file; after a crash there is the old one or the new.
func WriteDurably(file string, text []byte) error {
	tmp := file + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	failpoint.Point("node.identity.middle")
	if err := os.Rename(tmp, file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// sub makes and returns a directory inside.
func (d *Dir) Sub(name string) (string, error) {
	path := filepath.Join(d.Path, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	return path, nil
}

// Close unlocks the directory.
func (d *Dir) Close() error { return d.lock.Close() }

// SyncDir makes what was renamed or removed in a folder last.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
