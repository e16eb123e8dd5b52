package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty is a terminal that nobody sits at.
type pty struct {
	tty *os.File // what a program has of it

	user *os.File // the other end: keys go in, what is shown comes out
	mu   sync.Mutex
	text strings.Builder // guarded by mu; what was shown
}

func openPTY(t *testing.T, width, height int) *pty {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	p := &pty{user: user}
	n := 0
	err = p.control(func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	if err != nil {
		t.Skipf("unlock a pseudo-terminal: %v", err)
	}
	if p.tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skipf("open a pseudo-terminal: %v", err)
	}
	p.resize(t, width, height)
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(p, user) // ends with an error when it is closed
	}()
	t.Cleanup(func() {
		user.Close() // which ends reads of the other end as well
		<-copied
		p.tty.Close()
	})
	return p
}

// resize makes the terminal another size. Programs that look hear of it.
func (p *pty) resize(t *testing.T, width, height int) {
	t.Helper()
	size := &unix.Winsize{Col: uint16(width), Row: uint16(height)}
	if err := p.control(func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) }); err != nil {
		t.Fatal(err)
	}
}

// control does something to the user's end. Its Fd would make reads of it go on for ever.
func (p *pty) control(f func(fd int) error) (err error) {
	conn, err := p.user.SyscallConn()
	if err != nil {
		return err
	}
	if failed := conn.Control(func(fd uintptr) { err = f(int(fd)) }); failed != nil {
		return failed
	}
	return err
}

func (p *pty) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(text)
}

// press sends keys.
func (p *pty) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := p.user.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// shown returns all that was shown so far.
func (p *pty) shown() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// shows waits until a text was shown.
func (p *pty) shows(t *testing.T, want string) {
	t.Helper()
	soon(t, 10*time.Second, fmt.Sprintf("the terminal shows %q", want), func() error {
		if got := p.shown(); !strings.Contains(got, want) {
			return fmt.Errorf("it shows %q", got[max(0, len(got)-1000):])
		}
		return nil
	})
}

// soon waits until try succeeds.
func soon(t *testing.T, within time.Duration, what string, try func() error) {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s: %v", what, within, err)
		}
	}
}
