package node

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pytasks/httpapi"
	"pytasks/node/client"
)

// needPython skips a test where there is no interpreter.
func needPython(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 on the PATH")
	}
}

// tool runs the command line against a node and returns what it printed.
func (p *process) tool(args ...string) (string, error) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.program, args...)
	cmd.Env = append(os.Environ(), "PYTASKS_ADDR="+p.http)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("pytasks %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// tools is tool for commands that succeed.
func (p *process) tools(args ...string) string {
	p.t.Helper()
	out, err := p.tool(args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// call runs a task and returns how it ended.
func (p *process) call(kind, args string, options ...string) *client.Task {
	p.t.Helper()
	body := fmt.Sprintf(`{"type":%q,"args":%s}`, kind, args)
	if len(options) > 0 {
		body = fmt.Sprintf(`{"type":%q,"args":%s,%s}`, kind, args, strings.Join(options, ","))
	}
	return p.finished(p.submit(body), 60*time.Second)
}

// gives checks the result of a task.
func (p *process) gives(kind, args, want string) {
	p.t.Helper()
	if task := p.call(kind, args); task.Status != "SUCCESS" || string(task.Result) != want {
		p.t.Errorf("%s(%s) ended as %s, want the result %s", kind, args, task.Raw, want)
	}
}

// httpapi.PackReady waits until every node of the cluster says that a pack is ready there.
func (ps processes) packReady(name string, nodes int) {
	ps[0].t.Helper()
	eventually(ps[0].t, 60*time.Second, "pack "+name+" is ready on all nodes", func() error {
		var p struct {
			Nodes []struct{ Name, Status, Error string }
		}
		if err := ps[0].read("/packs/"+name, &p); err != nil {
			return err
		}
		for _, n := range p.Nodes {
			if n.Status != httpapi.PackReady {
				return fmt.Errorf("%s: %s %s", n.Name, n.Status, n.Error)
			}
		}
		if len(p.Nodes) != nodes {
			return fmt.Errorf("%d nodes, want %d", len(p.Nodes), nodes)
		}
		return nil
	})
}

// copyPack returns a copy of a pack of testdata with some texts in its files replaced.
func copyPack(t *testing.T, name string, replace ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "packs", name))); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"main.py", "package.json"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.NewReplacer(replace...).Replace(string(text)))
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// pytasks runs a command line of the program, whose exit code is to be want, and returns what it prints.
func pytasks(t *testing.T, want int, args ...string) string {
	t.Helper()
	code, out := command(t, args...)
	if code != want {
		t.Errorf("pytasks %s: got exit code %d, want %d\n%s", strings.Join(args, " "), code, want, out)
	}
	return out
}

// holds checks that all parts are in a text.
func holds(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("got %q, want %q in it", text, part)
		}
	}
}

// member returns a member of a JSON object that is a text, "" if there is none.
func member(object []byte, name string) string {
	var members map[string]any
	if json.Unmarshal(object, &members) != nil {
		return ""
	}
	text, _ := members[name].(string)
	return text
}

// tail returns the last lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}
