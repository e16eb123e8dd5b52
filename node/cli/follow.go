package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pytasks/node/client"
)

func (c *cli) taskWatchCommand() *cobra.Command {
	logs := false
	cmd := c.clientFlags(&cobra.Command{
		Use:   "watch ID",
		Short: "Follow a task until it ends",
		Long: `Follow a task until it ends: a line for each change of its state, and of how far it says it is; with --json
one line of JSON each time. The exit code is that of the task: 0 if it succeeded, 1 if not.`,
		Args: exactly("ID"),
	})
	cmd.Flags().BoolVar(&logs, "logs", false, "print what the task prints, too; its states go to stderr then")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		b := c.bar("waiting for the task")
		defer b.end()
		states, log := c.out, io.Writer(nil)
		switch {
		case logs && c.json:
			log = b.beside(c.err)
		case logs:
			states, log = c.err, b.beside(c.out)
		}
		colours := c.colours(states)
		states = b.beside(states)
		t, err := c.follow(cmd.Context(), api, args[0], log, func(t *client.Task) error {
			b.tell(progressOf(t))
			if c.json {
				_, err := fmt.Fprintf(states, "%s\n", compact(t.Raw))
				return err
			}
			if b != nil && t.Progress != nil { // which the bar shows
				return nil
			}
			_, err := fmt.Fprintln(states, time.Now().Format(time.TimeOnly), stateLine(t, colours))
			return err
		})
		if err != nil {
			return err
		}
		b.end()
		if !c.json && t.Status == "SUCCESS" {
			fmt.Fprintln(states, "result", string(t.Result))
		}
		return t.Failure()
	}
	return c.completes(cmd, completeIDs)
}

// stateLine says in what state a task is: STARTED, attempt 1 on n2, 40% halfway.
func stateLine(t *client.Task, colours bool) string {
	line := t.Status
	if colours {
		line = statusStyle(t.Status).on(line)
	}
	switch {
	case t.Finished():
		if d := took(t); d != "" {
			line += " after " + d
		}
	case t.Attempt > 0:
		line += fmt.Sprintf(", attempt %d on %s", t.Attempt, cmp.Or(t.Node, "a node"))
	}
	if t.Status == "STARTED" && t.Progress != nil {
		line += fmt.Sprintf(", %.0f%% %s", 100*t.Progress.Fraction, printable(t.Progress.Text))
	}
	return line
}

// progressOf is how far a task is, for a bar.
func progressOf(t *client.Task) (fraction float64, what string) {
	what = t.Status
	if t.Status == "STARTED" && t.Node != "" {
		what = "running on " + t.Node
	}
	if t.Status != "STARTED" || t.Progress == nil {
		return unknown, what
	}
	if t.Progress.Text != "" {
		what = t.Progress.Text
	}
	return t.Progress.Fraction, what
}

// await returns a task when it has ended. Meanwhile a terminal shows how far it is, and with logs what it prints.
func (c *cli) await(ctx context.Context, api *client.Client, id string, logs bool) (*client.Task, error) {
	b := c.bar("waiting for the task")
	defer b.end()
	if b == nil && !logs {
		return api.Await(ctx, id)
	}
	var log io.Writer
	if logs {
		log = b.beside(c.err)
	}
	return c.follow(ctx, api, id, log, func(t *client.Task) error {
		b.tell(progressOf(t))
		return nil
	})
}

// follow tells of each change of a task until it has ended, and returns it then. What the task prints goes to log, nil = nowhere;
// all of it is there when follow returns, unless it breaks off, which is said there.
func (c *cli) follow(ctx context.Context, api *client.Client, id string, log io.Writer, each func(*client.Task) error) (*client.Task, error) {
	var logging sync.WaitGroup
	logCtx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		logging.Wait()
	}()
	follow := sync.OnceFunc(func() { // once it is known that there is such a task
		logging.Go(func() {
			if err := api.Log(logCtx, id, true, log); err != nil && logCtx.Err() == nil {
				fmt.Fprintf(log, "pytasks: %v\n", err)
			}
		})
	})
	t, err := api.Follow(ctx, id, func(t *client.Task) error {
		if log != nil {
			follow()
		}
		return each(t)
	})
	if err == nil {
		logging.Wait()
	}
	return t, err
}
