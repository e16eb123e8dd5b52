package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pytasks/node/client"
)

// taskFilter is which tasks are meant, as GET /task takes it.
type taskFilter struct{ status, kind, tag string }

func (f *taskFilter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.status, "status", "", "only those in this state, such as FAILURE")
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions( // which fails for a flag that is not there
		[]string{"SCHEDULED", "PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVar(&f.kind, "type", "", "only those of this type")
	cmd.Flags().StringVar(&f.tag, "tag", "", "only those with this tag")
}

func (f *taskFilter) query() url.Values {
	query := url.Values{}
	for key, value := range map[string]string{"status": strings.ToUpper(f.status), "type": f.kind, "tag": f.tag} {
		if value != "" {
			query.Set(key, value)
		}
	}
	return query
}

// String is the filter in words: FAILURE of test.main.add with the tag night.
func (f *taskFilter) String() string {
	text := strings.ToUpper(f.status)
	if f.kind != "" {
		text += " of " + f.kind
	}
	if f.tag != "" {
		text += " with the tag " + f.tag
	}
	return text
}

// retryOptions are the flags of `task retry`.
type retryOptions struct {
	filter taskFilter
	limit  int
	yes    bool
	wait   bool
}

func (c *cli) taskRetryCommand() *cobra.Command {
	var o retryOptions
	cmd := c.clientFlags(&cobra.Command{
		Use:   "retry ID... | --status FAILURE",
		Short: "Queue finished tasks anew",
		Long: `Queue finished tasks anew, and print the new ids: the same type, arguments, priority, timeout, retry policy and
tags, as tasks of yours, on the release that new tasks run on. The old tasks stay as they are, so that
the same command, given twice, queues them twice. A task that is not finished is cancelled first, by
` + "`pytasks task cancel`" + `.

With --status, all tasks in that state, after a question how many there are.`,
		Example: `  pytasks task retry 01a2b3c4-0000-7000-8000-000000000000 --wait
  pytasks task retry --status FAILURE --type hello.main.average --tag night --yes`,
	})
	o.filter.flags(cmd)
	cmd.Flags().IntVar(&o.limit, "limit", 0, "at most so many, the newest; 0 for all")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait for the results and print them, each as one line")
	cmd.Args = func(cmd *cobra.Command, ids []string) error {
		many := o.filter != taskFilter{} || o.limit != 0
		switch {
		case len(ids) == 0 && o.filter.status == "":
			return usagef("%s needs ID, or --status FAILURE", cmd.CommandPath())
		case len(ids) > 0 && many:
			return usagef("%s takes ids, or --status and what narrows it, not both", cmd.CommandPath())
		case o.limit < 0:
			return usagef("--limit %d: write a number above zero, or 0 for all", o.limit)
		case many && !slices.Contains([]string{"SUCCESS", "FAILURE", "REVOKED"}, strings.ToUpper(o.filter.status)):
			return usagef("--status %s: only finished tasks are queued anew: FAILURE, REVOKED or SUCCESS", o.filter.status)
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			ids, err = api.Ids(cmd.Context(), o.filter.query(), o.limit)
			if err != nil {
				return err
			}
			slices.Reverse(ids) // in the order in which they were queued
			if yes, err := c.mayRetry(len(ids), &o); !yes {
				return err
			}
		}
		return c.retry(cmd.Context(), api, ids, o.wait)
	}
	return c.completesAll(cmd, completeIDs)
}

// mayRetry says how many tasks are meant and asks whether to go on.
func (c *cli) mayRetry(n int, o *retryOptions) (bool, error) {
	what := fmt.Sprintf("%s: %s", counted(n, "task"), &o.filter)
	if n == 0 || o.yes {
		fmt.Fprintln(c.err, what)
		return n > 0, nil
	}
	return c.ask(what + ". Queue " + map[bool]string{true: "it", false: "them"}[n == 1] + " anew?")
}

// ask puts a question to whoever sits at the terminal. Without one it is a wrong command line that --yes would mend.
func (c *cli) ask(question string) (bool, error) {
	if f, ok := c.in.(*os.File); ok && !term.IsTerminal(int(f.Fd())) {
		return false, usagef("%s Nobody is there to ask: give --yes", question)
	}
	fmt.Fprint(c.err, question+" [y/N] ")
	answer, _ := bufio.NewReader(c.in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	return false, errors.New("nothing was done")
}

// retry queues tasks anew, one after the other, and then, if it is to wait, waits for all. One that is refused, or fails, does
// not keep the others from it.
func (c *cli) retry(ctx context.Context, api *client.Client, ids []string, wait bool) error {
	var faults []error
	var queued []*client.Task
	for _, id := range ids {
		t, err := api.Retry(ctx, id, rand.Text())
		if refused := (*client.APIError)(nil); errors.As(err, &refused) {
			faults = append(faults, fmt.Errorf("task %s: %w", id, err))
			continue
		}
		if err != nil {
			return err
		}
		queued = append(queued, t)
		switch {
		case wait:
		case c.json:
			err = c.printJSON(t.Raw)
		default:
			_, err = fmt.Fprintln(c.out, t.ID)
		}
		if err != nil {
			return err
		}
	}
	for _, t := range queued {
		if !wait {
			break
		}
		end, err := api.Await(ctx, t.ID)
		if err != nil {
			return fmt.Errorf("wait for task %s, which goes on: %w", t.ID, err)
		}
		if err := c.printEnd(end); err != nil {
			return err
		}
		if err := end.Failure(); err != nil {
			faults = append(faults, err)
		}
	}
	switch n := len(faults); {
	case n == 0:
		return nil
	case len(ids) == 1:
		return faults[0]
	default:
		for _, fault := range faults {
			fmt.Fprintln(c.err, fault)
		}
		return fmt.Errorf("%d of %s failed", n, counted(len(ids), "task"))
	}
}
