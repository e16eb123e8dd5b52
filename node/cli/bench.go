package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/node/client"
)

const (
	maxBatch    = 10_000 // tasks that a node takes at once
	sampleSize  = 1000   // ids that --verify sample looks at, and that --get reads in turn
	defaultType = "test.main.add"
)

// benchOptions say what is measured and how.
type benchOptions struct {
	addrs       []string // base URLs; connections are spread over them
	tasks       int      // tasks to submit, or reads with get
	connections int
	batch       int    // tasks per request
	wait        bool   // each request waits for its task's result
	get         bool   // read finished tasks instead of submitting
	taskType    string // defaultType gets args of its own, whose results are checked
	args        string // JSON for any other type
	verify      string // all, sample or none
}

// benchLocal is the cluster that is started for a measurement.
type benchLocal struct {
	nodes   int    // 0 = none
	slots   int    // of each node; 0 = one per CPU
	install string // folder of a pack that it is to run; "" = none
}

// benchReport is what came out. Rates are per second of wall clock.
type benchReport struct {
	Tasks        int          `json:"tasks"`
	Connections  int          `json:"connections"`
	Batch        int          `json:"batch"`
	Mode         string       `json:"mode"` // submit, wait or get
	Type         string       `json:"type"`
	AcceptPerS   float64      `json:"accept_per_s"`     // from the first request to the last answer
	EndToEndPerS float64      `json:"end_to_end_per_s"` // from the first request until all are finished
	GetPerS      float64      `json:"get_per_s,omitempty"`
	Latency      benchLatency `json:"latency_ms"`
	Seconds      float64      `json:"seconds"`
	Verified     int          `json:"verified"` // tasks read again afterwards
	Failed       int          `json:"failed"`   // not finished, or with another result than expected
	Retries      int          `json:"retries"`  // requests sent again after 429, 503 or a lost connection
}

