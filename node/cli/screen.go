package cli

import (
	"bytes"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"pytasks/httpapi"
)

// style is how a text looks on a terminal: the parameters of the escape sequence SGR, "" for as it is.
type style string

const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// on is the text in that style.
func (s style) on(text string) string {
	if s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// statusStyle is that of the status of a task or a node, whatever else stands behind it.
func statusStyle(status string) style {
	word, _, _ := strings.Cut(status, ",")
	word, _, _ = strings.Cut(word, " ")
	switch {
	case word == "SUCCESS" || status == "alive" || word == httpapi.PackReady:
		return green
	case word == "FAILURE" || word == "failed":
		return red
	case word == "STARTED" || word == "RETRY" || word == "alive" || word == httpapi.PackPreparing: // alive, but something
		return yellow
	case word == "REVOKED" || word == "left":
		return faint
	}
	return plain
}

// frame is one picture of a screen that is drawn again and again.
type frame struct {
	bytes.Buffer
	screen *os.File // that it is for; nil = it is no terminal
}

// terminalOf returns the terminal behind a writer, nil if it is none.
func terminalOf(w io.Writer) *os.File {
	switch w := w.(type) {
	case *frame:
		return w.screen
	case *os.File:
		if term.IsTerminal(int(w.Fd())) {
			return w
		}
	}
	return nil
}

// sizeOf returns how many columns and lines a terminal has.
func sizeOf(screen *os.File) (width, height int) {
	width, height, err := term.GetSize(int(screen.Fd()))
	if err != nil || width < 1 || height < 1 {
		return 80, 24
	}
	return width, height
}

// moves says whether a terminal can do more than print line after line.
func (c *cli) moves() bool {
	kind := c.getenv("TERM")
	return kind != "" && kind != "dumb"
}

// colours says whether what goes to w may be in colours: https://no-color.org.
func (c *cli) colours(w io.Writer) bool {
	return terminalOf(w) != nil && c.moves() && c.getenv("NO_COLOR") == ""
}

// paint is a text for standard output, in a style if it may be.
func (c *cli) paint(s style, text string) string {
	if !c.colours(c.out) {
		return text
	}
	return s.on(text)
}

// table begins a table on standard output, in colours if they may be.
func (c *cli) table(heading ...string) *table {
	t := newTable(c.out, heading...)
	t.colours = c.colours(c.out)
	return t
}

// printable is a text without what would move a terminal's cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, text)
}

// clip cuts a line to a number of columns. Escape sequences take none, and none is left open.
func clip(line string, width int) string {
	columns, escaped := 0, false
	for i, r := range line {
		switch {
		case r == '\x1b':
			escaped = true
		case escaped:
			escaped = r != 'm'
		case columns == width:
			return line[:i] + "\x1b[0m"
		default:
			columns++
		}
	}
	return line
}
