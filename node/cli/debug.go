package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/node/client"
)

func (c *cli) debugCommand() *cobra.Command {
	return group("debug", "Find out what is wrong with a cluster", c.debugBundleCommand())
}

// bundlePart is something that a bundle has of each node.
type bundlePart struct{ file, path string }

// bundleParts are those parts, the profiles if they are asked for: a heap profile says where memory was taken, not what is in it.
func bundleParts(profiles bool) []bundlePart {
	parts := []bundlePart{
		{"cluster.json", "/cluster"}, {"nodes.json", "/nodes"}, {"readyz.txt", "/readyz"}, {"metrics.txt", "/metrics"},
	}
	if profiles {
		parts = append(parts, bundlePart{"goroutines.txt", "/debug/pprof/goroutine?debug=1"}, bundlePart{"heap.pb.gz", "/debug/pprof/heap"})
	}
	return parts
}

func (c *cli) debugBundleCommand() *cobra.Command {
	profiles := false
	cmd := c.clientFlags(&cobra.Command{
		Use:   "bundle [FILE.tar.gz]",
		Short: "Gather for a bug report what all nodes say of themselves",
		Long: `Gather for a bug report what all nodes that are reached say of themselves: /cluster, /nodes, /readyz,
/metrics, their versions and clocks, and what ` + "`cluster status`" + ` says. With --pprof also what
their goroutines do and where memory was taken; nodes tell that to their own machine only, and
if they were started with --pprof.

It has names and addresses of nodes and names of tasks and packs. It has no secrets, no tokens, no users, no
arguments, no results and no logs.`,
		Args: cobra.MaximumNArgs(1),
	})
	cmd.Flags().BoolVar(&profiles, "pprof", false, "goroutines and heap, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := "pytasks-debug-" + time.Now().UTC().Format("20060102-150405")
		file := name + ".tar.gz"
		if len(args) > 0 {
			file = args[0]
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".gz"), ".tar"), ".tgz")
		}
		api, err := c.client()
		if err != nil {
			return err
		}
		b := &bundle{dir: name, parts: bundleParts(profiles)}
		if err := b.gather(cmd.Context(), c, api); err != nil {
			return err
		}
		return c.writeBundle(file, b)
	}
	return cmd
}

// bundle is what was gathered. about says how, for people.
type bundle struct {
	dir   string
	parts []bundlePart
	about strings.Builder
	files []bundleFile
}

type bundleFile struct {
	name string
	body []byte
}

func (b *bundle) add(name string, body []byte) { b.files = append(b.files, bundleFile{name, body}) }

// gather asks the nodes that the caller named, and those that they name. The error is an *UnreachableError if none answers.
func (b *bundle) gather(ctx context.Context, c *cli, api *client.Client) error {
	fmt.Fprintf(&b.about, "made       %s\nclient     %s %s %s/%s\n", time.Now().UTC().Format(time.RFC3339), c.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	bar := c.bar("asking the nodes")
	defer bar.end()
	waiting, seen, reached := append([]string{}, api.Addrs...), map[string]bool{}, map[string]bool{}
	var last error
	for done := 0; len(waiting) > 0; done++ {
		base := waiting[0]
		waiting = waiting[1:]
		if seen[base] {
			continue
		}
		seen[base] = true
		bar.tell(float64(done)/float64(done+len(waiting)+1), "asking "+redacted(base))
		fmt.Fprintf(&b.about, "\nnode at    %s\n", redacted(base))
		node, err := c.clientOf([]string{base})
		if err != nil {
			fmt.Fprintf(&b.about, "  %v\n", err)
			continue
		}
		ping, err := node.Fetch(ctx, base, "/ping")
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			last = err
			fmt.Fprintf(&b.about, "  not reached: %v\n", err)
			continue
		}
		if !ping.Clock.IsZero() {
			fmt.Fprintf(&b.about, "  clock    %s, here %s\n", ping.Clock.UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339))
		}
		view, err := b.node(ctx, node, base, reached)
		if err != nil {
			return err
		}
		for _, n := range view.Nodes {
			if n.HTTP != "" {
				waiting = append(waiting, n.HTTP)
			}
		}
	}
	if len(reached) == 0 {
		return &client.UnreachableError{Addrs: api.Addrs, Err: last}
	}
	return b.status(ctx, c, api)
}

