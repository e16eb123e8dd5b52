package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pytasks/httpapi/auth"
	"pytasks/node/client"
	"pytasks/node/config"
)

func (c *cli) userCommand() *cobra.Command {
	return group("user", "Make users, and say what they may do",
		c.userAddCommand(), c.userListCommand(), c.userPasswdCommand(), c.userAllowCommand(), c.userRemoveCommand())
}

func (c *cli) userAddCommand() *cobra.Command {
	var scopes, allowed []string
	var file string
	cmd := c.clientFlags(&cobra.Command{
		Use:   "add NAME",
		Short: "Make a user, and print its password",
		Long: `Make a user, and print its password, a random one unless --password-file gives another.

Scopes: ` + strings.Join(auth.Scopes(), ", ") + `.
Protected tasks are allowed by --allow: a type, all of a pack with "pack.*", or all with "*".`,
		Example: `  pytasks user add ci --scopes tasks:write,packs:write
  pytasks user add bob --allow physics.*`,
		Args: exactly("NAME"),
	})
	cmd.Flags().StringSliceVar(&scopes, "scopes", nil, "what the user may do")
	cmd.Flags().StringSliceVar(&allowed, "allow", nil, "protected tasks that the user may run")
	passwordFlag(cmd, &file)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		password := auth.NewPassword()
		if file != "" {
			if password, err = c.password(file); err != nil {
				return err
			}
		}
		err = api.PutUser(cmd.Context(), client.UserChange{
			Name: args[0], Password: password, Scopes: list(scopes), AllowedTasks: list(allowed), Create: true,
		})
		if err != nil || file != "" {
			return err
		}
		_, err = fmt.Fprintln(c.out, password)
		return err
	}
	return cmd
}

// list returns a list that is never nil.
func list(items []string) *[]string {
	all := append([]string{}, items...)
	return &all
}

func (c *cli) userListCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{Use: "ls", Short: "List the users", Args: exactly()})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		users, raw, err := api.Users(cmd.Context())
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(raw)
		}
		table := c.table("NAME", "SCOPES", "PROTECTED TASKS", "SINCE")
		for _, u := range users {
			table.row(u.Name, strings.Join(u.Scopes, ","), strings.Join(u.AllowedTasks, ","), u.CreatedAt)
		}
		return table.flush()
	}
	return cmd
}

func (c *cli) userPasswdCommand() *cobra.Command {
	var file string
	cmd := c.clientFlags(&cobra.Command{
		Use:   "passwd NAME",
		Short: "Give a user another password; tokens for the old one are void",
		Args:  exactly("NAME"),
	})
	passwordFlag(cmd, &file)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		password, err := c.password(file)
		if err != nil {
			return err
		}
		return api.PutUser(cmd.Context(), client.UserChange{Name: args[0], Password: password})
	}
	return c.completes(cmd, completeUsers)
}

func (c *cli) userAllowCommand() *cobra.Command {
	var scopes, deny []string
	cmd := c.clientFlags(&cobra.Command{
		Use:   "allow NAME [TASK...]",
		Short: "Let a user run protected tasks, or change its scopes",
		Example: `  pytasks user allow bob physics.main.simulate 'tools.*'
  pytasks user allow bob --deny 'tools.*'
  pytasks user allow bob --scopes tasks:read`,
		Args: cobra.MinimumNArgs(1),
	})
	cmd.Flags().StringSliceVar(&scopes, "scopes", nil, "what the user may do from now on")
	cmd.Flags().StringSliceVar(&deny, "deny", nil, "take these out again")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		u, err := api.User(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		change := client.UserChange{Name: u.Name, Scopes: list(u.Scopes), AllowedTasks: list(nil)}
		if cmd.Flags().Changed("scopes") {
			change.Scopes = list(scopes)
		}
		gone := map[string]bool{}
		for _, task := range deny {
			gone[task] = true
		}
		for _, task := range append(u.AllowedTasks, args[1:]...) {
			if !gone[task] {
				gone[task] = true // no task twice
				*change.AllowedTasks = append(*change.AllowedTasks, task)
			}
		}
		return api.PutUser(cmd.Context(), change)
	}
	return c.completes(cmd, completeUsers)
}

