package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/httpapi"
	"pytasks/node/client"
	"pytasks/taskpacks"
	"pytasks/taskpacks/archive"
	"pytasks/taskpacks/packdir"
	"pytasks/taskpacks/scaffold"
)

// spreadPause is how often `pack install` asks how far the nodes are.
const spreadPause = 200 * time.Millisecond

func (c *cli) packCommand() *cobra.Command {
	return group("pack", "Write packs of tasks, install them for the whole cluster, remove them",
		c.packInitCommand(), c.packTestCommand(), c.packInstallCommand(), c.packListCommand(), c.packShowCommand(),
		c.packRollbackCommand(), c.packRemoveCommand())
}

func (c *cli) packInitCommand() *cobra.Command {
	kind := taskpacks.PackPython
	cmd := &cobra.Command{
		Use:   "init NAME",
		Short: "Write a new pack that installs and runs as it is",
		Example: `  pytasks pack init hello
  pytasks pack test hello
  pytasks pack install hello`,
		Args: exactly("NAME"),
	}
	cmd.Flags().StringVar(&kind, "kind", kind, "python, command or wasm")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		dir := args[0]
		name := folderName(dir)
		if err := scaffold.Write(dir, name, kind); err != nil {
			return err
		}
		build := ""
		if kind == taskpacks.PackWASM {
			build = fmt.Sprintf("  (cd %s && GOOS=wasip1 GOARCH=wasm go build -o main.wasm .)\n", dir)
		}
		_, err := fmt.Fprintf(c.out, `%s is a pack of kind %s now. Next:

%s  pytasks pack test %[1]s
  pytasks pack install %[1]s
  pytasks run %[4]s.main.greet name=Ada --wait
`, dir, kind, build, name)
		return err
	}
	return cmd
}

func (c *cli) packInstallCommand() *cobra.Command {
	var sum, name string
	cmd := c.clientFlags(&cobra.Command{
		Use:   "install DIR|ZIP|TAR.GZ|URL|NAME",
		Short: "Install a pack for the whole cluster",
		Long: `Install a pack for the whole cluster: from a folder, from an archive, from a URL, or by
its name in an index that the node knows (--index of pytasks start).

The pack is ready on the node that was asked when the command returns; what the other
nodes make of it is shown as they get there. Unfinished tasks stay on the release that
they were queued for.`,
		Example: `  pytasks pack install ./hello
  pytasks pack install https://example.com/hello.zip --sha256 5891b5b5...`,
		Args: exactly("DIR, ZIP, TAR.GZ, URL or NAME"),
	})
	cmd.Flags().StringVar(&sum, "sha256", "", "refuse an archive that has another SHA-256")
	cmd.Flags().StringVar(&name, "name", "", "call the pack so, whatever it calls itself")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		api.Patience = max(api.Patience, 30*time.Second)
		b := c.bar("installing " + args[0])
		defer b.end()
		p, err := c.install(cmd.Context(), api, args[0], name, sum, b)
		b.end()
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(p)
		}
		text := fmt.Sprintf("%s %s is installed, as release %s\n", p.Name, p.Version, p.Release)
		for _, t := range p.Tasks {
			text += "  task " + t.Type + "\n"
		}
		if _, err := fmt.Fprint(c.out, text); err != nil {
			return err
		}
		return c.awaitNodes(cmd.Context(), api, p, c.out)
	}
	return cmd
}

// install sends a pack, or says where it is.
func (c *cli) install(ctx context.Context, api *client.Client, what, name, sum string, b *bar) (*httpapi.PackView, error) {
	info, err := os.Stat(what)
	switch {
	case strings.Contains(what, "://"):
		return api.InstallFrom(ctx, client.PackSource{URL: what, Name: name, SHA256: sum})
	case errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(what, `/\.`):
		if name != "" {
			return nil, usagef("--name: a pack that is installed by its name keeps it")
		}
		p, err := api.InstallFrom(ctx, client.PackSource{Name: what, SHA256: sum})
		if refused := (*client.APIError)(nil); errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity {
			err = fmt.Errorf("there is no folder %s here; by that name, %w", what, err)
		}
		return p, err
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no %s: name a pack's folder, its archive, a URL, or a pack of an index", what)
	case err != nil:
		return nil, err
	}
	query := url.Values{}
	for key, value := range map[string]string{"name": name, "sha256": sum} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if !info.IsDir() {
		body, err := os.ReadFile(what)
		if err != nil {
			return nil, err
		}
		return api.InstallArchive(ctx, body, archiveType(body), query, b.sending(what, len(body)))
	}
	m, err := taskpacks.ReadManifest(what, name, packdir.NameOf(folderName(what)))
	if err != nil {
		return nil, err
	}
	query.Set("name", m.Name) // the archive has no folder that says it
	var body bytes.Buffer
	if err := archive.Pack(&body, what); err != nil {
		return nil, err
	}
	return api.InstallArchive(ctx, body.Bytes(), archiveType(body.Bytes()), query, b.sending(what, body.Len()))
}

