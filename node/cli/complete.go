package cli

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/node/client"
)

const (
	// completeTimeout is how long the shell waits for a cluster when somebody presses Tab.
	completeTimeout = time.Second
	// completeTasks is how many ids are proposed, the newest.
	completeTasks = 50
)

// completes has the shell propose for a command's first argument what the cluster has. Where the cluster does not
// answer there is nothing to propose.
func (c *cli) completes(cmd *cobra.Command, ask func(ctx context.Context, api *client.Client) ([]string, error)) *cobra.Command {
	propose := c.completesAll(cmd, ask).ValidArgsFunction
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return propose(cmd, args, begun)
	}
	return cmd
}

// completesAll is completes for each argument of a command that takes many: what is given already is not proposed again.
func (c *cli) completesAll(cmd *cobra.Command, ask func(ctx context.Context, api *client.Client) ([]string, error)) *cobra.Command {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		api, err := c.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		api.Patience = 0
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		words, err := ask(ctx, api)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(words, func(word string) bool {
			name, _, _ := strings.Cut(word, "\t")
			return !strings.HasPrefix(word, begun) || slices.Contains(args, name)
		}), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// completeTypes proposes task types. Beside a word the shell shows what follows its tab.
func completeTypes(ctx context.Context, api *client.Client) ([]string, error) {
	types, err := api.Types(ctx)
	return slices.Sorted(maps.Keys(types)), err
}

// completeIDs proposes the newest tasks.
func completeIDs(ctx context.Context, api *client.Client) ([]string, error) {
	tasks, _, err := api.List(ctx, url.Values{"limit": {strconv.Itoa(completeTasks)}})
	var words []string
	for _, t := range tasks {
		words = append(words, t.ID+"\t"+t.Type+" "+t.Status)
	}
	return words, err
}

// completeNodes proposes the nodes.
func completeNodes(ctx context.Context, api *client.Client) ([]string, error) {
	view, err := api.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	var words []string
	for _, n := range view.Nodes {
		words = append(words, n.Name+"\t"+n.Status)
	}
	return words, nil
}

// completePacks proposes the packs that are installed.
func completePacks(ctx context.Context, api *client.Client) ([]string, error) {
	packs, _, err := api.Packs(ctx)
	var words []string
	for _, p := range packs {
		words = append(words, p.Name+"\t"+p.Kind+" "+p.Version)
	}
	return words, err
}

// completeUsers proposes the users.
func completeUsers(ctx context.Context, api *client.Client) ([]string, error) {
	users, _, err := api.Users(ctx)
	var words []string
	for _, u := range users {
		words = append(words, u.Name)
	}
	return words, err
}
