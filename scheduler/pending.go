package scheduler

import "pytasks/fsm"

// fetch is how many pending tasks are read at a time.
const fetch = 128

// pending walks the pending tasks in the order in which they are to be assigned.
type pending struct {
	state   State
	board   *board
	flight  *flight
	sources []*source
}

// source is the pending tasks of one pack and priority.
type source struct {
	pack     string // fsm.WaitKey
	priority uint8
	ready    []fsm.Ready // read and not yet taken
	last     uint64      // order of the last one read
	more     bool        // there may be more to read
}

func newPending(s State, b *board, f *flight) *pending {
	p := &pending{state: s, board: b, flight: f}
	for pack, n := range b.pending {
		if n <= 0 {
			continue
		}
		for priority := range fsm.MaxPriority + 1 {
			p.sources = append(p.sources, &source{pack: pack, priority: uint8(priority), more: true})
		}
	}
	return p
}

// next returns the task to assign next: the first in the queue of the highest
// priority, or the oldest of all. Tasks that no node has room for are passed over
// with all behind them. ok is false when nothing can be assigned.
func (p *pending) next(oldest bool) (r fsm.Ready, ok bool) {
	for {
		var best *source
		for _, s := range p.sources {
			if len(s.ready) == 0 && s.more {
				p.read(s)
			}
			if len(s.ready) > 0 && (best == nil || s.before(best, oldest)) {
				best = s
			}
		}
		if best == nil {
			return fsm.Ready{}, false
		}
		r = best.ready[0]
		if !p.board.room(r.Pack, r.Type) {
			best.ready, best.more = nil, false
			continue
		}
		best.ready = best.ready[1:]
		return r, true
	}
}

func (s *source) before(o *source, oldest bool) bool {
	if s.priority != o.priority && !oldest {
		return s.priority > o.priority
	}
	return s.ready[0].Order < o.ready[0].Order
}

func (p *pending) read(s *source) {
	s.more = false
	p.state.Pending(s.pack, s.priority, s.last, func(r fsm.Ready) bool {
		s.last = r.Order
		if p.flight.has(r.Key) {
			return true
		}
		s.ready = append(s.ready, r)
		s.more = len(s.ready) == fetch
		return !s.more
	})
}
