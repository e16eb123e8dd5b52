package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pytasks/node/client"
)

// localStop is how long a node of a local cluster may take to stop.
const localStop = 10 * time.Second

// localCluster is a cluster of processes of this program, with data that is removed.
type localCluster struct {
	dir   string
	addrs []string // base URLs
	nodes []*localNode
}

type localNode struct {
	cmd     *exec.Cmd
	log     string
	stopped chan error // its end
}

// startLocalCluster starts nodes on free ports of this machine and waits until all are
// ready.
func startLocalCluster(ctx context.Context, o benchLocal) (*localCluster, error) {
	size := o.nodes
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	l := &localCluster{}
	if l.dir, err = os.MkdirTemp("", "pytasks-bench-"); err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	addrs, err := freePorts(3 * size)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(l.dir))
	}
	for i := range size {
		own := addrs[3*i:]
		args := []string{"start", "--name", "n" + strconv.Itoa(i+1), "--data-dir", filepath.Join(l.dir, strconv.Itoa(i+1)),
			"--http", own[0], "--gossip", own[1], "--cluster", own[2]}
		if o.slots > 0 {
			args = append(args, "--slots", strconv.Itoa(o.slots))
		}
		if size > 1 {
			args = append(args, "--bootstrap-expect", strconv.Itoa(size))
			for k := range size {
				args = append(args, "--join", addrs[3*k+1])
			}
		}
		n, err := startLocalNode(program, args, filepath.Join(l.dir, fmt.Sprintf("n%d.log", i+1)))
		if err != nil {
			l.stop()
			return nil, err
		}
		l.nodes = append(l.nodes, n)
		l.addrs = append(l.addrs, "http://"+own[0])
	}
	for i, n := range l.nodes {
		if err := client.AwaitReady(ctx, l.addrs[i], n.stopped); err != nil {
			log, _ := os.ReadFile(n.log)
			l.stop()
			return nil, fmt.Errorf("start a local cluster: %w; the end of its log:\n%s", err, lastLines(string(log), 5))
		}
	}
	return l, nil
}

// startLocalNode starts a process with a log file and without settings of the
// environment, which are for other nodes.
func startLocalNode(program string, args []string, log string) (*localNode, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make the log of a local node: %w", err)
	}
	defer file.Close() // the process has its own
	n := &localNode{cmd: exec.Command(program, args...), log: log, stopped: make(chan error, 1)}
	n.cmd.Stdout, n.cmd.Stderr = file, file
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the client, which stops the nodes itself
	for _, setting := range os.Environ() {
		if !strings.HasPrefix(setting, "PYTASKS_") && !strings.HasPrefix(setting, "WORKER_NAME=") {
			n.cmd.Env = append(n.cmd.Env, setting)
		}
	}
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a local node: %w", err)
	}
	go func() { n.stopped <- n.cmd.Wait() }()
	return n, nil
}

// stop ends the nodes in good order, or by force where that takes too long, and removes
// their data.
func (l *localCluster) stop() {
	for _, n := range l.nodes {
		n.cmd.Process.Signal(syscall.SIGTERM)
	}
	late := time.After(localStop)
	for _, n := range l.nodes {
		select {
		case <-n.stopped:
		case <-late:
			late = time.After(0)
			n.cmd.Process.Kill()
			<-n.stopped
		}
	}
	os.RemoveAll(l.dir)
}

// freePorts returns addresses on loopback on which nobody listens, TCP or UDP.
func freePorts(count int) ([]string, error) {
	var addrs []string
	for len(addrs) < count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // only at the end, so that no port is found twice
		udp, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue // the port is free for TCP only: another one
		}
		udp.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// lastLines is the end of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}
