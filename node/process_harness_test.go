package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pytasks/cluster/secret"
	"pytasks/node/client"
)

// program is the binary that the process tests start, built once per test run.
type program struct {
	once sync.Once
	dir  string
	path string
	err  error
}

var theProgram program

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pytasks-tokens-")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_RUNTIME_DIR", dir) // where nodes leave tokens for command lines
	code := m.Run()
	os.RemoveAll(dir)
	if theProgram.dir != "" {
		os.RemoveAll(theProgram.dir)
	}
	os.Exit(code)
}

// raceDetected says whether this test, and so the program, has the race detector.
func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// buildProgram returns the path of the program, built with the race detector if this
// test is.
func buildProgram(t *testing.T) string {
	t.Helper()
	theProgram.once.Do(func() {
		if theProgram.dir, theProgram.err = os.MkdirTemp("", "pytasks-test-"); theProgram.err != nil {
			return
		}
		theProgram.path = filepath.Join(theProgram.dir, "pytasks")
		args := []string{"build", "-o", theProgram.path}
		if raceDetected() {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, "pytasks")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			theProgram.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if theProgram.err != nil {
		t.Fatal(theProgram.err)
	}
	return theProgram.path
}

// process is a node that runs as a process of its own, or that has stopped.
type process struct {
	t       *testing.T
	program string
	name    string
	dir     string // holds its data and its log
	http    string // base URL
	gossip  string
	cluster string
	flags   []string // beside its name, folder and addresses
	env     []string // over that of the test, "KEY=value"

	cmd   *exec.Cmd     // of the current or last start; nil before the first
	ended chan struct{} // closed when that has ended
	err   error         // how; read after ended
}

// testSecret is that of all nodes which a test gives no other.
var testSecret = sync.OnceValue(secret.New)

// newProcess returns a node with free ports that is not started yet.
func newProcess(t *testing.T, name string, flags ...string) *process {
	t.Helper()
	p := &process{t: t, program: buildProgram(t), name: name, dir: t.TempDir(), flags: flags, env: []string{"PYTASKS_SECRET=" + testSecret().Text()}}
	p.newPorts()
	t.Cleanup(func() {
		p.kill()
		if _, race, found := strings.Cut(p.log(), "WARNING: DATA RACE"); found {
			t.Errorf("%s has a data race: %.3000s", p.name, race)
		}
		if t.Failed() {
			t.Logf("the log of %s:\n%s", p.name, tail(p.log(), 60))
		}
	})
	return p
}

// newPorts gives the node other addresses for its next start.
func (p *process) newPorts() {
	p.t.Helper()
	addrs := testAddrs(p.t, 3)
	p.http, p.gossip, p.cluster = "http://"+addrs[0], addrs[1], addrs[2]
}

// start starts the process with the node's flags. It does not wait for anything.
func (p *process) start() {
	p.t.Helper()
	args := append([]string{"start", "--name", p.name, "--data-dir", filepath.Join(p.dir, "data"),
		"--http", strings.TrimPrefix(p.http, "http://"), "--gossip", p.gossip, "--cluster", p.cluster}, p.flags...)
	p.run(args...)
}

// run starts the program with a command line.
func (p *process) run(args ...string) {
	p.t.Helper()
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close() // the process has its own
	p.cmd = exec.Command(p.program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "PYTASKS_") && !strings.HasPrefix(setting, "WORKER_NAME=") {
			p.cmd.Env = append(p.cmd.Env, setting)
		}
	}
	p.cmd.Env = append(p.cmd.Env, p.env...)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		p.err = cmd.Wait()
		close(ended)
	}()
}

// running says whether the process has been started and has not ended.
func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	if p.running() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// signal sends the process a signal.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %v to %s: %v", s, p.name, err)
	}
}

