package process

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// inlet is the node's end of a pipe that processes write to. Whether they still hold the other end does not matter once their
// group is gone: what is in the pipe then is read, and that is the end.
type inlet struct {
	f    *os.File // its deadline passes when the group is gone
	raw  syscall.RawConn
	rest int // bytes to read yet, once the group is gone; -1 before; the reader's
}

// Read waits for bytes; io.EOF when none will come.
func (in *inlet) Read(p []byte) (int, error) {
	if in.rest < 0 {
		n, err := in.f.Read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		in.raw.Control(func(fd uintptr) { in.rest, _ = unix.IoctlGetInt(int(fd), bytesWaiting) })
	}
	n := 0
	if in.rest > 0 {
		n = in.poll(p[:min(len(p), in.rest)])
	}
	if n <= 0 {
		in.rest = 0
		return 0, io.EOF
	}
	in.rest -= n
	return n, nil
}

// poll reads what is there without waiting: how many bytes, 0 at the end of the pipe, -1 if there is nothing now. It may be
// called while Read or wait is waiting.
func (in *inlet) poll(p []byte) (n int) {
	err := in.raw.Control(func(fd uintptr) { n = pollFD(fd, p) })
	if err != nil {
		return 0
	}
	return n
}

func pollFD(fd uintptr, p []byte) int {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case err == nil:
			return n
		case err == unix.EAGAIN:
			return -1
		case err != unix.EINTR:
			return 0
		}
	}
}
