package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pytasks/node/client"
	"pytasks/node/config"
)

func (c *cli) startCommand() *cobra.Command {
	cfg := config.Default()
	var file string
	var show bool
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start a node",
		Long: `Start a node of a cluster; alone, it is a cluster of one. The first SIGINT or SIGTERM
stops it in good order, a second one at once.

Every flag can be given in the environment as well (the name in brackets) and in a
YAML file (--config, one "flag: value" per line). A flag wins over the environment,
the environment over the file.

On SIGHUP the node reads its certificates again, and --log-level from the file; what else has
changed there, the log says, waits for the next start.`,
		Example: `  pytasks start
  pytasks start --name b --join 127.0.0.1:7946 --http 127.0.0.1:8081 \
      --gossip 127.0.0.1:7956 --cluster 127.0.0.1:7957 --data-dir /var/lib/pytasks-b`,
		Args: exactly(),
	}
	config.Bind(cmd.Flags(), &cfg)
	cmd.Flags().StringVar(&file, "config", "", "YAML file with any of these options [$PYTASKS_CONFIG]")
	cmd.Flags().BoolVar(&show, "print-config", false, "print the configuration as YAML, secrets masked, and do not start")
	cmd.Flags().SortFlags = false
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if file == "" {
			file = c.getenv("PYTASKS_CONFIG")
		}
		if err := config.Load(cmd.Flags(), c.getenv, file); err != nil {
			return err
		}
		if err := cfg.LoadGiven(c.getenv); err != nil {
			return err
		}
		cfg.Packs = referencePacks(cfg.Packs, c.getenv(referencePacksEnv))
		if err := cfg.Validate(); err != nil {
			return err
		}
		if show {
			return config.Write(c.out, &cfg)
		}
		n, err := c.Open(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP)
		go c.reload(reload, n, cmd.Flags(), cfg, file) // as long as the process
		return n.Run(cmd.Context())
	}
	return cmd
}

func (c *cli) devCommand() *cobra.Command {
	cfg := config.Default()
	cfg.Name, cfg.LogLevel = "dev", "warn"
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Start a node to try things out, with data that is gone afterwards",
		Args:  exactly(),
	}
	config.Bind(cmd.Flags(), &cfg, "http", "slots", "log-level", "log-format",
		"task-timeout", "task-max-memory", "python", "packs", "index", "allow-private")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := config.Load(cmd.Flags(), c.getenv, ""); err != nil {
			return err
		}
		dir, err := os.MkdirTemp("", "pytasks-dev-")
		if err != nil {
			return fmt.Errorf("make a temporary data directory: %w", err)
		}
		defer os.RemoveAll(dir)
		cfg.DataDir = dir
		cfg.Packs = referencePacks(cfg.Packs, c.getenv(referencePacksEnv))
		if !cmd.Flags().Changed("http") {
			cfg.HTTP = freeAddr(cfg.HTTP)
		}
		cfg.Gossip, cfg.Cluster = freeAddr(cfg.Gossip), freeAddr(cfg.Cluster)
		if err := cfg.Validate(); err != nil {
			return err
		}
		return c.dev(cmd.Context(), cfg)
	}
	return cmd
}

// dev runs a node and says how to use it once it is ready.
func (c *cli) dev(ctx context.Context, cfg config.Config) error {
	n, err := c.Open(ctx, cfg)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- n.Run(ctx) }()
	if err := client.AwaitReady(ctx, n.URL(), stopped); err != nil {
		stop(err)
		return errors.Join(err, <-stopped)
	}
	fmt.Fprintf(c.out, `pytasks is ready at %[1]s (stop it with Ctrl-C; its data is removed then)

  curl -s '%[1]s/task?wait=10s' -H 'Content-Type: application/json' \
       -d '{"type": "test.main.add", "args": {"x": 1, "y": 2}}'

  pytasks run --addr %[1]s test.main.add x=1 y=2 --wait
`, n.URL())
	defer stop(nil)
	return <-stopped
}

// freeAddr is addr if nobody listens there, else the same host with port 0.
func freeAddr(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		l.Close()
		var udp net.PacketConn
		if udp, err = net.ListenPacket("udp", addr); err == nil {
			udp.Close()
			return addr
		}
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr // validate says what is wrong with it
	}
	return net.JoinHostPort(host, "0")
}

// referencePacksEnv is the variable by which the reference's images are told what to install.
const referencePacksEnv = "pytasks_taskpacks_manager_INSTALL_PACKAGES"

// referencePacks adds the names in that variable, comma-separated, to those of --packs. As in the
// reference, a * in it means that it alone counts.
func referencePacks(packs []string, env string) []string {
	if strings.Contains(env, "*") {
		packs = nil
	}
	for name := range strings.SplitSeq(strings.ReplaceAll(env, "*", ""), ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(packs, name) {
			packs = append(packs, name)
		}
	}
	return packs
}
