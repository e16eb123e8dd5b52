package cli

import (
	"strings"
	"testing"

	"pytasks/node/client/clienttest"
)

// TestComplete: the shell proposes what the cluster has, and nothing where there is none.
func TestComplete(t *testing.T) {
	_, url := clienttest.New(t)
	_, id, _ := runCLI(t, nil, "run", "test.main.add", "x=1", "y=2", "--addr", url)
	id = strings.TrimSpace(id)
	for line, want := range map[string]string{
		"__complete run --addr " + url + " test.main.a":             "test.main.add\n",
		"__complete task get --addr " + url + " 0192":               id + "\ttest.main.add",
		"__complete node rm --addr " + url + " ":                    "a\talive",
		"__complete run --addr " + clienttest.DeadAddr(t) + " test": "",
		"__complete task get --addr " + url + " nothing":            "",
		"__complete task get --addr " + url + " 0192 0192":          "",
		"__complete task retry --addr " + url + " other 0192":       id + "\ttest.main.add",
		"__complete task retry --addr " + url + " " + id + " 0192":  "",
		"__complete task ls --status FA":                            "FAILURE\n",
		"__complete pa":                                             "pack\t",
		"__complete node rm --addr " + url + " --no-such x":         "",
	} {
		_, out, _ := runCLI(t, nil, strings.Split(line, " ")...)
		if want == "" {
			if strings.Contains(out, "0192f0") || strings.Contains(out, "test.main") || strings.Contains(out, "alive") {
				t.Errorf("%s: proposes %s", line, out)
			}
			continue
		}
		if !strings.Contains(out, want) {
			t.Errorf("%s: proposes %q, want %q in it", line, out, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, _ := runCLI(t, nil, "completion", shell); code != 0 || !strings.Contains(out, "pytasks") {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, len(out))
		}
	}
}
