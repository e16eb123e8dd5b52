package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pytasks/fsm"
)

func (c *cli) nodeCommand() *cobra.Command {
	return group("node", "Look at the nodes of the cluster, drain them, and remove lost ones",
		c.nodeListCommand(), c.nodeHealthCommand(), c.nodeDrainCommand(), c.nodeResumeCommand(), c.nodeLabelCommand(), c.nodeRemoveCommand())
}

func (c *cli) nodeListCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{Use: "ls", Short: "List the nodes", Args: exactly()})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		view, err := api.Cluster(cmd.Context())
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(view.Raw)
		}
		table := c.table("NAME", "ROLE", "STATUS", "RUNNING", "SLOTS", "HTTP", "PACKS", "VERSION", "LABELS")
		for _, n := range view.Nodes {
			role, status := n.Role, n.Status
			if n.Name == view.Leader {
				role = "leader"
			}
			status += drainWord(&n)
			slices.Sort(n.Packs)
			table.row(n.Name, role, status, strconv.Itoa(n.Running), strconv.Itoa(n.Slots), n.HTTP, strings.Join(n.Packs, ","), n.Version, fsm.WhereOf(n.Labels))
			table.mark(2, statusStyle(status))
		}
		return table.flush()
	}
	return c.watches(cmd)
}

func (c *cli) nodeRemoveCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a node that will not come back",
		Args:  exactly("NAME"),
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		if err := api.RemoveNode(cmd.Context(), args[0]); err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[string]string{"removed": args[0]})
		}
		_, err = fmt.Fprintf(c.out, "%s is removed\n", args[0])
		return err
	}
	return c.completes(cmd, completeNodes)
}
