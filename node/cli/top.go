package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pytasks/node/client"
)

// What `top` does to the screen: it has one of its own while it runs, without a cursor.
const (
	screenOpen  = "\x1b[?1049h\x1b[?25l"
	screenClose = "\x1b[?25h\x1b[?1049l"
)

func (c *cli) topCommand() *cobra.Command {
	once := false
	cmd := c.clientFlags(&cobra.Command{
		Use:   "top",
		Short: "Show nodes, queue, rates and running tasks, live",
		Long: `Show the nodes, the queue by status, how many tasks are queued and finished per second, and the tasks that run, the
longest first, each second anew. q ends it. Where there is no terminal, or with --json, it shows them once.`,
		Args: exactly(),
	})
	cmd.Flags().BoolVar(&once, "once", false, "show it once, as text")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		screen := terminalOf(c.out)
		if once || c.json || screen == nil || !c.moves() {
			return c.topOnce(cmd.Context(), api)
		}
		return c.topLive(cmd.Context(), api, screen)
	}
	return cmd
}

// topLooks returns a function that looks at the cluster, with the rates since the last time.
func (c *cli) topLooks(api *client.Client) func(context.Context) (*client.TopView, error) {
	nodes := map[string]*client.Client{}
	var last *client.TopCounters
	return func(ctx context.Context) (*client.TopView, error) {
		v, err := api.TopLook(ctx, func(url string) (*client.Client, error) {
			if nodes[url] == nil {
				to, err := c.clientOf([]string{url})
				if err != nil {
					return nil, err
				}
				to.Patience = 0
				nodes[url] = to
			}
			return nodes[url], nil
		})
		if err == nil {
			v.Rates = v.Counters.Since(last)
			last = v.Counters
		}
		return v, err
	}
}

// topOnce looks twice, since rates need that, and prints what it saw last.
func (c *cli) topOnce(ctx context.Context, api *client.Client) error {
	look := c.topLooks(api)
	v, err := look(ctx)
	if err == nil && v.Counters != nil {
		if err = client.Pause(ctx, c.pace()); err == nil {
			v, err = look(ctx)
		}
	}
	if err != nil {
		return err
	}
	if c.json {
		running := []json.RawMessage{}
		for _, t := range v.Running {
			running = append(running, t.Raw)
		}
		return c.printJSON(map[string]any{"time": v.At.UTC(), "cluster": v.Cluster.Raw, "rates": v.Rates, "running": running})
	}
	return c.showTop(c.out, v, math.MaxInt)
}

// topLive draws the screen anew until q is pressed or ctx ends. What goes wrong after the first look is shown.
func (c *cli) topLive(ctx context.Context, api *client.Client, screen *os.File) error {
	look := c.topLooks(api)
	v, err := look(ctx)
	if err != nil {
		return err
	}
	keys, restore, err := c.keys()
	if err != nil {
		return err
	}
	defer restore()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	if _, err := io.WriteString(screen, screenOpen); err != nil {
		return err
	}
	defer func() { _, _ = io.WriteString(screen, screenClose) }()
	tick := time.NewTicker(c.pace())
	defer tick.Stop()
	for {
		f := &frame{screen: screen}
		width, height := sizeOf(screen)
		if err != nil {
			fmt.Fprintln(f, c.paint(red, "! "+err.Error()))
		}
		if err := c.showTop(f, v, height-1); err != nil {
			return err
		}
		if _, err := io.WriteString(screen, picture(f.String(), width, height, false)); err != nil {
			return err
		}
		select {
		case <-resized:
			continue
		case <-tick.C:
		case key := <-keys:
			if key == 'q' || key == 'Q' || key == 3 { // 3 is Ctrl-C, which is a key like others here
				return nil
			}
			continue
		case <-ctx.Done():
			return nil
		}
		var next *client.TopView
		if next, err = look(ctx); err == nil {
			v = next
		}
	}
}

