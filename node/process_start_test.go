package node

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProcessStartRefused: what an operator got wrong ends the start with status 1 and
// a sentence that says so.
func TestProcessStartRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	first := newProcess(t, "first")
	first.env = nil // no secret
	first.start()
	first.ready()
	listen := func(flag, addr string) []string { return []string{flag, addr} }
	for name, c := range map[string]struct {
		flags []string // win over the node's own
		want  []string // parts of the sentence
	}{
		"name of another node":    {[]string{"--name", "first", "--join", first.gossip}, []string{`"first"`, "choose another"}},
		"data directory in use":   {[]string{"--data-dir", filepath.Join(first.dir, "data")}, []string{"is used by another process", "--data-dir"}},
		"HTTP port taken":         {listen("--http", strings.TrimPrefix(first.http, "http://")), []string{first.http[7:], "address already in use", "--http"}},
		"gossip port taken":       {listen("--gossip", first.gossip), []string{first.gossip, "address already in use"}},
		"cluster port taken":      {listen("--cluster", first.cluster), []string{first.cluster, "address already in use"}},
		"not an address":          {listen("--http", "nonsense"), []string{"--http nonsense is not an address", "host:port"}},
		"not a port":              {listen("--gossip", "127.0.0.1:99999"), []string{`"99999" is not a port`}},
		"join without port":       {[]string{"--join", "127.0.0.1"}, []string{"--join 127.0.0.1 is not an address"}},
		"HTTP for everybody":      {listen("--http", "0.0.0.0:8080"), []string{"not a loopback address", "--http 127.0.0.1:8080"}},
		"gossip for everybody":    {listen("--gossip", ":7946"), []string{"not a loopback address", "--gossip 127.0.0.1:7946"}},
		"cluster for everybody":   {listen("--cluster", "192.0.2.1:7947"), []string{"not a loopback address"}},
		"an even number of votes": {[]string{"--max-voters", "4"}, []string{"--max-voters 4 is even"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t, "second", c.flags...)
			p.env = nil
			p.start()
			if code := p.exit(20 * time.Second); code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			last := tail(p.log(), 1)
			if !strings.HasPrefix(last, "pytasks: ") {
				t.Errorf("the last line is %q, want one that begins with pytasks:", last)
			}
			for _, part := range c.want {
				if !strings.Contains(last, part) {
					t.Errorf("got %q, want %q in it", last, part)
				}
			}
		})
	}
	first.succeeded(first.submit((&sum{number: 1}).body()), 5*time.Second)
}
