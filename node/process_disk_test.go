package node

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// smallDisk puts the node's data on a file system of its own of so many MiB.
func (p *process) smallDisk(mib int) {
	p.t.Helper()
	dir := filepath.Join(p.dir, "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		p.t.Skipf("mount a small disk: %v", err)
	}
	p.t.Cleanup(func() {
		p.kill()
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			p.t.Errorf("unmount: %v", err)
		}
	})
}

func (p *process) ballast() string { return filepath.Join(p.dir, "data", "ballast") }

// fill leaves so many bytes free on the node's disk.
func (p *process) fill(free int64) {
	p.t.Helper()
	f, err := os.OpenFile(p.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	for {
		have, err := freeSpace(filepath.Join(p.dir, "data"))
		if err != nil {
			p.t.Fatal(err)
		}
		if have <= free {
			return
		}
		if _, err := f.Write(make([]byte, min(have-free, 1<<20))); err != nil && !errors.Is(err, syscall.ENOSPC) {
			p.t.Fatal(err)
		}
	}
}

// empty makes room again.
func (p *process) empty() {
	p.t.Helper()
	if err := os.Remove(p.ballast()); err != nil {
		p.t.Fatal(err)
	}
}

// startOnSmallDisks is startCluster with a disk of 96 MiB for each node, 32 of them a reserve.
func startOnSmallDisks(t *testing.T, size int) processes {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can mount small disks")
	}
	var ps processes
	for i := range size {
		p := newProcess(t, fmt.Sprintf("n%d", i+1))
		p.smallDisk(96)
		ps = append(ps, p)
	}
	for _, p := range ps {
		p.flags = append(ps.joinFlags(), "--bootstrap-expect", fmt.Sprint(size), "--min-free-disk", "32MiB")
		p.start()
	}
	ps.ready()
	return ps
}

// TestProcessDiskFloor: while a follower, the leader or every node is short of disk space
// new tasks are refused everywhere with a code and the node's name, and what was
// acknowledged ends. When there is room again new tasks are taken without a restart.
func TestProcessDiskFloor(t *testing.T) {
	ps := startOnSmallDisks(t, 3)
	for _, where := range []string{"follower", "leader", "all"} {
		t.Run(where, func(t *testing.T) {
			ps.within(t)
			leader := ps.leader()
			short := processes{leader}
			switch where {
			case "follower":
				short = ps.without(leader)[:1]
			case "all":
				short = ps
			}
			ids := ps.submitAll(repeat(sleepFor(3*time.Second), 3), 3)
			for _, p := range short {
				p.fill(20 << 20)
			}
			for _, p := range ps {
				eventually(t, 3*time.Second, "new tasks are refused at "+p.name, func() error {
					a, err := send(p, http.MethodPost, "/task", sleepFor(0))
					if err == nil && (a.status != http.StatusServiceUnavailable || a.code() != "disk_full" || a.header.Get("Retry-After") == "") {
						err = fmt.Errorf("got %v, Retry-After %q", a, a.header.Get("Retry-After"))
					}
					if err == nil && !strings.Contains(member(a.body, "message"), "node n") {
						t.Errorf("%s: %v names no node", p.name, a)
					}
					return err
				})
			}
			for _, id := range ids {
				ps[0].succeeded(id, 15*time.Second)
			}
			for _, p := range short {
				if a := p.must(http.StatusOK, http.MethodGet, "/readyz", ""); !strings.Contains(string(a.body), "new tasks are refused") {
					t.Errorf("%s: readyz says %s", p.name, a.body)
				}
			}
			for _, p := range short {
				p.empty()
			}
			eventually(t, 5*time.Second, "new tasks are taken again", func() error {
				a, err := send(ps[1], http.MethodPost, "/task?wait=3s", sleepFor(0))
				if err == nil && a.status != http.StatusOK {
					err = fmt.Errorf("got %v", a)
				}
				return err
			})
		})
	}
}

// TestProcessDiskFull: a node whose disk is full to the last byte stops with a sentence
// that says what to do, does not start again before there is room, and comes back then.
// Meanwhile the others go on, and when all stop nothing that was acknowledged is lost.
func TestProcessDiskFull(t *testing.T) {
	ps := startOnSmallDisks(t, 3)
	var mu sync.Mutex
	var acknowledged []string
	var number atomic.Int64
	// load submits until stop; refusals are no errors, lost tasks are.
	load := func(at processes, stop chan struct{}) {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			body := fmt.Sprintf(`{"type":"test.main.echo","args":{"value":"%s"},"id":"full-%d"}`, strings.Repeat("x", 4000), number.Add(1))
			if a, err := send(at[i%len(at)], http.MethodPost, "/task", body); err == nil && a.status == http.StatusOK {
				mu.Lock()
				acknowledged = append(acknowledged, member(a.body, "id"))
				mu.Unlock()
			}
		}
	}
	during := func(at processes, f func()) {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { load(at, stop) })
		}
		f()
		close(stop)
		wg.Wait()
	}
	stopped := func(p *process) {
		t.Helper()
		p.exit(30 * time.Second)
		if !strings.Contains(p.log(), "no space is left in") || !strings.Contains(p.log(), "free some and start the node again") {
			t.Errorf("%s stopped without saying what to do", p.name)
		}
		p.start()
		if code := p.exit(20 * time.Second); code != 1 {
			t.Errorf("%s started on a full disk: exit status %d, want 1", p.name, code)
		}
		if last := tail(p.log(), 1); !strings.Contains(last, "--min-free-disk") {
			t.Errorf("the last line is %q, want what to do", last)
		}
	}

	full := ps.leader()
	rest := ps.without(full)
	during(rest, func() {
		full.fill(0)
		stopped(full)
		eventually(t, 15*time.Second, "the others go on", func() error {
			a, err := send(rest[0], http.MethodPost, "/task?wait=5s", sleepFor(0))
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("got %v", a)
			}
			return err
		})
	})
	full.empty()
	full.start()
	ps.ready()

	during(ps, func() {
		for _, p := range ps {
			p.fill(0)
		}
		eventually(t, 30*time.Second, "nobody takes new tasks", func() error {
			for _, p := range ps { // some have stopped, others had a last page free
				if a, err := send(p, http.MethodPost, "/task", sleepFor(0)); err == nil && a.status != http.StatusServiceUnavailable {
					return fmt.Errorf("%s: %v", p.name, a)
				}
			}
			return nil
		})
	})
	for _, p := range ps {
		p.kill()
		p.empty()
		p.start()
	}
	ps.ready()
	t.Logf("%d tasks were acknowledged", len(acknowledged))
	if len(acknowledged) == 0 {
		t.Fatal("no task was acknowledged")
	}
	for i, id := range acknowledged {
		ps[i%3].succeeded(id, 20*time.Second)
	}
	for _, p := range ps {
		if _, trace, found := strings.Cut(p.log(), "panic:"); found {
			t.Errorf("%s panicked: %.2000s", p.name, trace)
		}
	}
}
