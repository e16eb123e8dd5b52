//go:build linux

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// space is a thread with a network and mounts of its own. Both end with it, and so do the processes that were started
// there.
type space struct {
	network *os.File // names the network namespace
	calls   chan func()
	done    chan struct{}
}

// newSpace returns a space with nothing but a loopback that is down.
func newSpace() (*space, error) {
	s := &space{calls: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function
		defer close(s.done)
		err := s.enter()
		ready <- err
		if err != nil {
			return
		}
		for f := range s.calls {
			f()
		}
	}()
	return s, <-ready
}

// enter gives the calling thread its namespaces.
func (s *space) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	var err error
	s.network, err = os.Open("/proc/thread-self/ns/net")
	return err
}

// do runs f on the space's thread: what it mounts, opens and starts is there. One f runs at a time.
func (s *space) do(f func() error) error {
	done := make(chan error, 1)
	s.calls <- func() { done <- f() }
	return <-done
}

// run runs a command in the space.
func (s *space) run(line string, args ...any) error {
	words := strings.Fields(fmt.Sprintf(line, args...))
	return s.do(func() error {
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, out)
		}
		return nil
	})
}

// visit runs f on a thread that is in the space's network for that time. Unlike do it may take long: many can run.
func (s *space) visit(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends here too, rather than be used elsewhere in a wrong network
		err := unix.Setns(int(s.network.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// path names the network namespace for other processes.
func (s *space) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.network.Fd()) }

// close ends the thread, and with it all that runs in the space.
func (s *space) close() {
	close(s.calls)
	<-s.done
	s.network.Close()
}
