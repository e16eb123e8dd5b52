package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pytasks/httpapi/auth"
)

// TestDocker runs the image and compose.yaml on a real engine, by the commands of deploy/README.md: a node on scratch, one
// container, three replicas, five, and three at other addresses. Between the page's commands it kills the leader and looks.
func TestDocker(t *testing.T) {
	e := needEngine(t)
	e.makeBase()
	page, err := os.ReadFile(filepath.Join(e.dir, "deploy", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	e.onScratch()
	e.oneContainer(commandsOf(section(t, string(page), "One container")))
	e.compose(commandsOf(section(t, string(page), "Compose")))
	e.upgrade(commandsOf(section(t, string(page), "Upgrades")))
	e.sh("deploy", "docker compose --profile monitoring config --quiet")
}

// section returns the text of a page below one of its headings.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, text, ok := strings.Cut(page, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("the page has no section %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// onScratch runs the program without anything around it.
func (e *engine) onScratch() {
	image := e.project + ":scratch"
	e.sh(".", fmt.Sprintf("%s build -q -f deploy/Dockerfile --target prebuilt --build-arg BASE=scratch -t %s .", e.docker, image))
	if out := e.sh(".", "docker run --rm "+image+" version"); !strings.HasPrefix(out, "pytasks ") {
		e.t.Errorf("version on scratch: %q", out)
	}
	e.sh(".", fmt.Sprintf(`docker run -d --name %s-scratch --health-interval 1s -e PYTASKS_SECRET="$(docker run --rm %s secret new)" %[2]s`, e.project, image))
	node := e.healthy(1)[0]
	e.asUser(node)
	e.sh(".", "docker rm -f -v "+node.ID)
}

// oneContainer follows the page's section about one, under other names and at another port.
func (e *engine) oneContainer(commands []string) {
	_, port, _ := strings.Cut(testAddrs(e.t, 1)[0], ":")
	names := strings.NewReplacer("-t pytasks ", "-t "+e.image+" ", "--name pytasks ", "--name "+e.project+" ", ":8080:", ":"+port+":",
		"-v pytasks:", "-v "+e.project+":", "--rm pytasks ", "--rm "+e.image+" ", "exec pytasks ", "exec "+e.project+" ")
	if len(commands) != 4 {
		e.t.Errorf("%d commands about one container, want 4: is the page read right?", len(commands))
	}
	for _, c := range commands {
		out := e.sh(".", regexp.MustCompile(` pytasks$`).ReplaceAllString(names.Replace(c), " "+e.image))
		if strings.Contains(c, "test.main.add") && out != "3\n" {
			e.t.Errorf("%s: %q, want 3", c, out)
		}
	}
	node := e.running()[0]
	e.asUser(node)
	e.runsTask(node)
	e.sh(".", "docker rm -f "+node.ID)
}

// compose follows the page's section about that, and does to the cluster between its commands what happens to clusters.
func (e *engine) compose(commands []string) {
	var ids, addrs []string // of tasks that must never be lost, of containers
	scaled, down := false, false
	for _, c := range commands {
		if c == "cd deploy" {
			continue
		}
		_, port, _ := strings.Cut(testAddrs(e.t, 1)[0], ":")
		out := e.sh("deploy", strings.ReplaceAll(c, ":8080/", ":"+port+"/"))
		switch {
		case strings.HasSuffix(c, "up -d --wait") && !down:
			for _, node := range e.healthy(3) {
				e.asUser(node)
				ids, addrs = append(ids, e.runsTask(node)), append(addrs, node.addr())
			}
		case strings.Contains(c, "cluster status") && !strings.Contains(out, "goes on when one more node fails"):
			e.t.Errorf("%s:\n%s", c, out)
		case strings.Contains(c, "test.main.add") && out != "3\n":
			e.t.Errorf("%s: %q, want 3", c, out)
		case strings.Contains(c, "hello.main.average") && !strings.Contains(out, `"mean":3`):
			e.t.Errorf("%s: %q, want a mean of 3", c, out)
		case strings.HasSuffix(c, "node=5"):
			e.killLeader()
			e.spreads(5)
			scaled = true
		case strings.HasSuffix(c, "compose down"):
			e.takeAddresses()
			down = true
		case strings.HasSuffix(c, "up -d --wait") && down:
			for i, node := range e.healthy(3) {
				if slices.Contains(addrs, node.addr()) {
					e.t.Errorf("container %s has an address of before, %s, so that this shows nothing", node.ID, node.addr())
				}
				p := &process{t: e.t, name: node.ID, http: node.url()}
				p.must(http.StatusOK, "GET", "/task/"+ids[i], "")
				e.runsTask(node)
			}
		case strings.HasSuffix(c, "task ls") && strings.Count(out, "SUCCESS") < 10:
			e.t.Errorf("%s: %s", c, out)
		}
	}
	if !scaled || !down || len(ids) != 3 || len(commands) < 12 {
		e.t.Errorf("%d commands about Compose, scaled %v, taken down %v: is the page read right?", len(commands), scaled, down)
	}
}

// upgrade replaces one container after another, by the page's command, while somebody asks the whole time.
func (e *engine) upgrade(commands []string) {
	if len(commands) != 1 {
		e.t.Fatalf("%d commands about upgrades, want 1: is the page read right?", len(commands))
	}
	before := e.healthy(3)
	e.sh("deploy", commands[0])
	for _, node := range e.healthy(3) {
		if slices.ContainsFunc(before, func(c container) bool { return c.ID == node.ID }) {
			e.t.Errorf("container %s is still the one from before", node.ID)
		}
		e.runsTask(node)
	}
	if slices.Contains(auth.Scopes(), "metrics:read") {
		e.sh("deploy", "docker exec "+e.running()[0].ID+" pytasks user add prometheus --scopes metrics:read")
	}
}

// healthy waits until so many containers run and their health checks say that all is well.
func (e *engine) healthy(want int) (nodes []container) {
	e.t.Helper()
	eventually(e.t, time.Minute, fmt.Sprintf("%d healthy containers", want), func() error {
		nodes = e.running()
		for _, node := range nodes {
			if node.State.Health.Status != "healthy" {
				return fmt.Errorf("%s is %s", node.ID, node.State.Health.Status)
			}
		}
		if len(nodes) != want {
			return fmt.Errorf("%d containers", len(nodes))
		}
		return nil
	})
	return nodes
}

// asUser sees to it that the node's process is not root's, and could not become it.
func (e *engine) asUser(node container) {
	e.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", node.State.Pid))
	if err != nil {
		e.t.Logf("the process of container %s is not seen here: %v", node.ID, err)
	} else if !strings.Contains(string(status), "\nUid:\t10001\t10001\t10001\t10001\n") {
		e.t.Errorf("container %s runs as\n%s\nwant 10001", node.ID, status)
	}
	if node.Config.User != "10001:10001" {
		e.t.Errorf("container %s is to run as %q, want 10001:10001", node.ID, node.Config.User)
	}
}

// runsTask submits a task to a node at its port of this machine, waits for the result, and returns the task's id.
func (e *engine) runsTask(node container) string {
	e.t.Helper()
	var task struct{ ID, Status string }
	p := &process{t: e.t, name: node.ID, http: node.url()}
	a := p.must(http.StatusOK, "POST", "/task?wait=20s", `{"type": "test.main.add", "args": {"x": 1, "y": 2}}`, "Idempotency-Key", node.ID)
	if err := json.Unmarshal(a.body, &task); err != nil || task.Status != "SUCCESS" {
		e.t.Fatalf("a task through %s: %v, %s", node.ID, err, a.body)
	}
	return task.ID
}

// killLeader kills the container of the leader, as a crash of it would end, and starts it again when the others have gone on.
func (e *engine) killLeader() {
	nodes := e.healthy(5)
	leader := e.leader(nodes)
	e.sh(".", "docker kill "+leader.ID)
	for _, node := range nodes {
		if node.ID != leader.ID {
			e.sh(".", fmt.Sprintf("docker exec %s pytasks run test.main.add x=1 y=2 --wait", node.ID))
		}
	}
	e.sh(".", "docker start "+leader.ID)
	for _, node := range e.healthy(5) {
		if node.ID == leader.ID {
			e.sh(".", fmt.Sprintf("docker exec %s pytasks run test.main.add x=1 y=2 --wait", node.ID))
		}
	}
}

// leader returns the container of the node that leads.
func (e *engine) leader(nodes []container) container {
	e.t.Helper()
	var view struct {
		Leader string
		Nodes  []struct{ Name, HTTP string }
	}
	if err := json.Unmarshal([]byte(e.sh(".", "docker exec "+nodes[0].ID+" pytasks node ls --json")), &view); err != nil {
		e.t.Fatal(err)
	}
	for _, n := range view.Nodes {
		for _, c := range nodes {
			if n.Name == view.Leader && n.HTTP == "http://"+c.addr()+":8080" {
				return c
			}
		}
	}
	e.t.Fatalf("no container is that of the leader: %+v", view)
	return container{}
}

// spreads gives so many nodes, which are all, work for all of them, and waits until each has done some.
func (e *engine) spreads(nodes int) {
	e.t.Helper()
	did := map[string]bool{}
	p := &process{t: e.t, name: "any node", http: e.healthy(nodes)[0].url()}
	eventually(e.t, 30*time.Second, fmt.Sprintf("all %d nodes run tasks", nodes), func() error {
		var batch struct{ IDs []string }
		tasks := strings.Repeat(`{"type": "test.main.sleep", "args": {"seconds": 0.3}},`, 40)
		a := p.must(http.StatusOK, "POST", "/tasks/batch", `{"tasks": [`+tasks[:len(tasks)-1]+`]}`)
		if err := json.Unmarshal(a.body, &batch); err != nil {
			e.t.Fatal(err)
		}
		for _, id := range batch.IDs {
			var task struct{ Status, Node string }
			a := p.must(http.StatusOK, "GET", "/task/"+id+"?wait=20s", "")
			if err := json.Unmarshal(a.body, &task); err != nil || task.Status != "SUCCESS" {
				e.t.Fatalf("a task of five nodes: %v, %s", err, a.body)
			}
			did[task.Node] = true
		}
		if len(did) != nodes {
			return fmt.Errorf("only %v have run tasks", did)
		}
		return nil
	})
}

// takeAddresses takes the network away that the containers had, so that they get other addresses.
func (e *engine) takeAddresses() {
	e.t.Helper()
	for i := range 2 { // one more than was used, as the engine gives out the first that is free
		name := fmt.Sprintf("%s-taken-%d", e.project, i)
		if out, err := exec.Command(e.docker, "network", "create", name).CombinedOutput(); err != nil {
			e.t.Fatalf("network: %v\n%s", err, out)
		}
	}
}
