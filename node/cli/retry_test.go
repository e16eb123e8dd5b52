package cli

import (
	"io"
	"os"
	"strings"
	"testing"

	"pytasks/node/client/clienttest"
)

func TestTaskRetry(t *testing.T) {
	for _, c := range []struct {
		line, answer string
		code         int
		out, err     string
		queued       string // messages of the new tasks, in order
	}{
		{"ID0", "", 0, "000000000003\n", "", "a"},
		{"ID2 ID0", "", 0, "000000000004\n", "", "ca"},
		{"ID1 --json", "", 0, `"status":"PENDING"`, "", "b"},
		{"ID1 --wait", "", 1, "", "FAILURE (error): Error: b", "b"},
		{"ID1 --wait --json", "", 1, `"status":"FAILURE"`, "FAILURE (error): Error: b", "b"},
		{"ID1 ID2 --wait", "", 1, "", "2 of 2 tasks failed", "bc"},
		{"none", "", 1, "", "task none: there is no task none", ""},
		{"none ID0", "", 1, "000000000003\n", "1 of 2 tasks failed", "a"},
		{"--status failure", "y\n", 0, "000000000005\n", "3 tasks: FAILURE. Queue them anew? [y/N]", "abc"},
		{"--status failure --limit 2", "yes\n", 0, "000000000004\n", "2 tasks", "bc"},
		{"--status failure", "n\n", 1, "", "nothing was done", ""},
		{"--status failure", "", 1, "", "nothing was done", ""},
		{"--status failure --limit 1 --yes", "", 0, "000000000003\n", "1 task: FAILURE\n", "c"},
		{"--status REVOKED", "y\n", 0, "", "0 tasks: REVOKED\n", ""},
		{"", "", 2, "", "needs ID, or --status", ""},
		{"--type x", "", 2, "", "needs ID, or --status", ""},
		{"--status STARTED", "", 2, "", "only finished tasks", ""},
		{"--status FAILURE --limit -1", "", 2, "", "--limit -1", ""},
		{"ID0 --status FAILURE", "", 2, "", "not both", ""},
	} {
		t.Run(c.line, func(t *testing.T) {
			api, url := clienttest.New(t)
			line := c.line
			for i, id := range api.FailedTasks(3) {
				line = strings.ReplaceAll(line, "ID"+string(rune('0'+i)), id)
			}
			var out, errs strings.Builder
			cli := &cli{in: strings.NewReader(c.answer), out: &out, err: &errs, getenv: func(string) string { return "" }}
			code := cli.execute(t.Context(), append([]string{"task", "retry", "--addr", url}, strings.Fields(line)...))
			if code != c.code || !strings.Contains(out.String(), c.out) || c.out == "" && out.Len() > 0 || !strings.Contains(errs.String(), c.err) {
				t.Errorf("got %d, %q, %q; want %d, %q, %q", code, out.String(), errs.String(), c.code, c.out, c.err)
			}
			if got := api.Messages(3); got != c.queued {
				t.Errorf("queued %q, want %q", got, c.queued)
			}
		})
	}
}

// TestTaskRetryUnfinished: it is said, and where nobody is to be reached that is what the exit code says.
func TestTaskRetryUnfinished(t *testing.T) {
	api, url := clienttest.New(t)
	id := api.Add(&clienttest.Task{Type: "test.main.add"}, "")
	if code, _, errs := runCLI(t, nil, "task", "retry", id, "--addr", url); code != ExitFailed || !strings.Contains(errs, "not finished") {
		t.Errorf("got %d, %q", code, errs)
	}
	for _, args := range [][]string{{id}, {"--status", "FAILURE"}} {
		if code, _, _ := runCLI(t, nil, append([]string{"task", "retry", "--addr", clienttest.DeadAddr(t)}, args...)...); code != ExitUnreachable {
			t.Errorf("%v: got %d, want %d", args, code, ExitUnreachable)
		}
	}
	nobody, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	api.FailedTasks(1)
	var errs strings.Builder
	c := &cli{in: nobody, out: io.Discard, err: &errs, getenv: func(string) string { return "" }}
	if code := c.execute(t.Context(), []string{"task", "retry", "--status", "FAILURE", "--addr", url}); code != ExitUsage || !strings.Contains(errs.String(), "give --yes") {
		t.Errorf("without a terminal: got %d, %q", code, errs.String())
	}
}