// exit waits for the process to end by itself and returns its exit status.
func (p *process) exit(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.t.Fatalf("%s runs on after %s, want it to have ended", p.name, within)
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		p.t.Fatalf("wait for %s: %v", p.name, p.err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends the process in good order.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.exit(20 * time.Second); code != 0 {
		p.t.Errorf("%s stopped with exit status %d, want 0", p.name, code)
	}
}

// log returns what all starts of the node wrote.
func (p *process) log() string {
	text, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	return string(text)
}

// ready waits until the node says that it takes requests.
func (p *process) ready() {
	p.t.Helper()
	eventually(p.t, readyWithin, p.name+" is ready", func() error {
		if !p.running() {
			p.t.Fatalf("%s has ended: %v", p.name, p.err)
		}
		a, err := send(p, http.MethodGet, "/readyz", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("not ready: %s", a.body)
		}
		return err
	})
}

// processes are the nodes of a cluster.
type processes []*process

// startCluster starts nodes n1, n2, ... that found a cluster together, and waits until
// they are ready and all vote.
func startCluster(t *testing.T, size int, flags ...string) processes {
	t.Helper()
	return startMixed(t, slices.Repeat([][]string{flags}, size)...)
}

// startMixed is startCluster with flags for each node.
func startMixed(t *testing.T, flags ...[]string) processes {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	var ps processes
	for i, own := range flags {
		ps = append(ps, newProcess(t, fmt.Sprintf("n%d", i+1), own...))
	}
	for _, p := range ps {
		p.flags = append(ps.joinFlags(), p.flags...)
		p.flags = append(p.flags, "--bootstrap-expect", fmt.Sprint(len(ps)))
		p.start()
	}
	ps.ready()
	return ps
}

// within reports failures to a subtest until that ends.
func (ps processes) within(t *testing.T) {
	for _, p := range ps {
		outer := p.t
		p.t = t
		t.Cleanup(func() { p.t = outer })
	}
}

// joinFlags lets a node join any of the others.
func (ps processes) joinFlags() []string {
	var addrs []string
	for _, p := range ps {
		addrs = append(addrs, p.gossip)
	}
	return []string{"--join", strings.Join(addrs, ",")}
}

func (ps processes) ready() {
	for _, p := range ps {
		p.t.Helper()
		p.ready()
	}
}

// up returns the nodes whose processes run.
func (ps processes) up() processes {
	return slices.DeleteFunc(slices.Clone(ps), func(p *process) bool { return !p.running() })
}

// without returns the nodes but some.
func (ps processes) without(others ...*process) processes {
	return slices.DeleteFunc(slices.Clone(ps), func(p *process) bool { return slices.Contains(others, p) })
}

// leader waits until all running nodes name the same running leader and returns it.
func (ps processes) leader() *process {
	t := ps[0].t
	t.Helper()
	var leader *process
	eventually(t, 15*time.Second, "all nodes know one leader", func() error {
		name := ""
		for i, p := range ps.up() {
			var view client.Cluster
			if err := p.read("/cluster", &view); err != nil {
				return err
			}
			if i > 0 && view.Leader != name || view.Leader == "" {
				return fmt.Errorf("%s names %q, another %q", p.name, view.Leader, name)
			}
			name = view.Leader
		}
		for _, p := range ps.up() {
			if p.name == name {
				leader = p
				return nil
			}
		}
		return fmt.Errorf("the leader %q is down", name)
	})
	return leader
}

// eventually polls, since what it waits for comes over a real network; the last error
// says what was missing.
func eventually(t *testing.T, within time.Duration, what string, try func() error) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %s: %v", what, within, err)
		}
	}
}

// givenPorts holds the ports that testAddrs has returned.
var givenPorts sync.Map

// testAddrs returns addresses on loopback on which nobody listens. Their ports are not
// among those that the system gives to clients, so that they are still free when a
// node starts on them for the second time, and no port is returned twice, as the node
// that it was for may be about to start.
func testAddrs(t *testing.T, count int) []string {
	t.Helper()
	const first, last = 10_000, 32_000
	var addrs []string
	for range 1000 {
		port := first + rand.N(last-first)
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		tcp.Close()
		udp, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		udp.Close()
		if addrs = append(addrs, addr); len(addrs) == count {
			return addrs
		}
	}
	t.Fatal("no free ports")
	return nil
}

// command runs the program to its end and returns what it printed.
func command(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, buildProgram(t), args...)
	var buf bytes.Buffer
	cmd.Stdout, cmd.Stderr = &buf, &buf
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("pytasks %s: %v\n%s", strings.Join(args, " "), err, buf.String())
	}
	return cmd.ProcessState.ExitCode(), buf.String()
}

// readyWithin is how long a node may take to be ready.
const readyWithin = 20 * time.Second
