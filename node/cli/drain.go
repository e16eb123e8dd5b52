package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pytasks/node/client"
)

// drainPause is how often a node that is drained is looked at.
const drainPause = 250 * time.Millisecond

func (c *cli) nodeDrainCommand() *cobra.Command {
	var timeout time.Duration
	var noWait, force bool
	cmd := c.clientFlags(&cobra.Command{
		Use:   "drain NAME",
		Short: "Give a node no tasks until it is resumed, so that it may be stopped",
		Long: `Give a node no tasks until it is resumed, and wait until nothing runs there.

What runs there may end within its --drain-timeout, or --timeout; the rest is queued again, which
costs no attempt. A node that leads hands the leadership over. It goes on answering requests and
keeping its copy of everything, and stays drained when it is restarted:

  pytasks node drain n2      then stop it, replace what is to be replaced, start it
  pytasks node resume n2`,
		Args: exactly("NAME"),
	})
	cmd.Flags().DurationVar(&timeout, "timeout", -1, "how long what runs there may take (default: the node's --drain-timeout)")
	cmd.Flags().Lookup("timeout").DefValue = ""
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until nothing runs there")
	cmd.Flags().BoolVar(&force, "force", false, "also the last node that takes tasks: then nothing runs")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		if cmd.Flags().Changed("timeout") && timeout < 0 {
			return &usageError{errors.New("--timeout: it must not be negative")}
		}
		api, err := c.client()
		if err != nil {
			return err
		}
		if err := api.DrainNode(cmd.Context(), name, timeout, force); err != nil {
			var refused *client.APIError
			if errors.As(err, &refused) && refused.Code == "last_node" {
				return fmt.Errorf("nothing would run: %s is the last node that takes tasks. Resume or add another one before, or: pytasks node drain %[1]s --force", name)
			}
			return err
		}
		status := "draining"
		if !noWait {
			if err := c.awaitDrained(cmd.Context(), api, name); err != nil {
				return err
			}
			status = "drained"
		}
		if c.json {
			return c.printJSON(map[string]string{"name": name, "status": status})
		}
		_, err = fmt.Fprintf(c.out, "%s is %s\n", name, status)
		return err
	}
	return c.completes(cmd, completeNodes)
}

// awaitDrained waits until nothing runs on a node, and says how much still does.
func (c *cli) awaitDrained(ctx context.Context, api *client.Client, name string) error {
	said := -1
	for {
		view, err := api.Cluster(ctx)
		if err != nil {
			return err
		}
		n := view.Member(name)
		switch {
		case n == nil:
			return fmt.Errorf("%s is no node of the cluster any more", name)
		case n.Drained:
			return nil
		case !n.Lasting && said >= 0:
			return fmt.Errorf("%s was resumed meanwhile", name)
		case n.Lasting && n.Running != said:
			fmt.Fprintf(c.err, "%s %s on %s\n", counted(n.Running, "task"), map[bool]string{true: "still runs", false: "still run"}[n.Running == 1], name)
			said = n.Running
		}
		if err := client.Pause(ctx, drainPause); err != nil {
			return err
		}
	}
}

func (c *cli) nodeResumeCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{Use: "resume NAME", Short: "Give a drained node tasks again", Args: exactly("NAME")})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		if err := api.ResumeNode(cmd.Context(), args[0]); err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[string]string{"name": args[0], "status": "resumed"})
		}
		_, err = fmt.Fprintf(c.out, "%s takes tasks again\n", args[0])
		return err
	}
	return c.completes(cmd, completeNodes)
}

func (c *cli) clusterStepDownCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{
		Use:   "stepdown",
		Short: "Have the leader give its office to another node",
		Long: `Have the leader give its office to another node, if one takes tasks to such a one. Nothing is lost and
no request fails; it takes some milliseconds.`,
		Args: exactly(),
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		leader, err := api.StepDown(cmd.Context())
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[string]string{"leader": leader})
		}
		_, err = fmt.Fprintf(c.out, "%s leads now\n", leader)
		return err
	}
	return cmd
}

// drainWord is what a list adds to the status of a node that takes no tasks.
func drainWord(m *client.Member) string {
	switch {
	case m.Drained:
		return ", drained"
	case m.Draining:
		return ", draining"
	}
	return ""
}

// sayDrain says of a node that takes no tasks why, and until when.
func (h *health) sayDrain(m *client.Member) {
	switch {
	case m.Drained && m.Status == "alive":
		h.say("%s is drained: it takes no tasks and may be stopped. To give it tasks again: pytasks node resume %[1]s", m.Name)
	case m.Drained:
		h.say("%s will take no tasks when it is back, as it is drained: pytasks node resume %[1]s", m.Name)
	case m.Lasting:
		h.say("%s is being drained: %s given to it are not finished.", m.Name, counted(m.Running, "task"))
	case m.Draining && m.Status == "alive":
		h.say("%s takes no new tasks: it is draining, as it stops.", m.Name)
	}
}

// judgeDrained finds out whether any node takes tasks.
func judgeDrained(v *client.Cluster, h *health) {
	drained := ""
	for _, n := range v.Nodes {
		switch {
		case n.Status == "alive" && !n.Draining:
			return
		case n.Lasting:
			drained = n.Name
		}
	}
	if drained != "" {
		h.fault("nothing runs, as no node takes tasks: pytasks node resume %s", drained)
	}
}
