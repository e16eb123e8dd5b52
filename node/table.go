package node

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// table lays out rows of cells in columns for people.
type table struct{ w *tabwriter.Writer }

// newTable begins a table with a heading, or without one.
func newTable(w io.Writer, heading ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(heading) > 0 {
		t.row(heading...)
	}
	return t
}

// row adds a line. An empty cell is shown as a dash, and a line break in one as a blank.
func (t *table) row(cells ...string) {
	for i, cell := range cells {
		if cell = strings.Join(strings.Fields(cell), " "); cell == "" {
			cell = "-"
		}
		cells[i] = cell
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

// flush prints the table.
func (t *table) flush() error { return t.w.Flush() }

// localTime is an RFC 3339 time on this machine's clock, to the second, for people.
func localTime(text string) string {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return text
	}
	return at.Local().Format(time.DateTime)
}

// counted is so many of a thing: 1 task, 2 tasks.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// thousands groups the digits of n: 1,234,567.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
