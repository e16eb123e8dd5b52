package node

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// fakeDisk is a disk with so much free space; a negative number cannot be asked.
type fakeDisk int64

func (f *fakeDisk) ask(string) (int64, error) {
	if *f < 0 {
		return 0, errors.New("input/output error")
	}
	return int64(*f), nil
}

func TestDiskFloor(t *testing.T) {
	const mib = 1 << 20
	free := fakeDisk(40 * mib)
	dir := t.TempDir()
	d, err := openDisk(dir, 32*mib, free.ask, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		free       fakeDisk
		low, ready bool
		detail     string
	}{
		{40 * mib, false, true, ""},
		{32 * mib, false, true, ""},
		{32*mib - 1, true, true, "only 31 MiB are free in " + dir},
		{34 * mib, true, true, "until 35 MiB are"}, // it does not waver
		{-1, true, true, "only 34 MiB"},
		{2*mib - 1, true, false, "only 2047 KiB"},
		{36 * mib, false, true, ""},
		{-1, false, true, ""},
	} {
		free = step.free
		d.look()
		ok, detail := d.check()
		if d.low.Load() != step.low || ok != step.ready || !strings.Contains(detail, step.detail) || (detail == "") != (step.detail == "") {
			t.Errorf("with %d free: low %v, ready %v, %q, want %v, %v, %q", step.free, d.low.Load(), ok, detail, step.low, step.ready, step.detail)
		}
	}
}

// TestDiskTooFullToStart: below a sixteenth of the floor a node says what to do instead
// of starting; a disk that cannot be asked keeps nobody from starting.
func TestDiskTooFullToStart(t *testing.T) {
	for free, want := range map[fakeDisk]string{
		2 << 20: "", -1: "",
		2<<20 - 1: "free at least 2048 KiB, better 32 MiB (--min-free-disk)",
		0:         "only 0 B are free",
	} {
		_, err := openDisk(t.TempDir(), 32<<20, free.ask, slog.New(slog.DiscardHandler))
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("with %d free: got %v, want %q", free, err, want)
		}
	}
}
