package node

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadme does what the README tells a reader to do, from top to bottom: its
// shell commands, on other ports, and its program.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	needPython(t)
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(buildProgram(t), filepath.Join(dir, "pytasks")); err != nil {
		t.Fatal(err)
	}
	shell := &shell{t: t, dir: dir, ports: otherPorts(t, "8080", "8081", "8082", "7946", "7947", "7956", "7957", "7966", "7967")}
	for _, cmd := range commandsOf(string(text)) {
		shell.run(cmd)
	}
	if shell.done < 10 {
		t.Errorf("ran %d commands: is the README read right?", shell.done)
	}
	t.Run("program", func(t *testing.T) { compile(t, string(text)) })
}

// TestPages does what the pages about packs tell a reader to do: each is one shell script from top to
// bottom, in an empty folder, against a node that they share.
func TestPages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	program := buildProgram(t)
	dir := t.TempDir()
	if err := os.Symlink(program, filepath.Join(dir, "pytasks")); err != nil {
		t.Fatal(err)
	}
	shell := &shell{t: t, dir: dir, ports: otherPorts(t, "8080")}
	shell.run("./pytasks dev --task-max-memory 512MiB")
	goCache, err := exec.Command("go", "env", "GOCACHE").Output() // it is in the user's cache, which they do not get
	if err != nil {
		t.Fatal(err)
	}
	for page, needs := range map[string][]string{
		"README.md":         {"python3"},
		"MIGRATING.md":      {"python3"},
		"python/README.md":  {"python3"},
		"command/README.md": {"gcc", "make"},
		"wasm/README.md":    {"go"},
	} {
		t.Run(page, func(t *testing.T) {
			for _, program := range needs {
				if _, err := exec.LookPath(program); err != nil {
					t.Skipf("no %s on the PATH", program)
				}
			}
			text, err := os.ReadFile(filepath.Join("..", "taskpacks", page))
			if err != nil {
				t.Fatal(err)
			}
			script, commands := scriptOf(string(text))
			if commands < 3 {
				t.Errorf("%d commands: is the page read right?", commands)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "bash", "-eux")
			cmd.WaitDelay = time.Second // for what it has started
			cmd.Stdin = strings.NewReader(shell.ports.Replace(script))
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "XDG_CACHE_HOME="+t.TempDir(),
				"GOCACHE="+strings.TrimSpace(string(goCache)), "PYTASKS_ADDR="+shell.ports.Replace("http://127.0.0.1:8080"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// fileName is a line that names the file which the fenced block after it shows.
var fileName = regexp.MustCompile("^`([a-zA-Z0-9_./-]+)`.*:$")

// onlyRead begins the command lines that a script does not carry out: they start nodes, or name servers of
// others. That their flags are there is seen all the same.
var onlyRead = regexp.MustCompile(`^    pytasks (dev|start|manager)\b`)

// scriptOf makes a page a shell script, of its indented lines and of the files that it shows, and counts the
// commands.
func scriptOf(text string) (script string, commands int) {
	file, fenced := "", false
	for _, line := range strings.Split(text, "\n") {
		body, indented := strings.CutPrefix(line, "    ")
		name := fileName.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
			if file != "" && fenced {
				script += "mkdir -p " + filepath.Dir(file) + "; cat >" + file + " <<'END OF FILE'\n"
			} else if file != "" {
				script += "END OF FILE\n"
				file = ""
			}
		case fenced && file != "":
			script += line + "\n"
		case fenced:
		case name != nil:
			file = name[1]
		case onlyRead.MatchString(line):
			script += body + " --help >/dev/null\n"
			commands++
		case indented && strings.TrimSpace(body) != "" && body[0] != '{':
			script += body + "\n"
			commands++
		case strings.TrimSpace(line) != "":
			file = "" // other words stand between
		}
	}
	return script, commands
}

// commandsOf returns the indented commands of a text that stand in no fenced block,
// lines that a backslash continues joined.
func commandsOf(text string) []string {
	var cmds []string
	more, fenced := false, false
	for _, line := range strings.Split(text, "\n") {
		body, indented := strings.CutPrefix(line, "    ")
		body = strings.TrimSpace(body)
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if fenced || !indented || body == "" || strings.HasPrefix(body, "{") {
			continue
		}
		next := strings.HasSuffix(body, "\\")
		body = strings.TrimSuffix(body, "\\")
		if more {
			cmds[len(cmds)-1] += " " + body
		} else {
			cmds = append(cmds, body)
		}
		more = next
	}
	return cmds
}

// otherPorts maps each of the README's ports to a free one.
func otherPorts(t *testing.T, ports ...string) *strings.Replacer {
	t.Helper()
	var pairs []string
	for i, addr := range testAddrs(t, len(ports)) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, ":"+ports[i], ":"+port)
	}
	return strings.NewReplacer(pairs...)
}

// shell runs a reader's commands, those that go on in the background.
type shell struct {
	t     *testing.T
	dir   string
	ports *strings.Replacer
	vars  []string
	node  *exec.Cmd // of `dev`
	done  int
}

func (s *shell) run(cmd string) {
	s.t.Helper()
	addr := "PYTASKS_ADDR=" + s.ports.Replace("http://127.0.0.1:8080")
	switch {
	case strings.HasPrefix(cmd, "J="):
		s.vars = append(s.vars, s.ports.Replace(cmd))
		s.endDev() // the cluster uses its ports
	case strings.HasPrefix(cmd, "make "):
		target := strings.Fields(cmd)[1]
		out, err := exec.Command("make", "-n", "-C", "..", target).CombinedOutput()
		if err != nil {
			s.t.Errorf("%s: %v\n%s", cmd, err, out)
		}
	case strings.HasPrefix(cmd, "./pytasks dev"):
		s.node = s.background(cmd + s.ports.Replace(" --http 127.0.0.1:8080"))
		s.await("http://127.0.0.1:8080")
	case strings.HasPrefix(cmd, "./pytasks start"):
		s.background(s.ports.Replace(cmd))
		if strings.Contains(cmd, "--name c") {
			s.await("http://127.0.0.1:8080", "http://127.0.0.1:8081", "http://127.0.0.1:8082")
		}
	default:
		out, err := s.output(cmd, addr)
		for end := time.Now().Add(10 * time.Second); err != nil && strings.HasSuffix(cmd, "cluster status") && time.Now().Before(end); {
			time.Sleep(200 * time.Millisecond) // the nodes have only just met
			out, err = s.output(cmd, addr)
		}
		if err != nil || bytes.Contains(out, []byte(`"message"`)) {
			s.t.Errorf("%s: %v\n%s", cmd, err, out)
		}
	}
	s.done++
}

func (s *shell) output(cmd, addr string) ([]byte, error) {
	c := s.command(s.ports.Replace(cmd))
	c.Env = append(c.Env, addr)
	return c.CombinedOutput()
}

func (s *shell) command(cmd string) *exec.Cmd {
	c := exec.Command("bash", "-c", strings.Join(append(s.vars, "exec "+cmd), "; "))
	c.Dir = s.dir
	c.Env = os.Environ()
	return c
}

func (s *shell) background(cmd string) *exec.Cmd {
	s.t.Helper()
	c := s.command(cmd)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if s.t.Failed() {
			s.t.Logf("%s:\n%s", cmd, out.String())
		}
	})
	return c
}

func (s *shell) endDev() {
	if s.node == nil {
		return
	}
	_ = s.node.Process.Signal(syscall.SIGTERM)
	_ = s.node.Wait()
	s.node = nil
}

func (s *shell) await(urls ...string) {
	s.t.Helper()
	for _, url := range urls {
		eventually(s.t, 20*time.Second, url+" is ready", func() error {
			resp, err := http.Get(s.ports.Replace(url) + "/readyz")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return errors.New("not ready")
			}
			return nil
		})
	}
}

// compile builds the README's program as a module of its own beside this one.
func compile(t *testing.T, text string) {
	_, rest, ok := strings.Cut(text, "```go\n")
	program, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("the README has no program")
	}
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(here, "node", "testdata", "readme")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "greeter")
	if out, err := exec.Command("go", "build", "-o", bin, "./testdata/readme").CombinedOutput(); err != nil {
		t.Fatalf("the README's program does not build: %v\n%s", err, out)
	}
	out, err := exec.Command(bin, "version").CombinedOutput()
	if err != nil {
		t.Errorf("version: %v\n%s", err, out)
	}
}
