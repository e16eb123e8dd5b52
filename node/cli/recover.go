package cli

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pytasks/cluster"
	"pytasks/node/config"
	"pytasks/node/datadir"
)

// dataDirFlag adds --data-dir; dirOf reads it.
func dataDirFlag(cmd *cobra.Command, dir *string, what string) {
	cmd.Flags().StringVar(dir, "data-dir", "", what+" [$PYTASKS_DATA_DIR]")
}

func (c *cli) dirOf(flag string) string {
	if flag == "" {
		flag = c.getenv("PYTASKS_DATA_DIR")
	}
	if flag == "" {
		flag = config.DefaultDataDir(os.Geteuid(), c.getenv)
	}
	return flag
}

// warnings is a log of what somebody at the command line has to know.
func (c *cli) warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (c *cli) clusterRecoverCommand() *cobra.Command {
	var dir string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Make a cluster of one node, where the majority of the others is lost for good",
		Long: `Make a new cluster of the data of one node, where so many of the nodes that vote are lost for good that the others
elect no leader any more. The node must not run. Without --yes, or its confirmation on a terminal, this
only prints what it finds and what it would do.

Run it so on every node that is left, and recover the one whose last entry has the highest term,
among equals the highest index: it has the most. Start that one, and all others with
empty data directories and --join.`,
		Example: `  pytasks cluster recover --data-dir /var/lib/pytasks
  pytasks cluster recover --data-dir /var/lib/pytasks --yes`,
		Args: exactly(),
	}
	dataDirFlag(cmd, &dir, "data directory of the node")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON, for programs")
	cmd.RunE = func(*cobra.Command, []string) (err error) {
		r, err := datadir.OpenRecovery(c.dirOf(dir), c.warnings())
		if err != nil {
			return err
		}
		defer func() {
			if closed := r.Close(); err == nil {
				err = closed
			}
		}()
		found, err := r.Files.Look()
		if err != nil {
			return err
		}
		if len(found.Voters) == 1 && found.Voters[0].ID == r.Dir.ID {
			return fmt.Errorf("the node in %s is the only one that votes already: there is nothing to recover, start it", r.Dir.Path)
		}
		if !c.json {
			c.explainRecovery(r, found)
		}
		if !yes && !c.confirmed(found.Cluster) {
			if c.json {
				return c.printJSON(recoveryView(r, found, ""))
			}
			_, err := fmt.Fprintln(c.out, "\nNothing was changed. Give --yes to do it.")
			return err
		}
		id, err := r.Run()
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(recoveryView(r, found, id))
		}
		_, err = fmt.Fprintf(c.out, `
This node is the only one of the cluster %s now. Next:
  1. start it as before, without --bootstrap-expect: pytasks start --data-dir %s ...
  2. start the others with EMPTY data directories and --join its gossip address
`, id, r.Dir.Path)
		return err
	}
	return cmd
}

// explainRecovery says what was found, what would be done, and what that costs.
func (c *cli) explainRecovery(r *datadir.Recovery, f *cluster.Found) {
	t := newTable(c.out)
	t.row("cluster", f.Cluster)
	t.row("this node", r.Dir.ID)
	t.row("last entry", fmt.Sprintf("index %d of term %d", f.Last, f.Term))
	t.row("snapshot", fmt.Sprintf("index %d", f.Snapshot))
	for i, p := range f.Voters {
		t.row(map[bool]string{true: "voters"}[i == 0], describePlace(p, r.Dir.ID))
	}
	for i, p := range f.Nonvoters {
		t.row(map[bool]string{true: "without a vote"}[i == 0], describePlace(p, r.Dir.ID))
	}
	_ = t.flush()
	n := len(f.Voters)
	fmt.Fprintf(c.out, `
Recovering makes this node the only one of a NEW cluster, with all that is in its log.

Do it only if %d of the %d voting nodes are lost for good: while a majority can still be started, start
that instead, and nothing is lost. Stop all nodes of the old cluster before.

What may be lost: what was acknowledged by a majority without this node, and had not reached it. Compare the last
entry with that of every other node that is left (run this there): the highest term has the most,
among equals the highest index. Large arguments and results, above 64 KiB, that only lost nodes had on their disks.

What changes: the cluster has another id. Nodes of the old one that come back are refused: they
start again with empty data directories. Tokens are void; users and passwords stay. What the lost
nodes were running is run again, about 15 s after the start.
`, n-n/2, n)
}

func describePlace(p cluster.Place, self string) string {
	if p.ID == self {
		return "this node"
	}
	if p.Addr == "" || p.Addr == p.ID {
		return p.Name
	}
	return fmt.Sprintf("%s (%s)", p.Name, p.Addr)
}

// confirmed asks somebody at a terminal to write a word.
func (c *cli) confirmed(cluster string) bool {
	terminal, _ := c.in.(*os.File)
	if c.json || terminal == nil || !term.IsTerminal(int(terminal.Fd())) {
		return false
	}
	fmt.Fprintf(c.out, "\nTo do it, write the first 8 characters of the cluster's id (%.8s): ", cluster)
	line, _ := bufio.NewReader(terminal).ReadString('\n')
	return len(cluster) >= 8 && strings.TrimSpace(line) == cluster[:8]
}

// recoveryView is what --json prints; the id of the new cluster is "" where nothing was done.
func recoveryView(r *datadir.Recovery, f *cluster.Found, id string) any {
	places := func(list []cluster.Place) []map[string]string {
		out := []map[string]string{}
		for _, p := range list {
			out = append(out, map[string]string{"id": p.ID, "name": p.Name, "address": p.Addr})
		}
		return out
	}
	return map[string]any{
		"cluster": f.Cluster, "node": r.Dir.ID, "last_index": f.Last, "last_term": f.Term, "snapshot_index": f.Snapshot,
		"voters": places(f.Voters), "nonvoters": places(f.Nonvoters), "recovered": id != "", "new_cluster": id,
	}
}
