package cli

import (
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// table lays out rows of cells in columns for people.
type table struct {
	w       io.Writer
	colours bool
	rows    [][]cell
	widths  []int // of the columns; they do not shrink from one flush to the next
}

type cell struct {
	text  string
	style style
}

// newTable begins a table with a heading, or without one.
func newTable(w io.Writer, heading ...string) *table {
	t := &table{w: w}
	if len(heading) > 0 {
		t.row(heading...)
		for i := range heading {
			t.mark(i, faint)
		}
	}
	return t
}

// row adds a line. An empty cell is shown as a dash, and a line break in one as a blank.
func (t *table) row(texts ...string) {
	var cells []cell
	for _, text := range texts {
		if text = printable(strings.Join(strings.Fields(text), " ")); text == "" {
			text = "-"
		}
		cells = append(cells, cell{text, plain})
	}
	t.rows = append(t.rows, cells)
}

// mark gives a cell of the last row a style, where the table is in colours.
func (t *table) mark(column int, s style) { t.rows[len(t.rows)-1][column].style = s }

// flush prints the rows since the last one. What stands last in its row makes no column wider.
func (t *table) flush() error {
	for _, row := range t.rows {
		for i, cell := range row[:len(row)-1] {
			if i == len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell.text))
		}
	}
	var text strings.Builder
	for _, row := range t.rows {
		for i, cell := range row {
			if t.colours {
				text.WriteString(cell.style.on(cell.text))
			} else {
				text.WriteString(cell.text)
			}
			if i < len(row)-1 {
				text.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell.text)+2))
			}
		}
		text.WriteByte('\n')
	}
	t.rows = nil
	_, err := io.WriteString(t.w, text.String())
	return err
}

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
