package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// logs waits until the node has logged a line with all of these parts after the first so many bytes of its log.
func (p *process) logs(after int, parts ...string) {
	p.t.Helper()
	eventually(p.t, 10*time.Second, fmt.Sprintf("%s logs %q", p.name, parts), func() error {
		for line := range strings.Lines(p.log()[after:]) {
			if all(parts, func(part string) bool { return strings.Contains(line, part) }) {
				return nil
			}
		}
		return fmt.Errorf("it logged %s", p.log()[after:])
	})
}

// knock is a stranger at the cluster port, of whom the node says something when it debugs. It has when this returns.
func (p *process) knock() {
	p.t.Helper()
	conn, err := net.Dial("tcp", p.cluster)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		p.t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("a stranger is let stand at the door")
	}
}

func all(parts []string, holds func(string) bool) bool {
	for _, part := range parts {
		if !holds(part) {
			return false
		}
	}
	return true
}

// TestReload: SIGHUP changes the log level to that of the file, and nothing else; what cannot be read changes nothing.
func TestReload(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	p := newProcess(t, "n1", "--slots", "2")
	file := filepath.Join(p.dir, "config.yaml")
	reread := func(text string, signal bool) int {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		before := len(p.log())
		if signal {
			p.signal(syscall.SIGHUP)
		}
		return before
	}
	reread("log-level: warn\nmax-queued: 1000\nslots: 4\n", false)
	p.flags = append(p.flags, "--config", file)
	p.start()
	p.ready()
	if strings.Contains(p.log(), "level=INFO") {
		t.Errorf("it logs more than warnings: %s", p.log())
	}

	p.knock() // the first one is a warning
	at := reread("log-level: debug\nmax-queued: 2000\nslots: 8\n", true)
	p.logs(at, "level=INFO", "log level changed", "from=WARN", "to=DEBUG")
	p.logs(at, "level=WARN", "counts from the next start on", "option=max-queued")
	p.knock()
	p.logs(at, "level=DEBUG", "a stranger", "component=cluster") // which was there before
	if strings.Contains(p.log(), "option=slots") {
		t.Errorf("an option that the command line holds is told to change: %s", p.log())
	}

	for _, bad := range []string{"log-level: loud\n", "log-level: [\n", "log-levle: error\n"} {
		at = reread(bad, true)
		p.logs(at, "level=ERROR", "the configuration stays as it was", "err=")
	}
	at = reread("log-level: error\nmax-queued: 1000\n", true)
	p.logs(at, "level=INFO", "log level changed", "from=DEBUG", "to=ERROR")
	eventually(t, 10*time.Second, "it logs errors only", func() error {
		before := len(p.log())
		p.knock()
		if len(p.log()) > before {
			return fmt.Errorf("it logged %s", p.log()[before:])
		}
		return nil
	})
	if strings.Contains(p.log()[at:], "option=max-queued") {
		t.Error("what is as at the start is told to change")
	}
	p.stop()
}

// TestReloadHeld: a level that was given in a place that wins over the file stays, and the log says so.
func TestReloadHeld(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for by, give := range map[string]func(*process){
		"--log-level":       func(p *process) { p.flags = append(p.flags, "--log-level", "info") },
		"PYTASKS_LOG_LEVEL": func(p *process) { p.env = append(p.env, "PYTASKS_LOG_LEVEL=info") },
	} {
		p := newProcess(t, "n1")
		file := filepath.Join(p.dir, "config.yaml")
		if err := os.WriteFile(file, []byte("log-level: debug\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		p.env = append(p.env, "PYTASKS_CONFIG="+file)
		give(p)
		p.start()
		p.ready()
		p.signal(syscall.SIGHUP)
		p.logs(0, "level=WARN", "the log level of the file does not count", "by="+by, "level=info")
		if strings.Contains(p.log(), "level=DEBUG") || strings.Contains(p.log(), "log level changed") {
			t.Errorf("given by %s, the level has changed: %s", by, p.log())
		}
		p.stop()
	}
}
