//go:build linux

package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// times are what was measured, by what it is.
type times map[string]*measure

// measure is how long one thing took, each time.
type measure struct {
	limit time.Duration
	all   []time.Duration
}

func (ts times) add(what string, d, limit time.Duration) {
	if ts[what] == nil {
		ts[what] = &measure{limit: limit}
	}
	ts[what].all = append(ts[what].all, d)
}

// merge adds what another run measured.
func (ts times) merge(other times) {
	for what, m := range other {
		for _, d := range m.all {
			ts.add(what, d, m.limit)
		}
	}
}

// quantile returns the smallest time that so large a share kept.
func (m *measure) quantile(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(m.all))
	i := int(share*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)].Round(10 * time.Millisecond)
}

func (m *measure) median() time.Duration { return m.quantile(0.5) }
func (m *measure) high() time.Duration   { return m.quantile(0.95) }

func (ts times) String() string {
	var lines []string
	for _, what := range slices.Sorted(maps.Keys(ts)) {
		m := ts[what]
		lines = append(lines, fmt.Sprintf("%s: %s / %s of %s (%d)", what, m.median(), m.high(), m.limit, len(m.all)))
	}
	return strings.Join(lines, "; ")
}
