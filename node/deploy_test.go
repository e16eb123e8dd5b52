package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pytasks/node/config"
)

// beyondDrain is how long a node may take to stop after its drain timeout, and some more.
const beyondDrain = 30 * time.Second

// ofCompose are variables of compose.yaml that no node reads.
var ofCompose = []string{"PYTASKS_IMAGE", "PYTASKS_PORTS"}

// TestDeployOptions: what the files in deploy/ tell a node exists, and nobody kills it while it drains.
func TestDeployOptions(t *testing.T) {
	known := []string{"PYTASKS_SECRET", "PYTASKS_ADDR", "PYTASKS_TOKEN", "PYTASKS_CONFIG"}
	for _, o := range config.Options() {
		known = append(known, o.Env())
	}
	variable := regexp.MustCompile(`PYTASKS_[A-Z][A-Z_]*[A-Z]`)
	grace := regexp.MustCompile(`(?m)^ *(?:stop_grace_period: |terminationGracePeriodSeconds: |TimeoutStopSec=)([0-9]+)`)
	for file, kills := range map[string]bool{"Dockerfile": false, "compose.yaml": true, "kubernetes.yaml": true, "pytasks.service": true, "pytasks.yaml": false, "README.md": false} {
		text, err := os.ReadFile(filepath.Join("../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range variable.FindAllString(string(text), -1) {
			if !slices.Contains(known, name) && !slices.Contains(ofCompose, name) {
				t.Errorf("%s names %s, which no node reads", file, name)
			}
		}
		if !kills {
			continue
		}
		found := grace.FindStringSubmatch(string(text))
		if found == nil {
			t.Errorf("%s does not say how long a node has to stop", file)
			continue
		}
		d, err := time.ParseDuration(found[1] + "s")
		if want := config.Default().DrainTimeout + beyondDrain; err != nil || d < want {
			t.Errorf("%s gives a node %s to stop, want %s or more: %v", file, d, want, err)
		}
	}
}

// TestDeployCommands runs what deploy/README.md tells the reader to do for systemd and Kubernetes, as far as that needs neither.
func TestDeployCommands(t *testing.T) {
	page, err := os.ReadFile("../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS("../deploy")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(buildProgram(t), filepath.Join(dir, "pytasks")); err != nil {
		t.Fatal(err)
	}
	for heading, want := range map[string]string{"systemd": "http: 192.0.2.1:8080", "Kubernetes": ""} {
		t.Run(heading, func(t *testing.T) {
			script, commands := scriptOf(section(t, string(page), heading))
			if commands == 0 {
				t.Fatal("no commands: is the page read right?")
			}
			if _, err := exec.LookPath("kubectl"); err != nil && strings.Contains(script, "kubectl") {
				t.Skip("no kubectl on the PATH")
			}
			// scriptOf only looks at the flags of commands that start nodes. This one starts none.
			script = regexp.MustCompile(`(?m)^(pytasks start .*--print-config) --help >/dev/null$`).ReplaceAllString(script, "$1")
			cmd := exec.CommandContext(t.Context(), "bash", "-eu")
			cmd.Dir, cmd.Stdin = dir, strings.NewReader(script)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%v\n%s\n%s", err, script, out)
			}
		})
	}
	if text, err := os.ReadFile(filepath.Join(dir, "secret.yaml")); err == nil && !strings.Contains(string(text), "\n  secret: ") {
		t.Errorf("the secret for Kubernetes has no key %q:\n%s", "secret", text)
	}
}

// TestUnit has systemd judge deploy/pytasks.service: that all of it is understood, and how much the node could do to its machine.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze on the PATH")
	}
	text, err := os.ReadFile("../deploy/pytasks.service")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unit := filepath.Join(dir, "pytasks.service")
	judge := func(text string) (verify, security string) {
		t.Helper()
		if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(analyze, "--man=no", "verify", unit).CombinedOutput()
		if err != nil || len(out) > 0 {
			verify = fmt.Sprintf("%v\n%s", err, out)
		}
		if out, err := exec.Command(analyze, "--offline=true", "--no-pager", "--threshold=20", "security", unit).CombinedOutput(); err != nil {
			security = fmt.Sprintf("%v\n%s", err, out)
		}
		return verify, security
	}
	program, err := os.Executable() // any that is there
	if err != nil {
		t.Fatal(err)
	}
	here := strings.ReplaceAll(string(text), "/usr/local/bin/pytasks", program)
	if verify, security := judge(here); verify != "" || security != "" {
		if strings.Contains(security, "unrecognized option") || strings.Contains(security, "Unknown operation") {
			t.Skip("this systemd-analyze is too old to judge files")
		}
		t.Errorf("%s\n%s", verify, security)
	}
	open := strings.NewReplacer("ProtectSystem=strict", "ProtectSytem=strict", "NoNewPrivileges=yes", "NoNewPrivileges=no", "CapabilityBoundingSet=\n", "").Replace(here)
	if verify, security := judge(open); verify == "" || security == "" {
		t.Errorf("an open unit with a typing error is taken: %q, %q", verify, security)
	}
}
