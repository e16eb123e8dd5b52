package cluster

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
)

// smallDisk mounts a file system of so many bytes on a directory.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// TestSnapshotOnFullDisk: a snapshot for which there is no room leaves nothing behind, while it is written and when it
// cannot even be begun, and the next one succeeds when there is room.
func TestSnapshotOnFullDisk(t *testing.T) {
	dir := smallDisk(t, "2m")
	s, err := openSnapshots(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, trans := raft.NewInmemTransport("")
	take := func(size int) error {
		sink, err := s.Create(1, 7, 3, raft.Configuration{}, 1, trans)
		if err != nil {
			return err
		}
		if _, err := sink.Write(make([]byte, size)); err != nil {
			return errors.Join(err, sink.Cancel())
		}
		return sink.Close()
	}
	free := func() uint64 {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil {
			t.Fatal(err)
		}
		return fs.Bavail
	}
	left := func() int {
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := free()
	for range 3 {
		if err := take(3 << 20); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("a snapshot larger than the disk: got %v, want %v", err, syscall.ENOSPC)
		}
	}
	if left() != 0 || free() != before {
		t.Errorf("failed snapshots left %d directories and %d free pages, want 0 and %d", left(), free(), before)
	}

	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: got %v, want %v", err, syscall.ENOSPC)
	}
	if err := take(100); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a snapshot on a full disk: got %v, want %v", err, syscall.ENOSPC)
	}
	if left() != 0 {
		t.Errorf("a snapshot that was not begun left %d directories", left())
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := take(100); err != nil {
		t.Fatalf("a snapshot with room: %v", err)
	}
	if list, err := s.List(); err != nil || len(list) != 1 || list[0].Index != 7 {
		t.Errorf("got %v, %v, want the one snapshot", list, err)
	}
}

// TestUnfinishedSnapshotsAreRemoved: a killed node leaves half a snapshot, and finds no use for it.
func TestUnfinishedSnapshotsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	half := filepath.Join(dir, "snapshots", "3-7-1700000000000.tmp")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, snapshotData), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSnapshots(dir, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a snapshot is still there: %v", err)
	}
}
