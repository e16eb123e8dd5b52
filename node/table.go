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

// shortDuration is d without the zeros that time.Duration writes: 24h, 1m30s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
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

// didYouMean proposes the candidate that is nearest to a word that is unknown, as the end of a
// sentence; nothing if none is near.
func didYouMean(word string, candidates []string) string {
	best := nearest(word, candidates)
	if best == "" || !strings.Contains(best, word) && editDistance(word, best) > 1+len(word)/3 {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// nearest is the candidate that takes the fewest changed letters to become word, or ""
// if there is none.
func nearest(word string, candidates []string) string {
	best, fewest := "", -1
	for _, c := range candidates {
		if n := editDistance(word, c); fewest < 0 || n < fewest {
			best, fewest = c, n
		}
	}
	return best
}

// editDistance is Levenshtein's: insertions, deletions and substitutions.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
