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
// it was opened, and if no damage was found in it since.
type bootMark struct {
	path  string
	start func() []byte // names this start of the machine; nil = unknown
}

const (
	// bootIDPath names a text that changes with every start of the machine.
	bootIDPath = "/proc/sys/kernel/random/boot_id"
	cleanMark  = "closed"
	damageMark = "damaged"
)

// errWentDown means that the state may have lost writes.
var errWentDown = errors.New("the machine went down while the state was open")

func newBootMark(dir string, start func() []byte) *bootMark {
	return &bootMark{filepath.Join(dir, "state.mark"), start}
}

func bootID() []byte {
	id, err := os.ReadFile(bootIDPath)
	if err != nil {
		return nil // not Linux: only a clean close is trusted
	}
	return bytes.TrimSpace(id)
}

// doubt returns why the state's file may not be whole, nil if it is: errWentDown or
// errDamaged. Without a mark none was ever opened.
func (b *bootMark) doubt() (doubt, err error) {
	mark, err := os.ReadFile(b.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state mark: %w", err)
	}
	id := b.start()
	switch {
	case string(mark) == cleanMark || id != nil && bytes.Equal(mark, id):
		return nil, nil
	case string(mark) == damageMark:
		return damaged("it was found out while it was open"), nil
	}
	return errWentDown, nil
}

func (b *bootMark) open() error { return b.write(b.start()) }

func (b *bootMark) close() error { return b.write([]byte(cleanMark)) }

func (b *bootMark) damaged() error { return b.write([]byte(damageMark)) }

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
