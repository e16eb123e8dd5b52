package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pytasks/cluster"
	"pytasks/cluster/simnet"
	"pytasks/httpapi/auth"
	"pytasks/node/config"
	"pytasks/node/history"
)

// restartPause is how long a node that has ended by itself stays down.
const restartPause = 2 * time.Second

var errKilled = errors.New("the process was killed")

// simMachine is one simulated machine: its address, disk and clock, and the node on it.
type simMachine struct {
	w    *simWorld
	name string
	ip   string
	dir  string       // of the files that are not simulated
	skew atomic.Int64 // of its clock, ns
	boot atomic.Int64 // starts of the machine itself

	mu   sync.Mutex
	disk *simDisk    // guarded by mu
	proc *simProcess // of the last start; guarded by mu
	off  bool        // nobody starts it again when it ends; guarded by mu
}

// simProcess is one start of a node.
type simProcess struct {
	m      *simMachine
	host   *simnet.Host
	disk   *simDisk
	ctx    context.Context
	signal context.CancelFunc // SIGTERM
	dead   atomic.Bool
	node   atomic.Pointer[Node] // nil until it is open
	ended  chan struct{}
	err    error // how; read after ended
}

func (w *simWorld) newMachine(i int) *simMachine {
	return &simMachine{
		w: w, name: fmt.Sprintf("n%d", i+1), ip: fmt.Sprintf("10.0.%d.%d", i/200, i%200+1), disk: newSimDisk(),
		dir: filepath.Join(w.dir, fmt.Sprint("m", i+1)),
	}
}

func (m *simMachine) config() config.Config {
	cfg := config.Default()
	cfg.Name, cfg.DataDir = m.name, m.dir
	cfg.HTTP, cfg.Gossip, cfg.Cluster = m.ip+":8080", m.ip+":7946", m.ip+":7947"
	cfg.Join, cfg.BootstrapExpect = m.w.join, m.w.expect
	cfg.Slots, cfg.DrainTimeout, cfg.MaxVoters = 4, 10*time.Second, m.w.voters
	cfg.Anonymous, cfg.RateLimit = "read", 0 // requests take no time in a simulation
	return cfg
}

// start starts the node, and again whenever it ends by itself, until it is killed or
// stopped.
func (m *simMachine) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off = false
	m.launch()
}

// launch makes a new process. mu is held.
func (m *simMachine) launch() {
	ctx, cancel := context.WithCancel(context.Background())
	p := &simProcess{m: m, host: m.w.net.Host(m.ip), disk: m.disk, ctx: ctx, signal: cancel, ended: make(chan struct{})}
	m.proc = p
	m.w.note("start", m.name)
	m.w.wg.Go(func() {
		defer cancel()
		p.err = p.run()
		m.w.history.Note(history.Down, m.name)
		close(p.ended)
		m.relaunch(p)
	})
}

// relaunch starts the node again if the process ended by itself.
func (m *simMachine) relaunch(p *simProcess) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off {
		return
	}
	m.w.note("ended by itself: "+fmt.Sprint(p.err), m.name)
	m.mu.Unlock()
	time.Sleep(restartPause)
	m.mu.Lock()
	if !m.off && m.proc == p {
		m.launch()
	}
}

// simMakers give every cluster the same password and key: real ones take long.
var simMakers = sync.OnceValue(func() makers {
	key, err := auth.NewKey()
	return makers{
		password: func(context.Context) (text, hash string, err error) { return "password", "$hash$of$it", nil },
		matches:  func(_ context.Context, hash, text string) bool { return hash == "$hash$of$it" && text == "password" },
		key:      func() (*auth.Key, error) { return key, err },
	}
})

// run is the process's main.
func (p *simProcess) run() error {
	m := p.m
	boot := fmt.Append(nil, m.boot.Load())
	n, err := newNode(p.ctx, m.config(), host{
		now:     func() time.Time { return time.Now().Add(time.Duration(m.skew.Load())) },
		listen:  p.host.Listen,
		network: cluster.Network{Listen: p.host.Listen, Dial: p.host.Dial, Gossip: p.host.Gossip},
		openLog: func(string) (cluster.LogStore, error) {
			if p.dead.Load() {
				return nil, errKilled
			}
			return p.disk.open()
		},
		free:   p.disk.space,
		bootID: func() []byte { return boot },
		watch:  func(ctx context.Context, _ *Node) { <-ctx.Done() },
		tune:   m.w.tune,
		logs:   m.w,
		makers: simMakers(),
	}, history.Pack(simJournal{p}))
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	p.node.Store(n)
	if p.dead.Load() {
		n.fail(errKilled)
	}
	err = n.Run(p.ctx)
	p.die() // with what a hung disk still holds of it
	stuck := time.AfterFunc(time.Minute, func() { panic(m.name + " does not come to its end") })
	defer stuck.Stop()
	return errors.Join(err, n.Close())
}

// die takes the machine from the process: it reaches neither network nor disk, and what
// it runs is not seen any more.
func (p *simProcess) die() {
	p.dead.Store(true)
	p.host.Crash()
	p.disk.kill()
}

// simJournal takes down what a process runs, as long as it lives.
type simJournal struct{ p *simProcess }

func (j simJournal) Write(e history.Entry) error {
	if j.p.dead.Load() {
		return errKilled
	}
	return j.p.m.w.journal.Write(e)
}

// node returns the node that runs on the machine, or nil.
func (m *simMachine) node() *Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == nil || m.proc.dead.Load() {
		return nil
	}
	return m.proc.node.Load()
}

// end returns the last start's process, nil before the first. Nobody starts it again.
func (m *simMachine) end() *simProcess {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.off = true
	return m.proc
}

// plug pulls the machine's cable, or puts it in.
func (m *simMachine) plug(in bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if in {
		m.proc.host.Plug()
	} else {
		m.proc.host.Unplug()
	}
}

// kill ends the process as kill -9 does. It returns when nothing of it is left.
func (m *simMachine) kill() {
	p := m.end()
	p.die()
	if n := p.node.Load(); n != nil {
		n.state.Abandon()
		n.fail(errKilled)
	}
	p.signal()
	<-p.ended
}

// stop ends the process in good order, as SIGTERM does.
func (m *simMachine) stop() {
	p := m.end()
	if p == nil {
		return
	}
	p.signal()
	const patience = time.Minute
	select {
	case <-p.ended:
	case <-time.After(patience):
		m.w.violation("%s was told to stop and runs on after %s", m.name, patience)
		m.kill()
	}
}

// losePower is kill, and the state's file lacks some of what the kernel had not written,
// unless it was closed before.
func (m *simMachine) losePower(rng *rand.Rand) error {
	m.kill()
	m.boot.Add(1)
	if mark, err := os.ReadFile(filepath.Join(m.dir, "state", "state.mark")); err == nil && string(mark) == "closed" {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(m.dir, "state", "state.db"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	for range 4 {
		if err == nil && info.Size() > 0 {
			_, err = f.WriteAt(make([]byte, 4096), rng.Int64N(info.Size())&^4095)
		}
	}
	return errors.Join(err, f.Close())
}

// wipe gives the machine, whose process has ended, an empty disk: its next start is that
// of a new node.
func (m *simMachine) wipe() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk = newSimDisk()
	return os.RemoveAll(m.dir)
}

// fault changes the faults of the machine's disk.
func (m *simMachine) fault(change func(*simDisk)) {
	m.mu.Lock()
	d := m.disk
	m.mu.Unlock()
	d.set(change)
}
