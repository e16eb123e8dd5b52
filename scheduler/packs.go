package scheduler

import (
	"strings"

	"pytasks/fsm"
)

// packKeys makes fsm.PackKey without joining the same two texts for every task.
type packKeys map[packKey]string

type packKey struct{ pack, release string }

// maxPackKeys bounds what is kept of them.
const maxPackKeys = 1024

func (p packKeys) key(kind, release string) string {
	if release == "" {
		return fsm.PackOf(kind)
	}
	at := packKey{fsm.PackOf(kind), release}
	key, ok := p[at]
	if !ok {
		if len(p) >= maxPackKeys {
			clear(p)
		}
		key = fsm.PackKey(kind, release)
		p[packKey{strings.Clone(at.pack), strings.Clone(release)}] = key
	}
	return key
}
