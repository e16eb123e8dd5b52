package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/fsm"
	"pytasks/node/backup"
	"pytasks/node/config"
	"pytasks/node/datadir"
)

func (c *cli) snapshotCommand() *cobra.Command {
	return group("snapshot", "Save a whole cluster into a file, look at one, make a new cluster of one",
		c.snapshotSaveCommand(), c.snapshotInspectCommand(), c.snapshotRestoreCommand())
}

func (c *cli) snapshotSaveCommand() *cobra.Command {
	var force bool
	cmd := c.clientFlags(&cobra.Command{
		Use:   "save FILE",
		Short: "Save a running cluster into a file, - for standard output",
		Long: `Save all that a running cluster has into one file, through any of its nodes: tasks with their arguments and
results, packs, users. Everything that was acknowledged before is in it, as it was at one moment; the cluster
goes on meanwhile. The file is written beside its name, checked, and takes its name when it is whole.

The file is as private as the data directory of a node: it holds what tasks were given and have returned, hashes of
passwords, and the keys of tokens, sealed with the cluster's secret. Its mode is 0600.`,
		Example: `  pytasks snapshot save cluster.snapshot
  pytasks snapshot save - | gpg -e -r ops > cluster.snapshot.gpg`,
		Args: exactly("FILE"),
	})
	cmd.Flags().BoolVar(&force, "force", false, "overwrite FILE")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		file, out := args[0], c.out
		part := file + ".part"
		if file != "-" {
			if _, err := os.Lstat(file); err == nil && !force {
				return fmt.Errorf("%s is there already: name another file, or give --force to overwrite it", file)
			}
			f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
			if err != nil {
				return err
			}
			defer os.Remove(part)
			defer f.Close()
			out = f
		}
		began := false
		var head backup.Header
		var size int64
		err = api.Snapshot(cmd.Context(), func(body io.Reader) error {
			began = true
			head, size, err = c.verify(io.TeeReader(body, out))
			return err
		})
		switch {
		case err != nil && file == "-" && began:
			return fmt.Errorf("what was written is no snapshot: %w", err)
		case err != nil && began:
			return fmt.Errorf("%s is not written: %w", file, err)
		case err != nil:
			return err
		}
		if f, ok := out.(*os.File); ok && file != "-" {
			if err := errors.Join(f.Chmod(0o600), f.Sync(), f.Close(), os.Rename(part, file), datadir.SyncDir(filepath.Dir(file))); err != nil {
				return err
			}
		}
		return c.saidSaved(file, &head, size)
	}
	return cmd
}

// saidSaved tells what was saved. With the snapshot itself on the standard output it goes elsewhere.
func (c *cli) saidSaved(file string, head *backup.Header, size int64) error {
	if head.MissingBlobs > 0 {
		fmt.Fprintf(c.err, "pytasks: %s that tasks or packs need are on no node that answered: those tasks cannot be run, or their results read, in what is restored\n",
			counted(head.MissingBlobs, "blob"))
	}
	if file == "-" {
		return nil
	}
	if c.json {
		return c.printJSON(struct {
			File string `json:"file"`
			Size int64  `json:"size"`
			backup.Header
		}{file, size, *head})
	}
	_, err := fmt.Fprintf(c.out, "%s holds the cluster as it was at log index %d: %s, %s\n", file, head.Index, config.RoundSize(size), counted(head.Blobs, "blob"))
	return err
}

// verify reads a snapshot to its end, verifies it, and shows how far it is on a terminal.
func (c *cli) verify(r io.Reader) (head backup.Header, size int64, err error) {
	in, err := backup.NewReader(r)
	if err != nil {
		return head, 0, err
	}
	head = in.Header()
	b := c.bar("saving the cluster")
	defer b.end()
	buf := make([]byte, 256<<10)
	for {
		if _, err = in.Next(); err != nil {
			break
		}
		for err == nil {
			_, err = in.Read(buf)
			total := max(head.Total(), in.Offset())
			b.tell(float64(in.Offset())/float64(total), "saving "+config.RoundSize(in.Offset())+" of "+config.RoundSize(total))
		}
		if !errors.Is(err, io.EOF) {
			break
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return head, in.Offset(), err
}

func (c *cli) snapshotInspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Verify a file, - for standard input, and say what is in it; no node is needed",
		Args:  exactly("FILE"),
	}
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON, for programs")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		f, err := c.openFile(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in, err := datadir.Inspect(f)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if c.json {
			return c.printJSON(inspectedView(in))
		}
		return c.printInspected(in)
	}
	return cmd
}

// openFile opens a file to read, - for standard input.
func (c *cli) openFile(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(c.in), nil
	}
	return os.Open(name)
}

