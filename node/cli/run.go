package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"pytasks/node/client"
	"pytasks/node/config"
	"pytasks/taskpacks"
)

// runOptions are the flags of `run`.
type runOptions struct {
	wait, logs  bool
	timeout     time.Duration
	priority    int
	delay       time.Duration
	eta         string
	id          string
	tags        []string
	maxAttempts int
	where       []string
}

func (c *cli) runCommand() *cobra.Command {
	var o runOptions
	cmd := c.clientFlags(&cobra.Command{
		Use:   "run TYPE [NAME=VALUE... | @FILE | -]",
		Short: "Queue a task, and with --wait print its result",
		Long: `Queue a task and print its id; with --wait, wait for its end and print its result as
JSON; meanwhile a terminal shows how far it is. A task that fails leaves its error on stderr and exit code 1.

Values are read as the task declares them: x=1 is a number for an int and a text for
a str, mode=fast one of a Literal or an Enum, at=2026-01-31 a datetime. Lists, dicts,
dataclasses and, where it is easier, anything else are written as JSON. NAME=@FILE takes the value from a file, NAME=- from standard
input; NAME=@@TEXT is a text that begins with @. @FILE or - alone is a JSON object of all of them.`,
		Example: `  pytasks run test.main.add x=1 y=2 --wait
  pytasks run test.main.echo value='{"a": [1, 2]}' --delay 10s --tag night`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s needs a task type, such as test.main.add", cmd.CommandPath())
			}
			return nil
		},
	})
	flags := cmd.Flags()
	flags.BoolVar(&o.wait, "wait", false, "wait for the result and print it")
	flags.BoolVar(&o.logs, "logs", false, "with --wait: what the task prints, on stderr, while it runs")
	flags.DurationVar(&o.timeout, "timeout", 0, "end an attempt that runs longer")
	flags.IntVar(&o.priority, "priority", 5, "0 to 9, higher first")
	flags.DurationVar(&o.delay, "delay", 0, "start it no sooner than after this time")
	flags.StringVar(&o.eta, "eta", "", "start it no sooner than at this time, as in 2030-01-31T12:00:00Z")
	flags.StringVar(&o.id, "id", "", "id of your choice")
	flags.StringArrayVar(&o.tags, "tag", nil, "a tag; may be repeated")
	flags.IntVar(&o.maxAttempts, "max-attempts", 0, "try it again until it was tried so often")
	flags.StringSliceVar(&o.where, "where", nil, "labels that its node must have: KEY=VALUE[,...]")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.logs && !o.wait {
			return usagef("--logs goes with --wait; `pytasks task logs -f ID` shows what a task prints later")
		}
		where, err := readWhere(o.where)
		if err != nil {
			return err
		}
		task := &client.Submission{Where: where, Type: args[0], ID: o.id, ETA: o.eta, Tags: o.tags}
		if flags.Changed("priority") {
			task.Priority = &o.priority
		}
		if flags.Changed("timeout") {
			task.Timeout = o.timeout.String()
		}
		if flags.Changed("delay") {
			task.Delay = o.delay.String()
		}
		if flags.Changed("max-attempts") {
			task.Retry = &client.Retry{MaxAttempts: o.maxAttempts}
		}
		api, err := c.client()
		if err != nil {
			return err
		}
		if err := c.readArgs(cmd.Context(), api, task, args[1:]); err != nil {
			return err
		}
		return c.run(cmd.Context(), api, task, &o)
	}
	return c.completes(cmd, completeTypes)
}

// readArgs turns NAME=VALUE texts into the task's args by what its type declares.
func (c *cli) readArgs(ctx context.Context, api *client.Client, task *client.Submission, texts []string) error {
	schema, err := c.schemaOf(ctx, api, task.Type)
	if err != nil {
		return err
	}
	declared, err := paramsOf(schema)
	if err != nil {
		return err
	}
	task.Args, err = parseArgs(task.Type, declared, texts, c.in)
	return err
}

// schemaOf returns the JSON Schema of the args of a task type.
func (c *cli) schemaOf(ctx context.Context, api *client.Client, kind string) (json.RawMessage, error) {
	p, _, err := api.Pack(ctx, taskpacks.PackOf(kind))
	var refused *client.APIError
	if err != nil && !(errors.As(err, &refused) && refused.Status == http.StatusNotFound) {
		return nil, err
	}
	if err == nil {
		for _, t := range p.Tasks {
			if t.Type == kind {
				return t.Schema, nil
			}
		}
	}
	types, err := api.Types(ctx)
	if err != nil {
		return nil, err
	}
	hint := config.DidYouMean(kind, slices.Sorted(maps.Keys(types)))
	return nil, usagef("there is no task type %q%s", kind, cmp.Or(hint, ": `pytasks pack ls` lists the packs, `pytasks pack show` their tasks"))
}

// run queues a task and prints what the caller asked for.
func (c *cli) run(ctx context.Context, api *client.Client, task *client.Submission, o *runOptions) error {
	t, err := api.Submit(ctx, task, rand.Text())
	if err != nil {
		return err
	}
	if !o.wait {
		if c.json {
			return c.printJSON(t.Raw)
		}
		_, err := fmt.Fprintln(c.out, t.ID)
		return err
	}
	id := t.ID // asked for on its own, so that the id is known whatever happens meanwhile
	if t, err = c.await(ctx, api, id, o.logs); err != nil {
		return fmt.Errorf("wait for task %s, which goes on: %w", id, err)
	}
	if err := c.printEnd(t); err != nil {
		return err
	}
	return t.Failure()
}

// printEnd prints what there is to tell programs of a task that has ended: its result, if it has one, or with --json all of it.
func (c *cli) printEnd(t *client.Task) error {
	switch {
	case c.json:
		return c.printJSON(t.Raw)
	case t.Status == "SUCCESS":
		return c.printJSON(t.Result)
	}
	return nil
}
