package process

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// defaultPath is the PATH of processes where the node has none.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// Program is what to start.
type Program struct {
	Argv   []string // Argv[0] is an absolute path
	Env    []string // added to the Host's, "KEY=value"
	Stdout bool     // Once: standard output is the result, not log
}

// StartError is the error of a program that the system does not start.
type StartError struct {
	Program string // an absolute path
	Err     error
}

func (e *StartError) Error() string { return "start " + e.Program + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// starter starts processes. All of them come from one thread: the kernel's promise to kill a child when its parent ends
// (PR_SET_PDEATHSIG) is about the thread that made it, and Go ends threads as it likes.
type starter struct {
	starts chan *start
	ended  chan struct{}
}

type start struct {
	argv []string
	attr *syscall.ProcAttr
	pid  int
	err  error
	done chan struct{}
}

func newStarter() *starter {
	s := &starter{starts: make(chan *start), ended: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this function
		defer close(s.ended)
		for r := range s.starts {
			r.pid, r.err = syscall.ForkExec(r.argv[0], r.argv, r.attr)
			close(r.done)
		}
	}()
	return s
}

func (s *starter) close() {
	close(s.starts)
	<-s.ended
}

// plumbing makes the pipes of a process that is to be started. Its methods return nothing of use once one has failed.
type plumbing struct {
	ours, theirs []*os.File
	err          error
}

func (p *plumbing) pipe() (r, w *os.File) {
	if p.err == nil {
		r, w, p.err = os.Pipe()
	}
	return r, w
}

// inlet returns a pipe to the node, and its end for the process.
func (p *plumbing) inlet() (*inlet, *os.File) {
	r, w := p.pipe()
	if p.err != nil {
		return nil, nil
	}
	p.ours, p.theirs = append(p.ours, r), append(p.theirs, w)
	in := &inlet{f: r, rest: -1}
	in.raw, p.err = r.SyscallConn()
	return in, w
}

// outlet returns a pipe to the process: its end, and the node's.
func (p *plumbing) outlet() (*os.File, *os.File) {
	r, w := p.pipe()
	if p.err == nil {
		p.ours, p.theirs = append(p.ours, w), append(p.theirs, r)
	}
	return r, w
}

// start runs a program in dir with the given files as its descriptors 0, 1, ... It closes the process's ends of the pipes here,
// and all of them if it fails. The caller has entered the Host; the group counts as one more entry until it is gone.
func (h *Host) start(p Program, dir string, pipes *plumbing, files ...*os.File) (g *group, err error) {
	defer func() {
		for _, f := range pipes.theirs {
			f.Close()
		}
		for _, f := range pipes.ours {
			if err != nil {
				f.Close()
			}
		}
	}()
	if pipes.err != nil {
		return nil, fmt.Errorf("start a process: %w", pipes.err)
	}
	if len(p.Argv) == 0 || !filepath.IsAbs(p.Argv[0]) {
		return nil, fmt.Errorf("start %q: the program must be an absolute path", p.Argv)
	}
	cgroup, err := h.cgroups.make()
	if err != nil {
		return nil, err
	}
	r := &start{argv: p.Argv, done: make(chan struct{}), attr: &syscall.ProcAttr{
		Dir: dir, Env: h.env(p, dir), Sys: sysProcAttr(),
	}}
	cgroup.join(r.attr.Sys)
	for _, f := range files {
		r.attr.Files = append(r.attr.Files, f.Fd()) // Fd also makes it a descriptor whose reads and writes wait
	}
	h.starter.starts <- r
	<-r.done
	runtime.KeepAlive(files)
	cgroup.started()
	if r.err != nil {
		cgroup.remove()
		return nil, &StartError{Program: p.Argv[0], Err: r.err}
	}
	confine(r.pid, h.watch.most())
	return h.newGroup(r.pid, cgroup, pipes.ours), nil
}

// env returns the whole environment of a process: of one key the last counts, and it is there once.
func (h *Host) env(p Program, dir string) []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = defaultPath
	}
	all := slices.Concat([]string{"PATH=" + path, "LANG=C.UTF-8", "HOME=" + dir, "TMPDIR=" + dir}, h.cfg.Env, p.Env)
	at := make(map[string]int, len(all))
	env := all[:0]
	for _, kv := range all {
		key, _, _ := strings.Cut(kv, "=")
		if i, ok := at[key]; ok {
			env[i] = kv
			continue
		}
		at[key] = len(env)
		env = append(env, kv)
	}
	return env
}