// tasksBy returns the numbers of tasks by the names of their statuses, and all.
func tasksBy(s *fsm.Summary) (by map[string]int, all int) {
	by = map[string]int{}
	for status, n := range s.Tasks {
		if n > 0 {
			by[fsm.Status(status).String()] = n
		}
		all += n
	}
	return by, all
}

func inspectedView(in *datadir.Inspected) any {
	by, _ := tasksBy(in.State)
	packs := map[string]string{}
	for _, p := range in.State.Packs {
		packs[p.Name] = p.Current
	}
	return struct {
		Format int   `json:"format"`
		Size   int64 `json:"size"`
		backup.Header
		Tasks map[string]int    `json:"tasks"`
		Packs map[string]string `json:"packs"` // current releases
		Users int               `json:"users"`
		Nodes int               `json:"nodes"`
		Keys  int               `json:"idempotency_keys"`
	}{backup.Version, in.Size, in.Header, by, packs, len(in.State.Users), in.State.Nodes, in.State.Keys}
}

func (c *cli) printInspected(in *datadir.Inspected) error {
	t := newTable(c.out)
	t.row("format", strconv.Itoa(backup.Version))
	t.row("written", fmt.Sprintf("%s by node %s, pytasks %s", in.Time.Format(time.RFC3339), in.Node, in.Release))
	t.row("cluster", in.Cluster)
	t.row("log", fmt.Sprintf("index %d, term %d", in.Index, in.Term))
	t.row("size", fmt.Sprintf("%s, of which the state has %s", config.RoundSize(in.Size), config.RoundSize(in.StateBytes)))
	by, all := tasksBy(in.State)
	var parts []string
	for s := fsm.Status_SCHEDULED; s <= fsm.Status_REVOKED; s++ {
		if n := by[s.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	t.row("tasks", strings.TrimSuffix(fmt.Sprintf("%d: %s", all, strings.Join(parts, ", ")), ": "))
	parts = nil
	for _, p := range in.State.Packs {
		parts = append(parts, p.Name+" "+p.Current)
	}
	t.row("packs", strings.Join(parts, ", "))
	t.row("users", strconv.Itoa(len(in.State.Users)))
	t.row("nodes", strconv.Itoa(in.State.Nodes))
	blobs := fmt.Sprintf("%d, %s", in.Blobs, config.RoundSize(in.BlobBytes))
	if in.MissingBlobs > 0 {
		blobs += fmt.Sprintf("; %d more are missing, as no node had them", in.MissingBlobs)
	}
	t.row("blobs", blobs)
	if err := t.flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.out, "All checksums are right.")
	return err
}

func (c *cli) snapshotRestoreCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make the first node of a new cluster of a file, - for standard input",
		Long: `Make an empty data directory that of the first node of a new cluster, which has all that is in the
file. No node runs for that. Tasks that were running are queued again, which costs them no attempt; finished ones,
packs, users and Idempotency-Keys are as they were. The cluster has a new id, so that nodes of the old one cannot get into it, and new
keys of tokens. Further nodes start with empty directories and --join, as always.`,
		Example: `  pytasks snapshot restore cluster.snapshot --data-dir /var/lib/pytasks
  pytasks start --data-dir /var/lib/pytasks`,
		Args: exactly("FILE"),
	}
	dataDirFlag(cmd, &dir, "empty data directory")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON, for programs")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		f, err := c.openFile(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		out, err := datadir.Restore(f, c.dirOf(dir), c.warnings())
		if err != nil {
			return fmt.Errorf("%s is not restored: %w", args[0], err)
		}
		by, all := tasksBy(out.State)
		if c.json {
			return c.printJSON(map[string]any{
				"data_dir": out.Dir, "cluster": out.Cluster, "node": out.Node, "former_cluster": out.Header.Cluster, "index": out.State.Index,
				"tasks": by, "requeued": out.Rehomed.Requeued, "packs": len(out.State.Packs), "users": len(out.State.Users),
				"blobs": out.Blobs, "missing_blobs": out.MissingBlobs,
			})
		}
		fmt.Fprintf(c.out, `%s is the first node of the new cluster %s now. It has
  %s, of which %d were running and are queued again
  %s, %s, %s
as cluster %s had them on %s.
`, out.Dir, out.Cluster, counted(all, "task"), out.Rehomed.Requeued, counted(len(out.State.Packs), "pack"), counted(len(out.State.Users), "user"),
			counted(out.Blobs, "blob"), out.Header.Cluster, out.Time.Format(time.RFC3339))
		if out.MissingBlobs > 0 {
			fmt.Fprintf(c.out, "%s were missing already when it was saved.\n", counted(out.MissingBlobs, "blob"))
		}
		_, err = fmt.Fprintf(c.out, `Next:
  1. pytasks start --data-dir %s ...
     Tasks that finished longer ago than --keep-finished, 24h unless told, are forgotten then.
  2. start the other nodes with empty data directories and --join its gossip address
`, out.Dir)
		return err
	}
	return cmd
}