// node adds what one node says, unless it was reached at another address already.
func (b *bundle) node(ctx context.Context, api *client.Client, base string, reached map[string]bool) (*client.Cluster, error) {
	view, name := &client.Cluster{}, ""
	for _, part := range b.parts {
		f, err := api.Fetch(ctx, base, part.path)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			fmt.Fprintf(&b.about, "  %-8s %v\n", part.file, err)
			continue
		}
		if part.path == "/cluster" && f.Status == http.StatusOK && json.Unmarshal(f.Body, view) == nil {
			name = view.Node
		}
		if name == "" {
			name = hostOf(base)
		}
		if reached[name] && part.path == "/cluster" {
			fmt.Fprintf(&b.about, "  this is %s again\n", name)
			return view, nil
		}
		reached[name] = true
		ready := part.path == "/readyz" && f.Status == http.StatusServiceUnavailable // with the reasons
		if f.Status != http.StatusOK && !ready {
			fmt.Fprintf(&b.about, "  %s: %d %s\n", part.path, f.Status, http.StatusText(f.Status))
			continue
		}
		fmt.Fprintf(&b.about, "  %-8s %d, %d bytes, %s\n", part.file, f.Status, len(f.Body), f.Took.Round(time.Millisecond))
		b.add("nodes/"+archiveName(name)+"/"+part.file, f.Body)
	}
	return view, nil
}

// status adds what `cluster status` says.
func (b *bundle) status(ctx context.Context, c *cli, api *client.Client) error {
	var text bytes.Buffer
	writes := *c
	writes.out, writes.json = &text, false
	err := writes.clusterStatus(ctx, api)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		fmt.Fprintln(&text, err)
	}
	b.add("status.txt", text.Bytes())
	return nil
}

// hostOf is the host and port of a URL.
func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return "unknown"
	}
	return u.Host
}

// archiveName is a node's name as that of a folder, on whatever system the archive is unpacked.
func archiveName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_.", r):
			return r
		}
		return '-'
	}, strings.TrimLeft(name, "."))
}

// redacted is a URL without a password.
func redacted(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return "unknown"
	}
	u.User = nil
	return u.String()
}

// writeBundle writes the archive, for its owner only and never over another file, and says what is in it.
func (c *cli) writeBundle(file string, b *bundle) error {
	b.add("about.txt", []byte(b.about.String()))
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	packed := gzip.NewWriter(f)
	archive := tar.NewWriter(packed)
	now := time.Now()
	for _, part := range b.files {
		err = errors.Join(err, archive.WriteHeader(&tar.Header{Name: b.dir + "/" + part.name, Mode: 0o600, Size: int64(len(part.body)), ModTime: now}))
		if err == nil {
			_, err = archive.Write(part.body)
		}
	}
	if err := errors.Join(err, archive.Close(), packed.Close(), f.Close()); err != nil {
		os.Remove(file)
		return fmt.Errorf("write the bundle: %w", err)
	}
	if c.json {
		names := []string{}
		for _, part := range b.files {
			names = append(names, part.name)
		}
		return c.printJSON(map[string]any{"file": file, "files": names})
	}
	table := c.table()
	for _, part := range b.files {
		table.row("  "+part.name, thousands(int64(len(part.body)))+" bytes")
	}
	if err := table.flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s has %s. Look at it before you give it to others: it names nodes, their addresses, tasks and packs.\n", file, counted(len(b.files), "file"))
	return err
}