func folderName(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		path = full
	}
	return filepath.Base(path)
}

// archiveType tells a zip from what else it may be; the node looks for itself.
func archiveType(body []byte) string {
	if bytes.HasPrefix(body, []byte("PK")) {
		return "application/zip"
	}
	return "application/gzip"
}

// awaitNodes tells w of each node when it can run a pack, or why it cannot.
func (c *cli) awaitNodes(ctx context.Context, api *client.Client, installed *httpapi.PackView, w io.Writer) error {
	b := c.bar("waiting for the nodes")
	defer b.end()
	w = b.beside(w)
	said := map[string]bool{}
	for {
		p, _, err := api.Pack(ctx, installed.Name)
		if err != nil {
			return err
		}
		if p.Release != installed.Release {
			return nil // another one took its place
		}
		var waiting []string
		for _, n := range p.Nodes {
			if n.Status == httpapi.PackPreparing {
				waiting = append(waiting, n.Name)
				continue
			}
			if line := n.Name + " " + n.Status; !said[line] {
				said[line] = true
				if n.Error != "" {
					line += ": " + n.Error
				}
				if _, err := fmt.Fprintf(w, "  node %s\n", line); err != nil {
					return err
				}
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		b.tell(1-float64(len(waiting))/float64(len(p.Nodes)), "waiting for "+strings.Join(waiting, ", "))
		if err := client.Pause(ctx, spreadPause); err != nil {
			return err
		}
	}
}

func (c *cli) packListCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{Use: "ls", Short: "List the packs", Args: exactly()})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		packs, raw, err := api.Packs(cmd.Context())
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(raw)
		}
		table := c.table("NAME", "RELEASE", "KIND", "TASKS", "READY", "DESCRIPTION")
		for _, p := range packs {
			ready := 0
			for _, n := range p.Nodes {
				if n.Status == httpapi.PackReady {
					ready++
				}
			}
			release := p.Release
			if release == "" {
				release = p.Version
			}
			table.row(p.Name, release, p.Kind, fmt.Sprint(len(p.Tasks)), fmt.Sprintf("%d of %d nodes", ready, len(p.Nodes)), p.Description)
		}
		return table.flush()
	}
	return c.watches(cmd)
}

func (c *cli) packShowCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{Use: "show NAME", Short: "Show a pack, its tasks, releases and nodes", Args: exactly("NAME")})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		p, raw, err := api.Pack(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(raw)
		}
		return c.showPack(p)
	}
	return c.completes(cmd, completePacks)
}

func (c *cli) showPack(p *httpapi.PackView) error {
	table := c.table()
	table.row("name", p.Name)
	table.row("version", p.Version)
	table.row("kind", p.Kind)
	if p.Description != "" {
		table.row("description", p.Description)
	}
	for _, t := range p.Tasks {
		table.row("task", t.Type, t.Doc)
	}
	for _, n := range p.Nodes {
		table.row("node", n.Name, n.Status+" "+n.Error)
		table.mark(2, statusStyle(n.Status))
	}
	for _, r := range p.Releases {
		mark := ""
		if r.Current {
			mark = ", current"
		}
		table.row("release", r.Release, fmt.Sprintf("installed %s, %s%s",
			r.InstalledAt.Local().Format(time.DateTime), counted(r.Unfinished, "unfinished task"), mark))
	}
	return table.flush()
}

func (c *cli) packRollbackCommand() *cobra.Command {
	var release string
	cmd := c.clientFlags(&cobra.Command{
		Use:   "rollback NAME",
		Short: "Run new tasks of a pack on the release before",
		Args:  exactly("NAME"),
	})
	cmd.Flags().StringVar(&release, "release", "", "on this one, as `pytasks pack show` lists them")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		p, err := api.UsePack(cmd.Context(), args[0], release)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(p)
		}
		_, err = fmt.Fprintf(c.out, "new tasks of %s run on %s\n", p.Name, p.Release)
		return err
	}
	return c.completes(cmd, completePacks)
}

func (c *cli) packRemoveCommand() *cobra.Command {
	var release string
	var force bool
	cmd := c.clientFlags(&cobra.Command{Use: "rm NAME", Short: "Remove a pack from the whole cluster", Args: exactly("NAME")})
	cmd.Flags().StringVar(&release, "release", "", "this release only")
	cmd.Flags().BoolVar(&force, "force", false, "even if unfinished tasks need it: they fail")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		if err := api.RemovePack(cmd.Context(), args[0], release, force); err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[string]string{"removed": args[0]})
		}
		_, err = fmt.Fprintf(c.out, "%s is removed\n", strings.TrimSpace(args[0]+" "+release))
		return err
	}
	return c.completes(cmd, completePacks)
}
