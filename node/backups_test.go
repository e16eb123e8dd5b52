package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/node/backup"
)

// backupsIn returns backups every hour, three of them kept, into a folder, and where what they log goes. save may be replaced.
func backupsIn(t *testing.T, dir string) (*backups, *strings.Builder) {
	t.Helper()
	log := &strings.Builder{}
	gauge := func() prometheus.Gauge { return prometheus.NewGauge(prometheus.GaugeOpts{Name: "g"}) }
	b := &backups{
		every: time.Hour, keep: 3, dir: dir, name: "n1", floor: 100, now: time.Now,
		free: func(string) (int64, error) { return 1000, nil },
		need: func() int64 { return 500 },
		save: func(_ context.Context, f *os.File) (backup.Header, error) {
			_, err := f.WriteString("saved")
			return backup.Header{}, err
		},
		log: slog.New(slog.NewTextHandler(log, nil)), last: gauge(), took: gauge(), size: gauge(),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "c"}),
	}
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	return b, log
}

// valueOf returns what a gauge or a counter shows.
func valueOf(t *testing.T, c prometheus.Collector) float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	m := families[0].Metric[0]
	return m.GetGauge().GetValue() + m.GetCounter().GetValue()
}

// files returns the names in a folder.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestBackups: a backup is written when it is due and not sooner, also after a restart; the newest are kept, and what is
// not this node's stays.
func TestBackups(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by the node")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	others := []string{"n1-19990101T000000Z.snapshot.old", "n11-19990101T000000Z.snapshot", "notes"}
	for _, name := range append(others, "n1-19990101T000000Z.snapshot.part") {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		run := func(hours int) (*backups, *strings.Builder) {
			b, log := backupsIn(t, dir)
			ready := time.Now().Add(time.Minute)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { b.Run(ctx, func() bool { return !time.Now().Before(ready) }); close(done) }()
			time.Sleep(time.Duration(hours)*time.Hour + 30*time.Minute)
			stop()
			<-done
			return b, log
		}
		first := time.Now().Add(time.Minute)
		b, log := run(4) // due at once, and four times more
		var want []string
		for i := 2; i < 5; i++ {
			want = append(want, "n1-"+first.Add(time.Duration(i)*time.Hour).UTC().Format(backupTime)+".snapshot")
		}
		if got := files(t, dir); !slices.Equal(got, slices.Sorted(slices.Values(append(want, others...)))) {
			t.Errorf("there are %v, want %v and what is others'", got, want)
		}
		if n := strings.Count(log.String(), "backup written"); n != 5 || valueOf(t, b.last) != float64(first.Add(4*time.Hour).Unix()) || valueOf(t, b.size) != 5 {
			t.Errorf("%d backups, the last at %v of %v bytes; want 5", n, valueOf(t, b.last), valueOf(t, b.size))
		}
		if b, log = run(0); strings.Contains(log.String(), "backup written") { // half an hour is left
			t.Errorf("started again, it wrote one too soon: %s", log)
		}
		if got := valueOf(t, b.last); got != float64(first.Add(4*time.Hour).Unix()) {
			t.Errorf("started again, the last was at %v", got)
		}
		if _, log = run(0); strings.Count(log.String(), "backup written") != 1 {
			t.Errorf("when it was due: %s", log)
		}
	})
}

// TestBackupFails: what fails leaves no file, is said, counted, and tried again later and later; a disk that is full is not filled.
func TestBackupFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log := backupsIn(t, t.TempDir())
		tries := 0
		var free atomic.Int64
		free.Store(1000)
		b.free = func(string) (int64, error) { return free.Load(), nil }
		b.save = func(_ context.Context, f *os.File) (backup.Header, error) {
			tries++
			_, _ = f.WriteString("half")
			return backup.Header{}, errors.New("the leader is out for lunch")
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.Run(ctx, func() bool { return true }); close(done) }()
		time.Sleep(10 * time.Minute) // at 0, 1, 3, 7 minutes
		synctest.Wait()
		if got := files(t, b.dir); len(got) > 0 || tries != 4 || valueOf(t, b.failures) != 4 || !strings.Contains(log.String(), "out for lunch") {
			t.Errorf("%v are left after %d tries: %s", got, tries, log)
		}
		free.Store(599)
		time.Sleep(10 * time.Minute) // at 15
		synctest.Wait()
		for _, want := range []string{"a backup may take 500 B", "599 B", "--backup-keep", "--backup-dir"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("without room: got %s, want %q in it", log, want)
			}
		}
		if tries != 4 {
			t.Errorf("without room: %d tries to write, want none more than 4", tries)
		}
		stop()
		<-done
	})
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&backups{dir: dir}).open(); err == nil || !strings.Contains(err.Error(), "--backup-dir: ") {
		t.Errorf("a folder that is none: got %v", err)
	}
}
