package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/cluster/secret"
	"pytasks/node/client"
	"pytasks/node/config"
)

const (
	// rotatePause is how often `secret rotate` asks how far the nodes are.
	rotatePause = 500 * time.Millisecond
	// rotationPhases is how many steps a change of the secret has.
	rotationPhases = 2
)

func (c *cli) secretCommand() *cobra.Command {
	return group("secret", "Make the secret that the nodes of a cluster share, and change it",
		c.secretNewCommand(), c.secretShowCommand(), c.secretRotateCommand())
}

func (c *cli) secretNewCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new [FILE]",
		Short: "Make a new secret: print it, or write it to a file",
		Long: `Make a new secret, and print it, or write it to a new file that only its owner can read. All nodes of a cluster have the same one: with it they may listen on
other addresses than loopback, encrypt what they tell one another, and let nobody else in.
Whoever has it can do everything to the cluster.`,
		Example: `  pytasks secret new cluster.secret
  pytasks start --secret-file cluster.secret --gossip 192.0.2.1:7946 --cluster 192.0.2.1:7947`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		text := secret.New().Text() + "\n"
		if len(args) == 0 {
			_, err := fmt.Fprint(c.out, text)
			return err
		}
		f, err := os.OpenFile(args[0], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // never over another secret
		if err != nil {
			return fmt.Errorf("write the secret: %w", err)
		}
		_, err = f.WriteString(text)
		return errors.Join(err, f.Sync(), f.Close())
	}
	return cmd
}

func (c *cli) secretShowCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the secret that a node here has from a rotation",
		Args:  exactly(),
	}
	cmd.Flags().StringVar(&dir, "data-dir", "", "data directory of the node [$PYTASKS_DATA_DIR]")
	cmd.RunE = func(*cobra.Command, []string) error {
		if dir == "" {
			dir = c.getenv("PYTASKS_DATA_DIR")
		}
		if dir == "" {
			dir = config.DefaultDataDir(os.Geteuid(), c.getenv)
		}
		text, err := os.ReadFile(filepath.Join(dir, secret.KeptFile))
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the node in %s has followed no rotation: its secret is the one that it was given", dir)
		}
		var kept secret.Kept
		if err == nil {
			err = json.Unmarshal(text, &kept)
		}
		if err == nil && len(kept.Secrets) == 0 {
			err = errors.New("it holds none")
		}
		if err != nil {
			return fmt.Errorf("read the secret of the node in %s: %w", dir, err)
		}
		_, err = fmt.Fprintln(c.out, kept.Secrets[0])
		return err
	}
	return cmd
}

func (c *cli) secretRotateCommand() *cobra.Command {
	var file string
	var noWait bool
	cmd := c.clientFlags(&cobra.Command{
		Use:   "rotate",
		Short: "Give a running cluster a new secret, and print it",
		Long: `Give a running cluster a new secret, and print it. While the nodes go over to it, one after
the other, they honour both; nothing stops. Give the new one to the nodes for their next start, too.

The new secret travels to the nodes sealed with the old one. If others may have the old
one, that is not enough: see SECURITY.md.`,
		Args: exactly(),
	})
	cmd.Flags().StringVar(&file, "secret-file", "", "file with the new secret (default: make one)")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until all nodes use it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		next := secret.New()
		if file != "" {
			all, err := secret.ReadFile(file)
			if err != nil {
				return &usageError{fmt.Errorf("--secret-file: %w", err)}
			}
			next = all[0]
		}
		api, err := c.client()
		if err != nil {
			return err
		}
		// It is printed before: if this process dies now, the cluster's secret is not lost with it.
		if file == "" {
			if _, err := fmt.Fprintln(c.out, next.Text()); err != nil {
				return err
			}
		}
		if err := api.RotateSecret(cmd.Context(), next.Text()); err != nil || noWait {
			return err
		}
		return c.awaitRotation(cmd.Context(), api, next.ID())
	}
	return cmd
}

// awaitRotation waits until all nodes use the new secret, and says what it waits for.
func (c *cli) awaitRotation(ctx context.Context, api *client.Client, id string) error {
	b := c.bar("waiting for the nodes")
	defer b.end()
	errs := b.beside(c.err)
	said := ""
	for {
		r, err := api.Rotation(ctx)
		if err != nil {
			return err
		}
		if r.Phase == 0 {
			_, err := fmt.Fprintf(errs, "all nodes use the secret %s now\n", id)
			return err
		}
		if waits := strings.Join(r.WaitsFor, ", "); waits != "" && waits != said {
			if b == nil {
				fmt.Fprintf(errs, "waiting for %s\n", waits)
			}
			b.tell(float64(r.Phase-1)/rotationPhases, "waiting for "+waits)
			said = waits
		}
		if err := client.Pause(ctx, rotatePause); err != nil {
			return err
		}
	}
}