// benchLatency are the first request of the first connection that sent one, which starts what runs the tasks if each
// request waits for its own, and percentiles of all, in milliseconds.
type benchLatency struct {
	First float64 `json:"first"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

func (c *cli) benchCommand() *cobra.Command {
	var o benchOptions
	var at string
	var local benchLocal
	cmd := c.clientFlags(&cobra.Command{
		Use:   "bench",
		Short: "Measure how many tasks a cluster runs",
		Long: `Submit tasks over HTTP and measure how fast they are accepted and finished, and how
long each request takes. Connections are spread over the addresses. Afterwards every
task is read again to see that it is there with the right result (--verify).

--local N starts a cluster of N nodes on this machine for the measurement, with data in
a folder below $TMPDIR that is removed at the end; --install has it run a pack.`,
		Example: `  pytasks bench --addr http://127.0.0.1:8080,http://127.0.0.1:8081 --tasks 50000 --connections 64
  pytasks bench --local 3 --tasks 400000 --connections 16 --batch 100
  pytasks bench --local 3 --tasks 2000 --connections 1 --wait --at follower
  pytasks bench --local 1 --install ./hello --type hello.main.greet`,
		Args: exactly(),
	})
	flags := cmd.Flags()
	flags.IntVar(&o.tasks, "tasks", 10_000, "tasks to submit, or reads with --get")
	flags.IntVar(&o.connections, "connections", 64, "connections, each with one request at a time")
	flags.IntVar(&o.batch, "batch", 1, "tasks per request")
	flags.BoolVar(&o.wait, "wait", false, "let each request wait for the result")
	flags.BoolVar(&o.get, "get", false, "measure reading finished tasks instead")
	flags.StringVar(&o.taskType, "type", defaultType, "task type")
	flags.StringVar(&o.args, "args", "", "args of each task, a JSON object (default: two numbers for "+defaultType+", else {})")
	flags.StringVar(&o.verify, "verify", "all", "read again afterwards: all, sample (1,000 of them) or none")
	flags.StringVar(&at, "at", "all", "nodes to send to: all that are named, the leader, or one follower")
	flags.IntVar(&local.nodes, "local", 0, "start so many nodes here for the measurement")
	flags.IntVar(&local.slots, "slots", 0, "slots of each --local node (default: one per CPU)")
	flags.StringVar(&local.install, "install", "", "folder, archive or URL of a pack to install on the --local nodes")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.validate(); err != nil {
			return err
		}
		if !slices.Contains([]string{"all", "leader", "follower"}, at) {
			return usagef("--at %q: write all, leader or follower", at)
		}
		if err := local.validate(c.addr); err != nil {
			return err
		}
		api, err := c.client()
		if err != nil {
			return err
		}
		if local.nodes > 0 {
			cluster, err := startLocalCluster(cmd.Context(), local)
			if err != nil {
				return err
			}
			defer cluster.stop()
			if api, err = c.clientOf(cluster.addrs); err != nil {
				return err
			}
			if err := c.installLocal(cmd.Context(), api, local.install); err != nil {
				return err
			}
		}
		if o.addrs, err = benchAddrs(cmd.Context(), api, at); err != nil {
			return err
		}
		return c.bench(cmd.Context(), o)
	}
	return cmd
}

// validate refuses what cannot be measured.
func (o *benchOptions) validate() error {
	switch {
	case o.tasks < 1:
		return usagef("--tasks %d: write at least 1", o.tasks)
	case o.connections < 1 || o.connections > 10_000:
		return usagef("--connections %d: write 1 to 10000", o.connections)
	case o.batch < 1 || o.batch > maxBatch:
		return usagef("--batch %d: write 1 to %d, the most that a node takes at once", o.batch, maxBatch)
	case o.wait && o.batch > 1:
		return usagef("--wait is for single tasks: leave --batch out")
	case o.get && (o.wait || o.batch > 1):
		return usagef("--get only reads: leave --wait and --batch out")
	case !slices.Contains([]string{"all", "sample", "none"}, o.verify):
		return usagef("--verify %q: write all, sample or none", o.verify)
	case o.taskType == "":
		return usagef("--type is empty: write a task type, such as %s", defaultType)
	}
	var object map[string]json.RawMessage
	if o.args != "" && (json.Unmarshal([]byte(o.args), &object) != nil || object == nil) {
		return usagef("--args %s is not a JSON object, such as {\"seconds\": 0.1}", abbreviate(o.args))
	}
	return nil
}

// validate refuses what cannot be started.
func (l *benchLocal) validate(addr string) error {
	switch {
	case l.nodes < 0 || l.nodes > 0 && addr != "":
		return usagef("--local takes a number of nodes to start, and no --addr beside it")
	case l.nodes == 0 && (l.slots != 0 || l.install != ""):
		return usagef("--slots and --install are for nodes that are started here: write --local 1 as well")
	case l.slots < 0:
		return usagef("--slots %d: write at least 1", l.slots)
	}
	return nil
}

// installLocal has all nodes of a local cluster run a pack, unless it is "".
func (c *cli) installLocal(ctx context.Context, api *client.Client, what string) error {
	if what == "" {
		return nil
	}
	p, err := c.install(ctx, api, what, "", "", nil)
	if err != nil {
		return err
	}
	return c.awaitNodes(ctx, api, p, c.err)
}

// sums reports whether the tasks are additions whose results can be checked.
func (o *benchOptions) sums() bool { return o.taskType == defaultType && o.args == "" }

// mode is the word for what is measured.
func (o *benchOptions) mode() string {
	switch {
	case o.get:
		return "get"
	case o.wait:
		return "wait"
	}
	return "submit"
}

// benchAddrs picks the nodes to send to.
func benchAddrs(ctx context.Context, api *client.Client, at string) ([]string, error) {
	if at == "all" {
		return api.Addrs, nil
	}
	view, err := api.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range view.Nodes {
		if n.HTTP != "" && n.Status == "alive" && (n.Name == view.Leader) == (at == "leader") {
			base, err := client.BaseURL(n.HTTP)
			return []string{base}, err
		}
	}
	return nil, fmt.Errorf("bench: the cluster has no %s now", at)
}

// bench measures and prints the report.
func (c *cli) bench(ctx context.Context, o benchOptions) error {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // leave the CPUs to the nodes
	load := newBenchLoad(o)
	defer load.close()
	shown := make(chan struct{})
	showing, stop := context.WithCancel(ctx)
	go func() {
		defer close(shown)
		showProgress(showing, c.err, load)
	}()
	report, err := load.run(ctx)
	stop()
	<-shown
	if err != nil {
		return err
	}
	if c.json {
		err = c.printJSON(report)
	} else {
		err = report.print(c.out)
	}
	if err == nil && report.Failed > 0 {
		err = fmt.Errorf("bench: %d of %d tasks did not end with the right result", report.Failed, report.Tasks)
	}
	return err
}

// print shows the report as a table.
func (r *benchReport) print(w io.Writer) error {
	t := newTable(w)
	speed := func(name string, v float64) { t.row(name, thousands(int64(v))+"/s") }
	t.row("tasks", fmt.Sprintf("%s of %s, %d connections, %d per request, %s", thousands(int64(r.Tasks)), r.Type, r.Connections, r.Batch, r.Mode))
	if r.Mode == "get" {
		speed("read", r.GetPerS)
	} else {
		speed("accepted", r.AcceptPerS)
		speed("end to end", r.EndToEndPerS)
	}
	l := r.Latency
	if r.Mode == "wait" {
		t.row("first", fmt.Sprintf("%.2f ms", l.First))
	}
	t.row("latency", fmt.Sprintf("p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms", l.P50, l.P90, l.P99, l.Max))
	t.row("time", strconv.FormatFloat(r.Seconds, 'f', 2, 64)+" s")
	t.row("failed", fmt.Sprintf("%d (%s read again)", r.Failed, thousands(int64(r.Verified))))
	if r.Retries > 0 {
		t.row("retries", thousands(int64(r.Retries)))
	}
	return t.flush()
}

// newBenchLatency sorts the latencies and picks percentiles by nearest rank.
func newBenchLatency(all []time.Duration) benchLatency {
	if len(all) == 0 {
		return benchLatency{}
	}
	slices.Sort(all)
	at := func(percent int) float64 {
		rank := (len(all)*percent + 99) / 100
		return milliseconds(all[max(rank, 1)-1])
	}
	return benchLatency{P50: at(50), P90: at(90), P99: at(99), Max: at(100)}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// showProgress writes a line about the load every now and then until ctx ends: often on
// a terminal, where it is overwritten, else every two seconds.
func showProgress(ctx context.Context, w io.Writer, load *benchLoad) {
	interval, begin, end := 2*time.Second, "", "\n"
	if terminalOf(w) != nil {
		interval, begin, end = 250*time.Millisecond, "\r\x1b[K", ""
		defer fmt.Fprint(w, begin)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var before int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		phase, done, total := load.progress()
		line := fmt.Sprintf("%s %s of %s", phase, thousands(done), thousands(total))
		if done > before {
			line += fmt.Sprintf(", %s/s", thousands(int64(float64(done-before)/interval.Seconds())))
		}
		before = done
		fmt.Fprint(w, begin, strings.TrimSpace(line), end)
	}
}
