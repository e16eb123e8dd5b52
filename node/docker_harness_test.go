package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// engine is a Docker engine, and what a test has in it: everything is named after project, and removed with the test.
type engine struct {
	t       *testing.T
	docker  string   // the client
	env     []string // of the client and of all that is run here
	project string   // of Compose, and the name of a single container and its volume
	image   string
	base    string // image that image is built on
	dir     string // what a clone of this repository has to do with images, and the program
}

// needEngine returns the Docker engine of this machine, or skips the test.
func needEngine(t *testing.T) *engine {
	t.Helper()
	if testing.Short() {
		t.Skip("starts containers")
	}
	docker, buildKit := findDocker(t)
	name := "pytasks-test-" + uuid.NewString()[:8]
	e := &engine{t: t, docker: docker, project: name, image: name, base: name + "-base", dir: t.TempDir()}
	e.env = append(os.Environ(), "DOCKER_BUILDKIT="+buildKit, "COMPOSE_PROJECT_NAME="+e.project, "PYTASKS_IMAGE="+e.image,
		"COMPOSE_FILE=compose.yaml:test.yaml", "DOCKER_CLI_HINTS=false")
	t.Cleanup(e.remove)
	e.clone()
	return e
}

// findDocker looks for a client that can build with BuildKit ("1"), since the builder before it is slow, else any.
func findDocker(t *testing.T) (docker, buildKit string) {
	t.Helper()
	out, err := exec.Command("bash", "-c", "type -aP docker").Output()
	clients := strings.Fields(string(out))
	if err != nil || len(clients) == 0 {
		t.Skip("no Docker: there is no docker on the PATH")
	}
	for _, c := range clients {
		text, err := exec.Command(c, "version", "--format", "{{.Server.Version}}").CombinedOutput()
		if err != nil {
			t.Skipf("no Docker engine answers: %s", bytes.TrimSpace(text))
		}
		try := exec.Command(c, "build", "--help")
		try.Env = append(os.Environ(), "DOCKER_BUILDKIT=1")
		if try.Run() == nil {
			return c, "1"
		}
	}
	return clients[0], "0"
}

// clone makes the folder that the page's commands are run in.
func (e *engine) clone() {
	e.t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(e.dir, "pytasks"), "pytasks")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		e.t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.CopyFS(filepath.Join(e.dir, "deploy"), os.DirFS("../deploy")); err != nil {
		e.t.Fatal(err)
	}
	ignore, err := os.ReadFile("../.dockerignore")
	if err != nil {
		e.t.Fatal(err)
	}
	// Looked at more often, so that the test does not wait for that.
	faster := "services:\n  node:\n    healthcheck:\n      interval: 1s\n"
	for name, text := range map[string]string{".dockerignore": string(ignore), "deploy/test.yaml": faster, "bin/docker": e.wrapper()} {
		file := filepath.Join(e.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			e.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			e.t.Fatal(err)
		}
	}
}

// wrapper is the program `docker` as a reader of the page has it, made of what is here: no image can be pulled, Compose may be
// the older docker-compose, which cannot wait, and there is no terminal.
func (e *engine) wrapper() string {
	compose := e.docker + " compose"
	if exec.Command(e.docker, "compose", "version").Run() != nil {
		compose = "docker-compose"
	}
	return strings.NewReplacer("@docker", e.docker, "@compose", compose, "@base", e.base, "@image", e.image, "@project", e.project).Replace(`#!/bin/bash
set -e
prebuilt="build --quiet --target prebuilt --build-arg BASE=@base"
if [ "$1" != compose ]; then
	[ "$1" = build ] || exec @docker "$@"
	shift; exec @docker $prebuilt "$@"
fi
shift
case $1 in
build) exec @docker $prebuilt -f Dockerfile -t @image .. ;;
exec) shift; exec @compose exec -T "$@" ;;
up)
	@compose "${@/#--wait/--no-color}"
	for i in $(seq 600); do
		ids=$(@docker ps --quiet --filter label=com.docker.compose.project=@project)
		[ -n "$ids" ] && [ -z "$(@docker inspect --format '{{.State.Health.Status}}' $ids | grep -v '^healthy$')" ] && exit
		sleep 0.1
	done
	@docker ps; exit 1 ;;
*) exec @compose "$@" ;;
esac
`)
}

// sh runs a command of the page in a folder of the clone, and returns what it printed.
func (e *engine) sh(dir, command string) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.t.Context()), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", command)
	cmd.Dir = filepath.Join(e.dir, dir)
	cmd.Env = append(slices.Clone(e.env), "PATH="+filepath.Join(e.dir, "bin")+":"+os.Getenv("PATH"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	if err := cmd.Run(); err != nil {
		e.t.Fatalf("%s: %v\n%s%s", command, err, out.String(), errs.String())
	}
	e.t.Logf("%.1f s: %s", time.Since(began).Seconds(), command)
	return out.String()
}

// remove takes away all that is named after the project, whatever became of the test.
func (e *engine) remove() {
	if e.t.Failed() {
		for _, id := range e.list("ps", "-a") {
			out, _ := exec.Command(e.docker, "logs", "--tail", "40", id).CombinedOutput()
			e.t.Logf("the log of container %s:\n%s", id, out)
		}
	}
	for _, kind := range [][]string{{"ps", "-a"}, {"network", "ls"}, {"volume", "ls"}, {"image", "ls"}} {
		rm := map[string][]string{"ps": {"rm", "-f", "-v"}, "network": {"network", "rm"}, "volume": {"volume", "rm"}, "image": {"rmi", "-f"}}[kind[0]]
		if ids := e.list(kind...); len(ids) > 0 {
			if out, err := exec.Command(e.docker, append(rm, ids...)...).CombinedOutput(); err != nil {
				e.t.Errorf("%s %s: %v\n%s", kind[0], ids, err, out)
			}
		}
	}
}

// list returns the ids of what `docker ls...` lists with the project's name.
func (e *engine) list(ls ...string) []string {
	filter := "name=" + e.project
	if ls[0] == "image" {
		filter = "reference=" + e.project + "*"
	}
	out, err := exec.Command(e.docker, append(ls, "--quiet", "--filter", filter)...).Output()
	if err != nil {
		e.t.Errorf("docker %s: %v", strings.Join(ls, " "), err)
	}
	ids := strings.Fields(string(out))
	slices.Sort(ids)
	return slices.Compact(ids)
}

// container is what the engine says of one.
type container struct {
	ID     string
	Config struct{ User string }
	State  struct {
		Pid    int
		Health struct{ Status string }
	}
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress string }
		Ports    map[string][]struct{ HostIp, HostPort string }
	}
}

// addr is the container's address among the others.
func (c container) addr() string {
	for _, n := range c.NetworkSettings.Networks {
		return n.IPAddress
	}
	return ""
}

// url is where this machine reaches the node in it.
func (c container) url() string {
	for _, p := range c.NetworkSettings.Ports["8080/tcp"] {
		return fmt.Sprintf("http://%s:%s", p.HostIp, p.HostPort)
	}
	return ""
}

// running returns the project's containers that run.
func (e *engine) running() []container {
	e.t.Helper()
	var all []container
	out, err := exec.Command(e.docker, append([]string{"inspect"}, e.list("ps")...)...).Output()
	if err == nil {
		err = json.Unmarshal(out, &all)
	}
	if err != nil {
		e.t.Fatalf("docker inspect: %v", err)
	}
	return all
}
