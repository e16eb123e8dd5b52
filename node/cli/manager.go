package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pytasks/node/client"
	"pytasks/taskpacks/fetch"
)

// managerOptions is the command line of the reference's manager, whose flags are not of the usual form.
type managerOptions struct {
	packs   []string // -i, --install
	list    string   // -pl, --packagelist
	ignored []string // flags that name folders, which a cluster has no use for
}

func (c *cli) managerCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "manager -i PACK... [-pl URL]",
		Short: "Install packs as the reference's manager.py is told to",
		Long: `Install packs in the cluster with the command line of the reference's manager.py, for
scripts that have it: -i (--install) with the names of packs, -pl (--packagelist) with
the URL or file of an index, unless the node has one. --api and --handler are taken and
not needed: a pack is installed for the whole cluster. Names in the variable
` + referencePacksEnv + ` are added; a * in it drops those of -i.

The node is the one that $PYTASKS_ADDR names.`,
		Example:            `  pytasks manager -i physicsjs -pl https://example.com/packages.json`,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
				return cmd.Help()
			}
			o, err := parseManager(args)
			if err != nil {
				return err
			}
			return c.manage(cmd.Context(), o)
		},
	}
}

func parseManager(args []string) (*managerOptions, error) {
	o := &managerOptions{}
	for len(args) > 0 {
		flag := args[0]
		values := 1
		for values < len(args) && !strings.HasPrefix(args[values], "-") {
			values++
		}
		given := args[1:values]
		args = args[values:]
		one := len(given) == 1
		switch flag {
		case "-i", "--install":
			if len(given) == 0 {
				return nil, usagef("%s needs the names of packs", flag)
			}
			o.packs = append(o.packs, given...)
		case "-pl", "--packagelist":
			if !one {
				return nil, usagef("%s needs the URL or file of an index", flag)
			}
			o.list = strings.TrimPrefix(given[0], "file://")
		case "-api", "--api", "-handler", "--handler":
			if !one {
				return nil, usagef("%s needs a folder", flag)
			}
			o.ignored = append(o.ignored, flag)
		default:
			return nil, usagef("%q is not known: use -i PACK... and -pl URL", flag)
		}
	}
	return o, nil
}

// manage installs one pack after the other; what fails does not keep the others from being installed.
func (c *cli) manage(ctx context.Context, o *managerOptions) error {
	packs := referencePacks(o.packs, c.getenv(referencePacksEnv))
	if len(packs) == 0 {
		return usagef("no packs are named: use -i PACK..., or %s", referencePacksEnv)
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	for _, flag := range o.ignored {
		fmt.Fprintf(c.err, "pytasks: %s is not needed: packs are installed for the whole cluster\n", flag)
	}
	indexes := fetch.New(fetch.Config{AllowPrivate: true})
	var errs []error
	for _, name := range packs {
		from := client.PackSource{Name: name}
		if o.list != "" {
			e, err := indexes.Find(ctx, []string{o.list}, name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			from = client.PackSource{URL: e.Link, Name: name, SHA256: e.SHA256}
		}
		p, err := api.InstallFrom(ctx, from)
		if err != nil {
			errs = append(errs, fmt.Errorf("pack %s: %w", name, err))
			continue
		}
		if _, err := fmt.Fprintf(c.out, "%s %s is installed\n", p.Name, p.Version); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}
