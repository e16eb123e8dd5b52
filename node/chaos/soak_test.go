//go:build linux

package chaos

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"pytasks/node/history"
)

const (
	lap = time.Minute
	// What nodes hold is sampled so often, between laps, when they have nothing to do.
	samplesOfLap = 5
	sampleEach   = 500 * time.Millisecond
)

// TestSoak keeps a cluster busy for long, with short cuts of its network, and looks at what its nodes hold of the
// machine: memory, goroutines and descriptors stay flat. What finished is forgotten after some time, so that the state is
// as large at the end as in the middle; the history of every lap is checked.
func TestSoak(t *testing.T) {
	if flags.soak == 0 {
		t.Skip("it takes 20 minutes: make soak")
	}
	needsRoot(t)
	c := newCluster(t, program(t, false), t.TempDir(), 3, "--max-finished", "15000")
	c.all.start()
	var samples []sample // of all nodes together: a leader holds more than the others, and there may be another one
	start := time.Now()
	for number := 1; time.Since(start) < flags.soak; number++ {
		c.lap(t, number)
		for range samplesOfLap {
			time.Sleep(sampleEach)
			all := sample{at: time.Since(start)}
			for _, n := range c.all {
				u, err := n.use()
				check(t, err)
				all.anonymous += u.anonymous
				all.goroutines += u.goroutines
				all.descriptors += u.descriptors
			}
			samples = append(samples, all)
		}
	}
	settled := samples[len(samples)/4:] // the first quarter fills caches and the state
	for what, m := range map[string]struct {
		value func(use) float64
		slack float64 // growth that means nothing, however little there is
	}{
		"bytes of memory": {func(u use) float64 { return float64(u.anonymous) }, 32 << 20},
		"goroutines":      {func(u use) float64 { return float64(u.goroutines) }, 15},
		"descriptors":     {func(u use) float64 { return float64(u.descriptors) }, 10},
	} {
		mean, growth := trend(settled, m.value)
		t.Logf("three nodes hold %.0f %s, growing by %.0f in %s", mean, what, growth, settled[len(settled)-1].at-settled[0].at)
		if limit := max(m.slack, mean/10); growth > limit {
			t.Errorf("%s: the nodes' %.0f grow by %.0f, want %.0f at most", what, mean, growth, limit)
		}
	}
}

// lap runs a workload for a minute, cuts a node off for a moment, and checks the history. Its clients are gone then.
func (c *cluster) lap(t *testing.T, number int) {
	t.Helper()
	transport := &http.Transport{DialContext: c.dial, MaxIdleConnsPerHost: 32, DisableCompression: true}
	defer transport.CloseIdleConnections()
	recorder := history.NewRecorder(time.Now)
	cfg := history.Config{
		Name: fmt.Sprintf("lap%d", number), Recorder: recorder, Seed: uint64(number), Rate: 15, For: lap, SettleIn: 3 * time.Minute,
		Transport: func(int) http.RoundTripper { return byAddress{transport} },
	}
	for _, n := range c.all {
		cfg.Nodes = append(cfg.Nodes, history.Node{Name: n.name, URL: "http://" + n.name + ":8080"})
	}
	load, err := history.NewWorkload(cfg)
	check(t, err)
	loaded := make(chan struct{})
	go func() {
		load.Run(context.Background())
		close(loaded)
	}()
	time.Sleep(lap / 2)
	check(t, c.network.split(c.all[number%len(c.all)].host))
	time.Sleep(3 * time.Second)
	check(t, c.network.heal())
	<-loaded
	c.all.whole(healIn)
	check(t, load.Settle(context.Background()))
	var journals []string
	for _, n := range c.all {
		journals = append(journals, n.journal())
	}
	entries, err := history.ReadJournal(journals...)
	check(t, err)
	report := history.Check(recorder.History(), entries, history.Options{Faults: 1})
	t.Logf("lap %d:\n%s", number, report)
	for _, v := range report.Violations {
		t.Errorf("lap %d: %s", number, v)
	}
}

// sample is what a node held at a time.
type sample struct {
	at time.Duration
	use
}

// trend returns the mean of a value, and by how much the line that fits its samples best grows from first to last.
func trend(samples []sample, value func(use) float64) (mean, growth float64) {
	var meanAt float64
	count := float64(len(samples))
	for _, s := range samples {
		meanAt += s.at.Seconds() / count
		mean += value(s.use) / count
	}
	var above, below float64
	for _, s := range samples {
		d := s.at.Seconds() - meanAt
		above += d * (value(s.use) - mean)
		below += d * d
	}
	if below == 0 {
		return mean, 0
	}
	lasted := samples[len(samples)-1].at - samples[0].at
	return mean, above / below * lasted.Seconds()
}

// TestTrend: the trend of what grows by 2 a second is found under noise, and that of noise alone is about none.
func TestTrend(t *testing.T) {
	var growing, flat []sample
	for i := range 101 {
		noise := i * 7919 % 13
		at := time.Duration(i) * time.Second
		growing = append(growing, sample{at, use{goroutines: 100 + 2*i + noise}})
		flat = append(flat, sample{at, use{goroutines: 100 + noise}})
	}
	value := func(u use) float64 { return float64(u.goroutines) }
	if mean, growth := trend(growing, value); mean < 200 || mean > 213 || growth < 195 || growth > 205 {
		t.Errorf("growing: got mean %.1f and growth %.1f, want about 206 and 200", mean, growth)
	}
	if _, growth := trend(flat, value); growth < -5 || growth > 5 {
		t.Errorf("flat: got growth %.1f, want about none", growth)
	}
}
