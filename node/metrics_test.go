package node

import (
	"bytes"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/httpapi"
)

// gathered returns the values of gauges and counters, by name and labels.
func gathered(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range all {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			if out[name] = m.GetGauge().GetValue(); m.Counter != nil {
				out[name] = m.Counter.GetValue()
			}
		}
	}
	return out
}

// TestPackMetrics: releases by how far they are, and the processes of a pack, whose label goes with it.
func TestPackMetrics(t *testing.T) {
	r := newPackRoom(t)
	registry := prometheus.NewRegistry()
	registry.MustRegister(&packCollector{r.installer.packs})
	v, err := r.Install(t.Context(), httpapi.PackSource{Archive: bytes.NewReader(archiveOf(t, "hello", "1.0", "a"))})
	if err != nil {
		t.Fatal(err)
	}
	r.ready("hello.main.a", v.Release)
	if got := gathered(t, registry); got["pytasks_node_packs ready"] != 1 || got["pytasks_node_packs failed"] != 0 || len(got) != 4 {
		t.Errorf("a pack without processes: got %v", got)
	}
	p := r.installer.packs
	p.mu.Lock()
	p.releases["hello@"+v.Release].opened.Workers = func() (int, int) { return 3, 1 }
	p.mu.Unlock()
	if got := gathered(t, registry); got["pytasks_node_workers hello idle"] != 3 || got["pytasks_node_workers hello busy"] != 1 {
		t.Errorf("four processes: got %v", got)
	}
	if err := r.Remove(t.Context(), "hello", "", false); err != nil {
		t.Fatal(err)
	}
	r.empty()
	if got := gathered(t, registry); got["pytasks_node_packs ready"] != 0 || len(got) != 4 {
		t.Errorf("a removed pack: got %v", got)
	}
}

func TestTotalSpace(t *testing.T) {
	dir := t.TempDir()
	free, err := freeSpace(dir)
	if total := totalSpace(dir); err != nil || total < free || total == 0 {
		t.Errorf("the disk has %d bytes, %d of them free, %v", total, free, err)
	}
	if total := totalSpace(dir + "/none"); total != 0 {
		t.Errorf("a folder that is not there has a disk of %d bytes", total)
	}
}
