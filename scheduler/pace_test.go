package scheduler

import (
	"testing"
	"time"
)

func TestPaceAhead(t *testing.T) {
	for name, c := range map[string]struct {
		runs []time.Duration
		want int
	}{
		"not known":            {nil, 0},
		"long":                 {[]time.Duration{time.Second}, 0},
		"just short":           {[]time.Duration{shortTask}, 2},
		"short":                {[]time.Duration{time.Millisecond}, 50},
		"very short":           {[]time.Duration{time.Microsecond}, maxAhead},
		"no time at all":       {[]time.Duration{0}, maxAhead},
		"one long among short": {[]time.Duration{time.Millisecond, time.Millisecond, time.Second}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPace()
			for _, d := range c.runs {
				p.ran("p.f", d)
			}
			if got := p.ahead("p.f"); got != c.want {
				t.Errorf("got %d ahead, want %d", got, c.want)
			}
			if got := p.ahead("p.other"); got != 0 {
				t.Errorf("another type: got %d ahead, want 0", got)
			}
		})
	}
}

// TestPaceForgets: a type that was long becomes short again when its runs are.
func TestPaceForgets(t *testing.T) {
	p := newPace()
	p.ran("p.f", time.Second)
	for range 100 {
		p.ran("p.f", time.Millisecond)
	}
	if got := p.ahead("p.f"); got < 30 {
		t.Errorf("got %d ahead after 100 runs of 1 ms, want about 50", got)
	}
}

func TestPaceSlow(t *testing.T) {
	p := newPace()
	p.ran("p.short", time.Millisecond)
	p.ran("p.long", time.Second)
	if got := p.slow(map[string]int{"p.short": 100, "p.long": 2, "p.new": 3}); got != 5 {
		t.Errorf("got %d slow, want 5: the long and the unknown ones", got)
	}
}
