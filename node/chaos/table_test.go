//go:build linux

package chaos

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// table is what the matrix found so far.
type table struct {
	mu      sync.Mutex
	started time.Time
	lines   []*line // guarded by mu; in the order of the rows
}

// line is all runs of one fault on clusters of one size.
type line struct {
	fault  string
	size   int
	runs   int
	failed int // of the runs
	tasks  int
	rate   float64 // the lowest, of acknowledged tasks a second
	bad    int     // violations
	times  times
}

func newTable() *table { return &table{started: time.Now()} }

// add adds a run that is over, and writes the table, so that one that is cut off is there too.
func (tb *table) add(r *run, size int) error {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	var l *line
	for _, old := range tb.lines {
		if old.fault == r.row.name && old.size == size {
			l = old
		}
	}
	if l == nil {
		l = &line{fault: r.row.name, size: size, times: times{}}
		tb.lines = append(tb.lines, l)
	}
	l.runs++
	if r.Failed() {
		l.failed++
	}
	if r.report != nil {
		l.tasks += r.report.Acked
		l.bad += len(r.report.Violations)
		if rate := r.rate(); l.rate == 0 || rate < l.rate {
			l.rate = rate
		}
	}
	l.times.merge(r.took)
	if flags.table == "" {
		return nil
	}
	return os.WriteFile(tablePath(flags.table), []byte(tb.String()), 0o644)
}

// String returns the table as Markdown.
func (tb *table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- written by make chaos on %s -->\n\n", tb.started.UTC().Format("2006-01-02 15:04 MST"))
	b.WriteString("| fault | nodes | runs | failed | violations | tasks | tasks/s | measured: median / p95 of limit (times) |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|---|\n")
	for _, l := range tb.lines {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %.0f | %s |\n",
			l.fault, l.size, l.runs, l.failed, l.bad, l.tasks, l.rate, cmp.Or(l.times.String(), "-"))
	}
	return b.String()
}

// tablePath makes the flag's path one from the module's root, where make runs.
func tablePath(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join("..", "..", path)
}
