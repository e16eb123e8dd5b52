package scheduler

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"pytasks/fsm"
)

// maxProgressText bounds what is kept of the text of a progress, in bytes.
const maxProgressText = 256

// progress is how far what runs is, as the nodes say in their heartbeats. It is only in
// this leader's memory: a new one knows as much after the next heartbeats.
type progress struct {
	mu     sync.Mutex
	byNode map[uint32]map[fsm.Key]attemptProgress // of the last heartbeat; guarded by mu
}

type attemptProgress struct {
	attempt uint32
	*fsm.Progress
}

func newProgress() *progress { return &progress{byNode: map[uint32]map[fsm.Key]attemptProgress{}} }

// heard takes what a heartbeat says in the place of what the last one said.
func (p *progress) heard(node uint32, told []*fsm.TaskProgress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(told) == 0 {
		delete(p.byNode, node)
		return
	}
	tasks := make(map[fsm.Key]attemptProgress, len(told))
	for _, t := range told {
		if len(t.Key) == len(fsm.Key{}) {
			tasks[fsm.Key(t.Key)] = attemptProgress{t.Attempt, &fsm.Progress{Fraction: fraction(t.Fraction), Text: clip(t.Text)}}
		}
	}
	p.byNode[node] = tasks
}

// of returns the progress of an attempt that runs at a node, nil if none was told.
func (p *progress) of(node uint32, key fsm.Key, attempt uint32) *fsm.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := p.byNode[node][key]; ok && t.attempt == attempt {
		return t.Progress
	}
	return nil
}

// drop forgets what nodes told that are not up any more.
func (p *progress) drop(nodes []*fsm.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.byNode, func(number uint32, _ map[fsm.Key]attemptProgress) bool {
		return !slices.ContainsFunc(nodes, func(n *fsm.Node) bool { return n.Number == number && !n.Down })
	})
}

// fraction makes a number one from 0 to 1.
func fraction(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return min(max(f, 0), 1)
}

// clip returns the first bytes of a text, whole runes.
func clip(s string) string {
	if len(s) > maxProgressText {
		n := maxProgressText
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Clone(s) // not the memory of the heartbeat
}
