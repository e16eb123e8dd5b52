package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// bootMark tells whether the state can have lost writes. The state's file is
// written without waiting for the disk: a killed process loses nothing of it, as
// the kernel keeps the pages, but a machine that goes down may lose some. So the
// file is trusted if it was closed cleanly, or if the machine has been up since
// it was opened.
type bootMark struct{ path string }

const (
	// bootIDPath names a text that changes with every start of the machine.
	bootIDPath = "/proc/sys/kernel/random/boot_id"
	cleanMark  = "closed"
)

func newBootMark(dir string) *bootMark { return &bootMark{filepath.Join(dir, "state.mark")} }

func bootID() []byte {
	id, err := os.ReadFile(bootIDPath)
	if err != nil {
		return nil // not Linux: only a clean close is trusted
	}
	return bytes.TrimSpace(id)
}

// trusted reports whether the state's file is whole. Without a mark none was ever
// opened.
func (b *bootMark) trusted() (bool, error) {
	mark, err := os.ReadFile(b.path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read state mark: %w", err)
	}
	id := bootID()
	return string(mark) == cleanMark || id != nil && bytes.Equal(mark, id), nil
}

func (b *bootMark) open() error { return b.write(bootID()) }

func (b *bootMark) close() error { return b.write([]byte(cleanMark)) }

// write replaces the mark durably: it has to be older on disk than any write it
// vouches for.
func (b *bootMark) write(mark []byte) error {
	tmp := b.path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(mark)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(tmp, b.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(b.path))
	}
	if err != nil {
		return fmt.Errorf("write state mark: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
