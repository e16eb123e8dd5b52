//go:build unix

package cluster

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestLogStoreOfAFrozenProcess: a process that is stopped in the middle of a call, for longer than a disk may hang, does
// not take that for a disk that hangs.
func TestLogStoreOfAFrozenProcess(t *testing.T) {
	const hang = 2 * time.Second
	if os.Getenv("PYTASKS_TEST_FROZEN") != "" { // the process that is stopped: its call lasts until it can read a line
		s := newLogStore(lineStore{inmem{raft.NewInmemStore()}}, "raft.db", hang, func(err error) {
			fmt.Println(err)
			os.Exit(1)
		})
		if err := s.StoreLogs(entries(1, 1)); err != nil {
			t.Fatal(err)
		}
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "PYTASKS_TEST_FROZEN=yes")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for line := ""; line != "calling\n"; {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		signal syscall.Signal
		lasts  time.Duration
	}{{syscall.SIGSTOP, hang + time.Second}, {syscall.SIGCONT, hang / 4}} {
		if err := cmd.Process.Signal(step.signal); err != nil {
			t.Fatal(err)
		}
		time.Sleep(step.lasts) // that is what is tested
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(lines)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, rest)
	}
}

// lineStore takes until a line can be read to store entries.
type lineStore struct{ LogStore }

func (s lineStore) StoreLogs([]*raft.Log) error {
	fmt.Println("calling")
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}
