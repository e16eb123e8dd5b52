//go:build linux

package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pytasks/cluster/secret"
)

// node is a process of the program on a host, or one that has stopped.
type node struct {
	t       testing.TB
	name    string
	program string
	dir     string // on this machine's disk: data, log, journal, failpoints
	flags   []string
	note    func(kind, node string) // is told what is done to the node
	// replaces is the name of a node whose clients this one serves, as it is gone for good.
	replaces string
	out      bool // taken out of the cluster: it stays down

	mu   sync.Mutex
	host *host // guarded by mu where clients run

	http *http.Client // as beside the node, whatever happens to the network

	cmd   *exec.Cmd     // of the current or last start; nil before the first
	ended chan struct{} // closed when that has ended
	err   error         // how; read after ended
}

func newNode(t testing.TB, name, program, dir string, h *host) *node {
	t.Helper()
	n := &node{t: t, name: name, program: program, dir: dir, note: func(string, string) {}}
	check(t, os.MkdirAll(filepath.Join(dir, "data"), 0o700))
	n.move(h)
	return n
}

// move puts the node, and its disk, on another host for its next start.
func (n *node) move(h *host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.host = h
	n.http = &http.Client{
		Timeout:   40 * time.Second,
		Transport: &http.Transport{DialContext: h.dial, MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
}

// at returns the host where the node is.
func (n *node) at() *host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.host
}

func (n *node) data() string    { return filepath.Join(n.dir, "data") }
func (n *node) journal() string { return filepath.Join(n.dir, "journal") }
func (n *node) url() string     { return "http://" + n.host.ip + ":8080" }
func (n *node) gossip() string  { return n.host.ip + ":7946" }

// start starts the process. It does not wait for anything.
func (n *node) start() {
	n.t.Helper()
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	check(n.t, err)
	defer log.Close() // the process has its own
	args := []string{"start", "--name", n.name, "--data-dir", n.data(), "--pprof",
		"--http", n.host.ip + ":8080", "--gossip", n.gossip(), "--cluster", n.host.ip + ":7947"}
	cmd := exec.Command(n.program, append(args, n.flags...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // with the host
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "PYTASKS_") && !strings.HasPrefix(setting, "WORKER_NAME=") {
			cmd.Env = append(cmd.Env, setting)
		}
	}
	cmd.Env = append(cmd.Env, "PYTASKS_SECRET="+theSecret().Text(), "XDG_RUNTIME_DIR="+n.dir, "CHAOS_JOURNAL="+n.journal(), "PYTASKS_FAILPOINTS=@"+n.failpoints())
	check(n.t, n.host.do(cmd.Start))
	n.cmd, n.ended = cmd, make(chan struct{})
	ended := n.ended
	go func() {
		n.err = cmd.Wait()
		n.note("down", n.name)
		close(ended)
	}()
}

// theSecret is that of all clusters.
var theSecret = sync.OnceValue(secret.New)

// token returns the one that the node has left for command lines.
func (n *node) token() string {
	files, _ := filepath.Glob(filepath.Join(n.dir, "pytasks", "*_8080"))
	if len(files) == 0 {
		return ""
	}
	text, _ := os.ReadFile(files[0])
	return "Bearer " + strings.TrimSpace(string(text))
}

// id returns who the node's disk is.
func (n *node) id() (string, error) {
	var v struct{ ID string }
	err := n.host.do(func() error {
		text, err := os.ReadFile(filepath.Join(n.data(), "node.json"))
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &v)
	})
	return v.ID, err
}

// running says whether the process has been started and has not ended.
func (n *node) running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// kill ends the process as kill -9 does.
func (n *node) kill() {
	if n.running() {
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
}

// signal sends the process a signal.
func (n *node) signal(s syscall.Signal) {
	n.t.Helper()
	n.note(s.String(), n.name)
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Errorf("signal %v to %s: %v", s, n.name, err)
	}
}

// ends waits for the process to end by itself, and returns its exit status, -1 if a signal ended it.
func (n *node) ends(within time.Duration) int {
	n.t.Helper()
	select {
	case <-n.ended:
	case <-time.After(within):
		n.t.Fatalf("%s runs on after %s, want it to have ended", n.name, within)
	}
	var exit *exec.ExitError
	if n.err != nil && !errors.As(n.err, &exit) {
		n.t.Fatalf("wait for %s: %v", n.name, n.err)
	}
	return n.cmd.ProcessState.ExitCode()
}

// stop ends the process in good order.
func (n *node) stop() {
	n.t.Helper()
	n.signal(syscall.SIGTERM)
	if code := n.ends(45 * time.Second); code != 0 {
		n.t.Errorf("%s stopped with exit status %d, want 0", n.name, code)
	}
}

// log returns what all starts of the node wrote.
func (n *node) log() string {
	text, _ := os.ReadFile(filepath.Join(n.dir, "log"))
	return string(text)
}

func (n *node) failpoints() string { return filepath.Join(n.dir, "failpoints") }

// arm arms failpoints, of a node that runs too. An empty text disarms all.
func (n *node) arm(text string) {
	n.t.Helper()
	tmp := n.failpoints() + ".new"
	check(n.t, os.WriteFile(tmp, []byte(text), 0o600))
	check(n.t, os.Rename(tmp, n.failpoints()))
	if n.running() {
		time.Sleep(50 * time.Millisecond) // it looks every 20 ms
	}
}

// use is what a process holds of the machine.
type use struct {
	rss         int64 // bytes of memory
	anonymous   int64 // of these, without the pages of files
	descriptors int
	goroutines  int
}

// memory returns the bytes of memory that the process holds.
func (n *node) memory() (int64, error) {
	u, err := n.status()
	return u.rss, err
}

// status reads what the kernel says of the process's memory.
func (n *node) status() (u use, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		kib, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			u.rss = kib << 10
		case "RssAnon:":
			u.anonymous = kib << 10
		}
	}
	if u.rss == 0 || u.anonymous == 0 {
		return u, fmt.Errorf("%s: the kernel tells no memory", n.name)
	}
	return u, nil
}

// use looks at what the process holds now.
func (n *node) use() (use, error) {
	u, err := n.status()
	if err != nil {
		return u, err
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.cmd.Process.Pid))
	if err != nil {
		return u, err
	}
	u.descriptors = len(open)
	goroutines, err := n.metric("go_goroutines")
	u.goroutines = int(goroutines)
	return u, err
}