func (c *cli) userRemoveCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{Use: "rm NAME", Short: "Remove a user; its tokens are void", Args: exactly("NAME")})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		return api.RemoveUser(cmd.Context(), args[0])
	}
	return c.completes(cmd, completeUsers)
}

func (c *cli) tokenCommand() *cobra.Command {
	var user, file string
	cmd := c.clientFlags(&cobra.Command{
		Use:   "token",
		Short: "Print a token for a user's password, or the one of a node here",
		Long: `Print a token for a user's password. Without --user and --password-file it is the token that
other commands use here: that of a node which this user runs on this machine.`,
		Example: `  export PYTASKS_TOKEN=$(pytasks token --user bob)
  curl -H "Authorization: Bearer $(pytasks token)" http://127.0.0.1:8080/users`,
		Args: exactly(),
	})
	cmd.Flags().StringVar(&user, "user", config.FirstUser, "name of the user")
	passwordFlag(cmd, &file)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		if file == "" && !cmd.Flags().Changed("user") {
			if token := api.TokenFor(cmd.Context(), api.Addrs[0]); token != "" {
				_, err := fmt.Fprintln(c.out, token)
				return err
			}
		}
		password, err := c.password(file)
		if err != nil {
			return err
		}
		token, err := api.Token(cmd.Context(), user, password)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.out, token)
		return err
	}
	return cmd
}

func (c *cli) keysCommand() *cobra.Command {
	return group("keys", "Look at the keys of tokens, and change them", c.keysListCommand(), c.keysRotateCommand())
}

func (c *cli) keysListCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{Use: "ls", Short: "List the keys of tokens", Args: exactly()})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		keys, raw, err := api.Keys(cmd.Context())
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(raw)
		}
		table := c.table("ID", "ALGORITHM", "SINCE", "USE")
		for _, k := range keys {
			use := "verifies until " + k.VerifyUntil
			if k.Signs {
				use = "signs"
			}
			table.row(k.ID, k.Algorithm, k.CreatedAt, use)
		}
		return table.flush()
	}
	return cmd
}

func (c *cli) keysRotateCommand() *cobra.Command {
	cmd := c.clientFlags(&cobra.Command{
		Use:   "rotate",
		Short: "Sign tokens with a new key; the old one verifies until its last token ends",
		Args:  exactly(),
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		return api.RotateKeys(cmd.Context())
	}
	return cmd
}

func (c *cli) auditCommand() *cobra.Command {
	var after uint64
	var limit int
	cmd := c.clientFlags(&cobra.Command{
		Use:   "audit",
		Short: "Print who did what, as JSON lines",
		Args:  exactly(),
	})
	cmd.Flags().Uint64Var(&after, "after", 0, "only what came after this log index")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many lines (default: as many as a node gives)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		return api.Audit(cmd.Context(), after, limit, c.out)
	}
	return cmd
}

func passwordFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "password-file", "", "file with the password, - for standard input")
}

// password reads a password from a file, or asks for one.
func (c *cli) password(file string) (string, error) {
	var text []byte
	var err error
	terminal, _ := c.in.(*os.File)
	switch {
	case file != "" && file != "-":
		text, err = os.ReadFile(file)
	case file == "" && terminal != nil && term.IsTerminal(int(terminal.Fd())):
		fmt.Fprint(c.err, "Password: ")
		text, err = term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(c.err)
	case file == "":
		return "", usagef("there is no terminal to ask for the password on: give it with --password-file FILE, or - for standard input")
	default:
		var line string
		line, err = bufio.NewReader(c.in).ReadString('\n')
		if errors.Is(err, io.EOF) && line != "" {
			err = nil
		}
		text = []byte(line)
	}
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
