package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pytasks/fsm"
)

func (c *cli) nodeLabelCommand() *cobra.Command {
	var forget bool
	cmd := c.clientFlags(&cobra.Command{
		Use:   "label NAME [KEY=VALUE...] [KEY-...]",
		Short: "Give a node labels that tasks may ask for, or take some away",
		Long: `Give a node labels that tasks may ask for, or take some away: KEY- takes KEY away.

A node has the labels of its --label. What this command says wins over these, also when the node is
started again, until --forget.`,
		Example: `  pytasks node label n2 zone=eu gpu-
  pytasks run test.main.add x=1 y=2 --where zone=eu`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) == 1 && !forget {
				return usagef("%s needs the name of a node, and labels such as zone=eu", cmd.CommandPath())
			}
			return nil
		},
	})
	cmd.Flags().BoolVar(&forget, "forget", false, "begin with the labels that the node was started with")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		labels := map[string]*string{}
		for _, text := range args[1:] {
			key, value, given := strings.Cut(text, "=")
			if !given {
				var taken bool
				if key, taken = strings.CutSuffix(text, "-"); !taken {
					return usagef("%q is no label: write KEY=VALUE, or KEY- to take KEY away", text)
				}
			}
			if !fsm.ValidLabel(key) || given && !fsm.ValidLabel(value) {
				return usagef("%q is no label: key and value are 1 to 63 characters of A-Z a-z 0-9 . _ / -", text)
			}
			if labels[key] = nil; given {
				labels[key] = &value
			}
		}
		api, err := c.client()
		if err != nil {
			return err
		}
		if err := api.LabelNode(cmd.Context(), args[0], labels, forget); err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[string]any{"name": args[0], "changed": labels})
		}
		_, err = fmt.Fprintf(c.out, "%s is labelled\n", args[0])
		return err
	}
	return c.completes(cmd, completeNodes)
}

// readWhere reads what a task asks for of its node.
func readWhere(texts []string) (map[string]string, error) {
	var where map[string]string
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		if !ok || !fsm.ValidLabel(key) || !fsm.ValidLabel(value) {
			return nil, usagef("--where %s is no label of a node: write KEY=VALUE, such as zone=eu", text)
		}
		if where == nil {
			where = map[string]string{}
		}
		where[key] = value
	}
	return where, nil
}
