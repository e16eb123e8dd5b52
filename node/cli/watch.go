package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pytasks/node/client"
	"pytasks/node/config"
)

// watchEvery is how often --watch looks.
const watchEvery = time.Second

// watches adds --watch to a command that shows something.
func (c *cli) watches(cmd *cobra.Command) *cobra.Command {
	watch := false
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again when it changes, until Ctrl-C; with --json one line each time")
	show := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !watch {
			return show(cmd, args)
		}
		return c.watch(cmd.Context(), cmd.CommandPath(), func() error { return show(cmd, args) })
	}
	return cmd
}

// watch shows what a command prints again and again until ctx ends, which is no error. A terminal is drawn anew each time; elsewhere
// it is printed when it has changed. Only what goes wrong at first ends it: later the cluster may come back.
func (c *cli) watch(ctx context.Context, title string, show func() error) error {
	out := c.out
	defer func() { c.out = out }()
	screen := terminalOf(out)
	if c.json || !c.moves() {
		screen = nil
	}
	last := ""
	for first := true; ; first = false {
		f := &frame{screen: terminalOf(out)}
		c.out = f
		err := show()
		if err != nil && first && ctx.Err() == nil && !isVerdict(err) {
			return err
		}
		if ctx.Err() == nil {
			if err := c.showFrame(out, screen, title, f, err, &last); err != nil {
				return err
			}
		}
		if client.Pause(ctx, c.pace()) != nil {
			if screen != nil {
				_, err = fmt.Fprintln(out) // below what is there
				return err
			}
			return nil
		}
	}
}

// pace is how often a command that watches looks.
func (c *cli) pace() time.Duration {
	if c.every > 0 {
		return c.every
	}
	return watchEvery
}

// isVerdict says whether an error is about what was shown, and not that nothing could be.
func isVerdict(err error) bool {
	var refused *client.APIError
	var unreachable *client.UnreachableError
	var usage *usageError
	return !errors.As(err, &refused) && !errors.As(err, &unreachable) && !errors.As(err, &usage)
}

// showFrame shows one picture, and what was wrong with it. last is the one before.
func (c *cli) showFrame(out io.Writer, screen *os.File, title string, f *frame, wrong error, last *string) error {
	if c.json {
		if wrong != nil {
			fmt.Fprintf(c.err, "pytasks: %v\n", wrong)
		}
		var line bytes.Buffer
		if json.Compact(&line, f.Bytes()) != nil || line.String() == *last || line.Len() == 0 {
			return nil
		}
		*last = line.String()
		_, err := fmt.Fprintln(out, *last)
		return err
	}
	if wrong != nil {
		fmt.Fprintln(f, c.paint(red, "! "+wrong.Error()))
	}
	text := f.String()
	if screen != nil {
		width, height := sizeOf(screen)
		head := fmt.Sprintf("%s, every %s: %s\n", time.Now().Format(time.TimeOnly), config.ShortDuration(c.pace()), title)
		_, err := io.WriteString(out, picture(c.paint(faint, strings.TrimSpace(head))+"\n"+text, width, height, *last == ""))
		*last = text
		return err
	}
	if text == *last {
		return nil
	}
	if *last != "" {
		text = "\n" + text
	}
	*last = f.String()
	_, err := io.WriteString(out, text)
	return err
}

// picture is what draws a text on a terminal from its upper left corner, over what is there. The first one also takes away
// what was there before. What does not fit is left out.
func picture(text string, width, height int, first bool) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if most := max(height-1, 2); len(lines) > most {
		left := len(lines) - most + 1
		lines = append(lines[:most-1:most-1], fmt.Sprintf("... and %s", counted(left, "more line")))
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	if first {
		b.WriteString("\x1b[2J")
	}
	for _, line := range lines {
		b.WriteString(clip(line, width) + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// compact is JSON on one line.
func compact(raw json.RawMessage) []byte {
	var line bytes.Buffer
	if json.Compact(&line, raw) != nil {
		return bytes.TrimSpace(raw)
	}
	return line.Bytes()
}
