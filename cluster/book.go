package cluster

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// book is the address book: everything heard about the members, alive or not. memberlist forgets a dead node after half
// a minute, the book does not. Its lock is a leaf: nothing is called while it is held, so memberlist's delegates, which
// run under memberlist's own lock, may use it.
type book struct {
	self string

	mu    sync.RWMutex
	notes map[string]*note // guarded by mu; by node id
}

// note is one member as gossip last told.
type note struct {
	id     string
	gossip string
	meta
	alive bool
	since time.Time // of alive
	heard bool      // by gossip in this run; false = only from peers.json
	out   uint64    // the run that was removed from the cluster; 0 = none
}

// status turns what is known into a Status.
func (n note) status() MemberStatus {
	switch {
	case n.alive && n.flags&flagLeaving == 0:
		return Alive
	case n.flags&flagLeaving != 0:
		return Left
	}
	return Failed
}

func newBook(self string) *book { return &book{self: self, notes: make(map[string]*note)} }

// put records that gossip heard of a node; what it hears late of an earlier run is ignored.
func (b *book) put(id, gossip string, m meta, alive bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.notes[id]
	if n == nil {
		n = &note{id: id}
		b.notes[id] = n
	}
	if m.boot < n.boot {
		return
	}
	if !n.heard || n.alive != alive || n.boot != m.boot {
		n.since = time.Now()
	}
	n.gossip, n.meta, n.alive, n.heard = gossip, m, alive, true
}

// gone records that gossip lost a run of a node, or was told that it left.
func (b *book) gone(id string, boot uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.notes[id]; n != nil && n.alive && n.boot == boot {
		n.alive, n.since = false, time.Now()
	}
}

// remember adds a member known from the last run, until gossip knows better.
func (b *book) remember(p peer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.notes[p.ID] == nil && p.ID != b.self {
		b.notes[p.ID] = &note{id: p.ID, gossip: p.Gossip, meta: meta{name: p.Name, addr: p.Addr}, since: time.Now()}
	}
}

// strike notes that the run of a node that was heard of last was removed from the cluster: gossip may call it alive for
// some time yet.
func (b *book) strike(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.notes[id]; n != nil {
		n.out = n.boot
	}
}

func (b *book) forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.notes, id)
}

// addr returns the address of a node's cluster port.
func (b *book) addr(id string) (string, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	n := b.notes[id]
	if n == nil || n.addr == "" {
		return "", false
	}
	return n.addr, true
}

// all returns copies of all notes, by id.
func (b *book) all() []note {
	b.mu.RLock()
	defer b.mu.RUnlock()
	notes := make([]note, 0, len(b.notes))
	for _, n := range b.notes {
		notes = append(notes, *n)
	}
	slices.SortFunc(notes, func(x, y note) int { return strings.Compare(x.id, y.id) })
	return notes
}
