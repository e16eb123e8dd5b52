package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pytasks/node/client"
)

func (c *cli) clusterCommand() *cobra.Command {
	return group("cluster", "Look at the cluster as a whole", c.clusterStatusCommand(), c.clusterStepDownCommand(), c.clusterRecoverCommand())
}

func (c *cli) clusterStatusCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{
		Use:   "status",
		Short: "Say in plain words how the cluster is, and what would happen next",
		Long: `Say in plain words how the cluster is: who leads, how many nodes may fail, what is wrong and
what to do about it. The exit code is 1 if something is wrong.`,
		Args: exactly(),
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		return c.clusterStatus(cmd.Context(), api)
	}
	return c.watches(cmd)
}

// clusterStatus prints how the cluster is; what is wrong with it is an error.
func (c *cli) clusterStatus(ctx context.Context, api *client.Client) error {
	api.Patience = 0 // what is not ready is what this is about
	view, err := api.Cluster(ctx)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(view.Raw)
	}
	health := judgeCluster(view)
	checks, err := api.Checks(ctx)
	if err != nil {
		return err
	}
	health.judgeChecks(view.Node, checks)
	fmt.Fprintln(c.out, strings.Join(health.said, "\n"))
	for _, problem := range health.wrong {
		fmt.Fprintln(c.out, c.paint(red, "! "+problem))
	}
	switch n := len(health.wrong); n {
	case 0:
		return nil
	case 1:
		return errors.New("one thing is wrong with the cluster")
	default:
		return fmt.Errorf("%d things are wrong with the cluster", n)
	}
}

// health is what is said of a cluster.
type health struct {
	said  []string // how it is
	wrong []string // and what to do about it
}

func (h *health) say(format string, args ...any) {
	h.said = append(h.said, fmt.Sprintf(format, args...))
}

func (h *health) fault(format string, args ...any) {
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

// judgeCluster says how a cluster is, by what one of its nodes sees.
func judgeCluster(v *client.Cluster) *health {
	h := &health{}
	var voters, up, down []string
	versions := map[string][]string{}
	for _, n := range v.Nodes {
		alive := n.Status == "alive"
		if n.Role == "voter" {
			voters = append(voters, n.Name)
			if alive {
				up = append(up, n.Name)
			}
		}
		switch {
		case alive:
			versions[n.Version] = append(versions[n.Version], n.Name)
		case n.Role != "none":
			down = append(down, n.Name)
		}
	}
	h.say("%s, %d of them voting: %s.", counted(len(v.Nodes), "node"), len(voters), strings.Join(voters, ", "))
	majority := len(voters)/2 + 1
	spare := len(up) - majority
	switch {
	case v.Leader == "" && spare < 0:
		h.fault("there is no leader, as %d of %d voting nodes are up and %d are needed. Nothing new is taken until then, and nothing that was acknowledged is lost: start the others. Only if they are lost for good: pytasks cluster recover --help", len(up), len(voters), majority)
	case v.Leader == "":
		h.fault("there is no leader at this moment: the voting nodes elect one within seconds, if %d of %d reach one another. If this stays, start those that do not run", majority, len(voters))
	default:
		h.say("%s leads.", v.Leader)
	}
	switch {
	case len(voters) == 1 && v.Leader != "":
		h.say("One voting node: when it fails, the cluster stops, and its disk has the only copy. Three survive the loss of one.")
	case len(voters) == 2 && spare >= 0:
		h.say("Two voting nodes tolerate no failure, as both are needed for a majority. Three survive the loss of one.")
	case spare == 0:
		h.fault("no further node may fail: %d of %d voting nodes are up, and all of them are needed", len(up), len(voters))
	case spare == 1:
		h.say("The cluster goes on when one more node fails.")
	case spare > 1:
		h.say("The cluster goes on when %d more nodes fail.", spare)
	}
	for _, name := range down {
		h.fault("node %s is down: what it was running is run elsewhere. Start it again, or, if it will not come back, take it out: pytasks node rm %[1]s", name)
	}
	if len(versions) > 1 {
		var parts []string
		for version, names := range versions {
			parts = append(parts, strings.Join(names, ", ")+" run"+map[bool]string{true: "s"}[len(names) == 1]+" "+version)
		}
		slices.Sort(parts)
		h.fault("not all nodes run the same version: %s. Go on with the upgrade", strings.Join(parts, "; "))
	}
	for _, n := range v.Nodes {
		h.sayDrain(&n)
	}
	judgeDrained(v, h)
	running := 0
	for _, n := range v.Nodes {
		running += n.Running
	}
	h.say("%s wait%s, %d are given to nodes.", counted(v.Tasks["PENDING"], "task"), map[bool]string{true: "s"}[v.Tasks["PENDING"] == 1], running)
	return h
}

// judgeChecks adds what a node says of itself.
func (h *health) judgeChecks(node string, checks []string) {
	for _, line := range checks {
		name, failed := strings.CutPrefix(line, "[-]")
		_, but, warned := strings.Cut(line, " ok, but ")
		switch {
		case failed && !strings.HasPrefix(name, "leader"): // of which more was said
			h.fault("node %s is not ready: %s", node, name)
		case warned:
			h.fault("node %s: %s", node, but)
		}
	}
}
