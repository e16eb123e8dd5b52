//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	smallDisk  = 160 << 20 // bytes of the disk that a node has to itself
	diskFloor  = 48 << 20  // below which the cluster takes no new tasks
	noticeIn   = 10 * time.Second
	writeChunk = 64 << 10
)

// diskRows are the rows of full disks. A node that cannot write stops, and what it runs begins elsewhere at once: code of
// its own that does not listen may go on beside that for as long as the stop takes, as it may when a lease is broken.
func diskRows() []row {
	victims := []struct {
		name string
		pick func(r *run) nodes
	}{
		{"a follower's disk", func(r *run) nodes { return nodes{r.all.follower()} }},
		{"the leader's disk", func(r *run) nodes { return nodes{r.all.leader()} }},
		{"all disks", func(r *run) nodes { return r.all }},
	}
	var rows []row
	for _, v := range victims {
		row := row{sizes: []int{3}, writers: 16, rate: 15, lease: true, disk: smallDisk, flags: []string{"--min-free-disk", fmt.Sprint(diskFloor)}}
		row.name, row.fault = v.name+" below the floor", func(r *run) { r.shortOfSpace(v.pick(r)) }
		rows = append(rows, row)
		row.name, row.fault = v.name+" without a free byte", func(r *run) { r.withoutSpace(v.pick(r)) }
		rows = append(rows, row)
	}
	return rows
}

// ballast fills the node's disk up to so many free bytes.
func (n *node) ballast(leave int64) {
	n.t.Helper()
	check(n.t, n.host.do(func() error {
		f, err := os.OpenFile(filepath.Join(n.data(), "ballast"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		for chunk := make([]byte, writeChunk); ; {
			var fs unix.Statfs_t
			if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
				return err
			}
			free := int64(fs.Bavail)*fs.Bsize - leave
			if free <= 0 {
				return nil
			}
			if _, err := f.Write(chunk[:min(free, writeChunk)]); errors.Is(err, unix.ENOSPC) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}))
	n.note("disk full", n.name)
}

// unload makes room again.
func (n *node) unload() {
	n.t.Helper()
	n.note("room again", n.name)
	check(n.t, n.host.do(func() error { return os.Remove(filepath.Join(n.data(), "ballast")) }))
}

// shortOfSpace takes disks below the floor: new tasks are refused everywhere, what runs ends and reads go on.
func (r *run) shortOfSpace(some nodes) {
	r.Helper()
	known := r.known()
	running := r.busy(r.all[0], 2*time.Second)
	start := time.Now()
	r.faults++
	for _, n := range some {
		n.ballast(diskFloor / 2)
	}
	for _, n := range r.all {
		eventually(r, noticeIn, n.name+" refuses new tasks", func() error {
			a, err := n.send(5*time.Second, http.MethodPost, "/task", `{"type":"test.main.add","args":{"x":1,"y":2}}`)
			if err == nil && (a.status != http.StatusServiceUnavailable || a.code() != "disk_full" || a.header.Get("Retry-After") == "") {
				err = fmt.Errorf("%v %v, want 503 disk_full with Retry-After", a, a.header)
			}
			return err
		})
		a, err := n.send(5*time.Second, http.MethodGet, "/task/"+known+"?consistency=linearizable", "")
		check(r, statusError(a, err, http.StatusOK))
	}
	r.measured("new tasks refused", time.Since(start), noticeIn)
	for _, id := range running {
		eventually(r, noticeIn, "task "+id+" ends although disks are full", func() error {
			t, err := r.all[0].task(id)
			if err == nil && t.Status != "SUCCESS" {
				err = fmt.Errorf("it is %s", t.Status)
			}
			return err
		})
	}
	for _, n := range r.all {
		if !n.running() {
			r.Errorf("%s ended, although it had %d MiB left", n.name, diskFloor>>21)
		}
	}
	start = time.Now()
	for _, n := range some {
		n.unload()
	}
	r.measured("next write with room again", r.all.nextWrite(start), noticeIn)
}

// withoutSpace leaves not a byte free: a node that cannot write stops, and says why; nothing that was acknowledged is lost.
func (r *run) withoutSpace(some nodes) {
	r.Helper()
	r.faults++
	for _, n := range some {
		n.ballast(0)
	}
	time.Sleep(5 * time.Second) // the load goes on
	for _, n := range some {
		if n.running() {
			a, err := n.send(5*time.Second, http.MethodPost, "/task", `{"type":"test.main.add","args":{"x":1,"y":2}}`)
			if err == nil && a.status == http.StatusOK && len(some) == len(r.all) {
				r.Errorf("%s took a task although no disk has a free byte: %v", n.name, a)
			}
		} else if code := n.ends(time.Second); code == 0 || !strings.Contains(n.log(), "no space left on device") {
			r.Errorf("%s ended with status %d, want a failure that names the disk", n.name, code)
		}
	}
	start := time.Now()
	for _, n := range some {
		n.unload()
	}
	for _, n := range r.all { // as an operator or a supervisor does
		if !n.running() {
			n.start()
		}
	}
	r.measured("next write with room again", r.all.nextWrite(start), noticeIn)
	r.measured("whole with room again", r.all.whole(healIn), healIn)
}
