package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pytasks/node/client"
)

// buildVersioned builds the program as of a version.
func buildVersioned(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pytasks")
	args := []string{"build", "-ldflags", "-X pytasks/node.version=" + version, "-o", path}
	if raceDetected() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "pytasks")...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// TestProcessRollingReplacement: under load, the program of one node after the other is replaced by that of another version, on
// the same data directory. No request fails for a client that sends what was answered 503 once more, no attempt is lost, and
// meanwhile the cluster says that its nodes differ.
func TestProcessRollingReplacement(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	before, after := buildVersioned(t, "v1.0.0"), buildVersioned(t, "v1.1.0")
	var ps processes
	for i := range 3 {
		p := newProcess(t, fmt.Sprintf("n%d", i+1), "--bootstrap-expect", "3", "--drain-timeout", "5s")
		p.program = before
		ps = append(ps, p)
	}
	for _, p := range ps {
		p.flags = append(ps.joinFlags(), p.flags...)
		p.start()
	}
	ps.ready()
	ps.waitVoters(3)
	ps.waitVersions("v1.0.0", "v1.0.0", "v1.0.0")
	load := ps.load(6)
	load.more(50)
	later := ps.submitAll(repeat(sleepFor(0, `"delay":3`), 20), 5)

	for i, p := range ps {
		p.stop()
		load.more(20) // two nodes go on
		p.program = after
		p.start()
		p.ready()
		want := slices.Concat(slices.Repeat([]string{"v1.1.0"}, i+1), slices.Repeat([]string{"v1.0.0"}, 2-i))
		ps.waitVersions(want...)
		load.more(50)
		out, err := ps[1].tool("cluster", "status")
		if mixed := i < 2; mixed != (err != nil) || mixed != strings.Contains(out, "not all nodes run the same version") {
			t.Errorf("with the versions %v cluster status says: %v: %s", want, err, out)
		}
	}
	load.end()
	for i, id := range later {
		if task := ps[i%3].succeeded(id, 20*time.Second); len(task.Attempts) > 0 {
			t.Errorf("task %s was tried before: %+v", id, task.Attempts)
		}
	}
}

// waitVersions waits until each node says which version each of them runs, and so does the command line.
func (ps processes) waitVersions(want ...string) {
	t := ps[0].t
	t.Helper()
	for _, p := range ps {
		eventually(t, 10*time.Second, p.name+" knows the versions", func() error {
			var view client.Cluster
			if err := json.Unmarshal([]byte(p.tools("node", "ls", "--json")), &view); err != nil {
				return err
			}
			got := map[string]string{}
			for _, n := range view.Nodes {
				got[n.Name] = n.Version
			}
			for i, q := range ps {
				if got[q.name] != want[i] {
					return errors.New(fmt.Sprint(slices.Sorted(maps.Values(got)), ", want ", want))
				}
			}
			return nil
		})
	}
}
