package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/node/client"
	"pytasks/node/config"
)

// The exit codes of the command line.
const (
	ExitOK          = 0
	ExitFailed      = 1 // the task failed, the node did not start, or the cluster refused
	ExitUsage       = 2 // the command line is wrong
	ExitUnreachable = 3 // no node could be reached
)

// Node is a node that has been opened.
type Node interface {
	Run(ctx context.Context) error // until ctx ends, then stops in good order
	URL() string                   // of its REST API
	Reload()                       // reads its certificates again
	SetLogLevel(level string)      // debug, info, warn or error
	Log() *slog.Logger             // where it says what happens
}

// Program is what the command line is of.
type Program struct {
	Version string
	Open    func(ctx context.Context, cfg config.Config) (Node, error) // opens a node
}

// Execute runs the command line args of this process, and returns its exit code.
func (p Program) Execute(ctx context.Context, args []string) int {
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, Program: p}
	return c.execute(ctx, args)
}

// cli is the command line and what it touches.
type cli struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) string
	Program

	addr  string // --addr
	token string // --token
	json  bool   // --json

	every time.Duration  // how often a screen is drawn anew, 0 = each second
	asks  *client.Client // of this command line, once it is needed
}

// usageError is a command line that cannot be meant.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// Execute runs one command line and returns its exit code.
func (c *cli) execute(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	fmt.Fprintf(c.err, "pytasks: %v\n", err)
	var usage *usageError
	var unreachable *client.UnreachableError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(c.err, "See `%s --help`.\n", cmd.CommandPath())
		return ExitUsage
	case errors.As(err, &unreachable):
		return ExitUnreachable
	}
	return ExitFailed
}

// root builds the tree of commands.
func (c *cli) root() *cobra.Command {
	root := group("pytasks", "Run typed functions on a cluster of identical nodes")
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Start a node", []*cobra.Command{c.devCommand(), c.startCommand()}},
		{"Use a cluster", []*cobra.Command{c.runCommand(), c.taskCommand(), c.packCommand(), c.topCommand()}},
		{"Look after it", []*cobra.Command{c.clusterCommand(), c.nodeCommand(), c.snapshotCommand(), c.debugCommand(), c.benchCommand(), c.managerCommand()}},
		{"Say who may do what", []*cobra.Command{c.userCommand(), c.tokenCommand(), c.keysCommand(), c.secretCommand(), c.auditCommand()}},
		{"Beside that", []*cobra.Command{c.versionCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, cmd := range g.commands {
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
	}
	root.SetHelpCommandGroupID("Beside that")
	root.SetCompletionCommandGroupID("Beside that")
	root.Long = `pytasks runs typed functions ("tasks") on a cluster of identical nodes and gives
their results back over REST. Start one node with "pytasks dev", write tasks of your
own with "pytasks pack init", or see "pytasks start".

Exit codes: 0 done; 1 the task failed, the node did not start or the cluster
refused; 2 the command line is wrong; 3 no node could be reached.`
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	return root
}

// group is a command that only holds others: alone it prints its help.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.ArbitraryArgs}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		var names []string
		for _, sub := range cmd.Commands() {
			names = append(names, sub.Name())
		}
		return usagef("there is no command `%s %s`%s", cmd.CommandPath(), args[0], config.DidYouMean(args[0], names))
	}
	cmd.AddCommand(commands...)
	return cmd
}

// exactly refuses any other number of arguments; the names are for the message.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == len(names):
			return nil
		case len(names) == 0:
			return usagef("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
		case len(args) < len(names):
			return usagef("%s needs %s", cmd.CommandPath(), strings.Join(names[len(args):], " and "))
		}
		return usagef("%s takes %s, got %q as well", cmd.CommandPath(), strings.Join(names, " and "), args[len(names)])
	}
}

// clientFlags adds the flags of a command that speaks to a running cluster.
func (c *cli) clientFlags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&c.addr, "addr", "", "URLs of nodes, tried in turn: URL[,...] [$PYTASKS_ADDR] (default "+client.DefaultAddr+")")
	cmd.Flags().StringVar(&c.token, "token", "", "token, or @FILE that holds it [$PYTASKS_TOKEN] (default: that of a node here)")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON, for programs")
	return cmd
}

// addrs are the addresses that the caller named, empty for the default.
func (c *cli) addrs() []string {
	text := c.addr
	if text == "" {
		text = c.getenv("PYTASKS_ADDR")
	}
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// client is the client of this command line, the same each time.
func (c *cli) client() (api *client.Client, err error) {
	if c.asks == nil {
		c.asks, err = c.clientOf(c.addrs())
	}
	return c.asks, err
}

// clientOf returns a client for nodes at these addresses, with what the caller may do there.
func (c *cli) clientOf(addrs []string) (*client.Client, error) {
	token := c.token
	if token == "" {
		token = c.getenv("PYTASKS_TOKEN")
	}
	if file, ok := strings.CutPrefix(token, "@"); ok {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--token: %w", err)}
		}
		token = string(text)
	}
	dir := c.getenv("PYTASKS_DATA_DIR")
	if dir == "" {
		dir = config.DefaultDataDir(os.Geteuid(), c.getenv)
	}
	api, err := client.New(client.Options{Addrs: addrs, Token: strings.TrimSpace(token), TokenDir: client.LocalTokenDir(c.getenv), DataDir: dir})
	if err != nil {
		return nil, &usageError{fmt.Errorf("--addr: %w", err)}
	}
	return api, nil
}

// printJSON writes one line of JSON: raw bytes as they are, anything else encoded.
func (c *cli) printJSON(v any) error {
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
	}
	_, err := fmt.Fprintln(c.out, strings.TrimSpace(string(raw)))
	return err
}

func (c *cli) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version of this program", Args: exactly()}
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON, for programs")
	cmd.RunE = func(*cobra.Command, []string) error {
		platform := runtime.GOOS + "/" + runtime.GOARCH
		if c.json {
			return c.printJSON(map[string]string{"version": c.Version, "go": runtime.Version(), "platform": platform})
		}
		_, err := fmt.Fprintf(c.out, "pytasks %s %s %s\n", c.Version, runtime.Version(), platform)
		return err
	}
	return cmd
}
