package scheduler

import (
	"strings"

	"pytasks/fsm"
)

// packKeys makes fsm.WaitKey without joining the same texts for every task.
type packKeys map[packKey]string

type packKey struct{ pack, release, where string }

// maxPackKeys bounds what is kept of them.
const maxPackKeys = 1024

func (p packKeys) key(kind, release, where string) string {
	if release == "" && where == "" {
		return fsm.PackOf(kind)
	}
	at := packKey{fsm.PackOf(kind), release, where}
	key, ok := p[at]
	if !ok {
		if len(p) >= maxPackKeys {
			clear(p)
		}
		key = fsm.WaitKey(kind, release, where)
		p[packKey{strings.Clone(at.pack), strings.Clone(release), strings.Clone(where)}] = key
	}
	return key
}