// keys returns the keys that are pressed, each at once and not shown, if there is a keyboard. restore makes the terminal what it was.
func (c *cli) keys() (keys <-chan byte, restore func(), err error) {
	keyboard, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(keyboard.Fd())) {
		return nil, func() {}, nil
	}
	before, err := term.MakeRaw(int(keyboard.Fd()))
	if err != nil {
		return nil, nil, fmt.Errorf("read keys: %w", err)
	}
	pressed := make(chan byte)
	go func() { // left behind with the process: nothing ends a read of a terminal
		b := make([]byte, 1)
		for {
			if n, err := keyboard.Read(b); err != nil || n == 0 {
				return
			}
			pressed <- b[0]
		}
	}()
	return pressed, func() { _ = term.Restore(int(keyboard.Fd()), before) }, nil
}

// showTop prints a view in at most so many lines.
func (c *cli) showTop(w io.Writer, v *client.TopView, lines int) error {
	out := c.out
	c.out = w
	defer func() { c.out = out }()
	leads := "no leader"
	if v.Cluster.Leader != "" {
		leads = v.Cluster.Leader + " leads"
	}
	fmt.Fprintf(w, "%s  %s, %s\n\n", v.At.Format(time.TimeOnly), counted(len(v.Cluster.Nodes), "node"), leads)
	if err := c.topCounts(v); err != nil {
		return err
	}
	nodes := c.table("NODE", "ROLE", "STATUS", "BUSY", "WAITING", "LOAD", "VERSION")
	for _, n := range v.Cluster.Nodes {
		role, status := n.Role, n.Status
		if n.Name == v.Cluster.Leader {
			role = "leader"
		}
		if n.Draining {
			status += ", draining"
		}
		nodes.row(n.Name, role, status, fmt.Sprintf("%d/%d", min(n.Running, n.Slots), n.Slots), strconv.Itoa(max(0, n.Running-n.Slots)),
			fmt.Sprintf("%.0f%%", 100*n.Load), n.Version)
		nodes.mark(2, statusStyle(status))
	}
	if err := nodes.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	running := c.table("RUNNING FOR", "TASK", "TYPE", "NODE", "ATTEMPT", "OWNER")
	room := lines - 5 - len(v.Cluster.Nodes) - 5 // of what is above, and its heading
	for i, t := range v.Running {
		if i >= max(room, 1) {
			break
		}
		since, err := time.Parse(time.RFC3339, t.AssignedAt)
		ran := ""
		if err == nil {
			ran = max(v.At.Sub(since), 0).Truncate(time.Second).String()
		}
		running.row(ran, t.ID, t.Type, t.Node, client.OptionalCount(t.Attempt), t.Owner)
	}
	if len(v.Running) == 0 {
		running.row("no task runs")
	}
	return running.flush()
}

// topCounts prints how many tasks there are by status, and the rates.
func (c *cli) topCounts(v *client.TopView) error {
	statuses := []string{"SCHEDULED", "PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED"}
	tasks := c.table(statuses...)
	var counts []string
	for _, status := range statuses {
		counts = append(counts, thousands(int64(v.Cluster.Tasks[status])))
	}
	tasks.row(counts...)
	for i, status := range statuses {
		if v.Cluster.Tasks[status] > 0 {
			tasks.mark(i, statusStyle(status))
		}
	}
	if err := tasks.flush(); err != nil {
		return err
	}
	line := "per second: not known"
	if r := v.Rates; r != nil {
		line = fmt.Sprintf("per second: %s queued, %s finished, %s of them failed", perSecond(r.Queued), perSecond(r.Finished), perSecond(r.Failed))
	}
	_, err := fmt.Fprintf(c.out, "%s\n\n", strings.TrimSpace(line))
	return err
}

// perSecond is a number per second for people: 1,234 or 0.5.
func perSecond(n float64) string {
	if n >= 10 || n == math.Trunc(n) {
		return thousands(int64(math.Round(n)))
	}
	return fmt.Sprintf("%.1f", n)
}
