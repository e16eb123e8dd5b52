package python

import (
	"os/exec"
	"strings"
	"testing"
)

// The runner keeps to the syntax of the oldest Python that it promises to run under.
func TestRunnerSyntax(t *testing.T) {
	needPython(t)
	cmd := exec.Command("python3", "-I", "-c", "import ast, sys; ast.parse(sys.stdin.read(), feature_version=(3, 8))")
	cmd.Stdin = strings.NewReader(string(runnerSource))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
