package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/fsm"
	"pytasks/node/client"
	"pytasks/node/config"
)

func (c *cli) taskCommand() *cobra.Command {
	return group("task", "Look at tasks, cancel them, queue them anew", c.taskGetCommand(), c.taskListCommand(), c.taskWatchCommand(), c.taskLogsCommand(),
		c.taskCancelCommand(), c.taskRetryCommand())
}

func (c *cli) taskGetCommand() *cobra.Command {
	var wait bool
	cmd := c.clientFlags(&cobra.Command{Use: "get ID", Short: "Show a task", Args: exactly("ID")})
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is finished")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		read := func() (*client.Task, error) { return api.Task(cmd.Context(), args[0], 0) }
		if wait {
			read = func() (*client.Task, error) { return api.Await(cmd.Context(), args[0]) }
		}
		t, err := read()
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(t.Raw)
		}
		return c.showTask(t)
	}
	return c.completes(cmd, completeIDs)
}

func (c *cli) taskListCommand() *cobra.Command {
	var want taskFilter
	var limit int
	var all bool
	cmd := c.clientFlags(&cobra.Command{Use: "ls", Short: "List tasks, newest first", Args: exactly()})
	want.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many")
	cmd.Flags().BoolVar(&all, "all", false, "all of them")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return usagef("--limit %d: write a number above zero, or --all", limit)
		}
		api, err := c.client()
		if err != nil {
			return err
		}
		filter := want.query()
		show := c.taskLister()
		for left, more := limit, true; more; {
			size := client.ListPage
			if !all {
				size = min(left, client.ListPage)
			}
			filter.Set("limit", strconv.Itoa(size))
			tasks, next, err := api.List(cmd.Context(), filter)
			if err != nil {
				return err
			}
			left -= len(tasks)
			more = next != "" && (all || left > 0)
			filter.Set("cursor", next)
			if err := show(tasks, !more); err != nil {
				return err
			}
		}
		return nil
	}
	return c.watches(cmd)
}

func (c *cli) taskLogsCommand() *cobra.Command {
	var follow bool
	cmd := c.clientFlags(&cobra.Command{Use: "logs ID", Short: "Print what a task has printed", Args: exactly("ID")})
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until it is finished")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		return api.Log(cmd.Context(), args[0], follow, c.out)
	}
	return c.completes(cmd, completeIDs)
}

func (c *cli) taskCancelCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{Use: "cancel ID", Short: "Cancel a task that is not finished", Args: exactly("ID")})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		t, err := api.Cancel(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(t.Raw)
		}
		_, err = fmt.Fprintf(c.out, "%s %s\n", t.ID, t.Status)
		return err
	}
	return c.completes(cmd, completeIDs)
}

// showTask prints everything about a task that is there, one line each.
func (c *cli) showTask(t *client.Task) error {
	var reason, node, progress string
	if t.Reason != "" {
		reason = " (" + t.Reason + ")"
	}
	if t.Node != "" {
		node = " on " + t.Node
	}
	if p := t.Progress; p != nil {
		progress = fmt.Sprintf("%.0f%% %s", 100*p.Fraction, p.Text)
	}
	table := c.table()
	for _, line := range [][2]string{
		{"id", t.ID},
		{"type", t.Type},
		{"release", t.Release},
		{"args", string(t.Args)},
		{"status", t.Status + reason},
		{"priority", string(t.Priority)},
		{"tags", strings.Join(t.Tags, ", ")},
		{"where", fsm.WhereOf(t.Where)},
		{"owner", t.Owner},
		{"created", localTime(t.CreatedAt)},
		{"due", localTime(t.DueAt)},
		{"attempt", client.OptionalCount(t.Attempt) + node},
		{"progress", progress},
		{"assigned", localTime(t.AssignedAt)},
		{"started", localTime(t.StartedAt)},
		{"finished", localTime(t.FinishedAt)},
	} {
		if line[1] != "" {
			table.row(line[:]...)
			if line[0] == "status" {
				table.mark(1, statusStyle(t.Status))
			}
		}
	}
	for _, past := range t.Attempts {
		table.row("attempt "+strconv.Itoa(past.Attempt), fmt.Sprintf("on %s, %s %s", past.Node, past.Reason, past.Message))
	}
	switch {
	case t.Error != nil:
		table.row("error", t.Error.Text())
	case t.Status == "SUCCESS":
		table.row("result", string(t.Result))
	}
	if err := table.flush(); err != nil {
		return err
	}
	if t.Error != nil && t.Error.Traceback != "" {
		fmt.Fprintln(c.out, strings.TrimRight(t.Error.Traceback, "\n"))
	}
	return nil
}

// taskLister returns a function that prints pages of tasks and is told which is the last.
func (c *cli) taskLister() func(page []*client.Task, last bool) error {
	if c.json {
		first := true
		return func(page []*client.Task, last bool) error {
			var raws []json.RawMessage
			for _, t := range page {
				raws = append(raws, t.Raw)
			}
			return c.printList(raws, &first, last)
		}
	}
	table := c.table("ID", "TYPE", "STATUS", "ATTEMPT", "NODE", "CREATED", "TOOK")
	return func(page []*client.Task, _ bool) error {
		for _, t := range page {
			table.row(t.ID, t.Type, t.Status, client.OptionalCount(t.Attempt), t.Node, localTime(t.CreatedAt), took(t))
			table.mark(2, statusStyle(t.Status))
		}
		return table.flush()
	}
}

// printList prints a JSON array part by part.
func (c *cli) printList(part []json.RawMessage, first *bool, last bool) error {
	for _, raw := range part {
		lead := ",\n"
		if *first {
			lead = "["
		}
		*first = false
		if _, err := fmt.Fprintf(c.out, "%s%s", lead, raw); err != nil {
			return err
		}
	}
	if !last {
		return nil
	}
	end := "]\n"
	if *first {
		end = "[]\n"
	}
	_, err := fmt.Fprint(c.out, end)
	return err
}

// took is how long the last attempt of a finished task ran.
func took(t *client.Task) string {
	start, err := time.Parse(time.RFC3339, t.StartedAt)
	end, err2 := time.Parse(time.RFC3339, t.FinishedAt)
	if err != nil || err2 != nil || !t.Finished() {
		return ""
	}
	if end.Equal(start) {
		return "<1ms" // as fine as the times are
	}
	return config.ShortDuration(end.Sub(start))
}
