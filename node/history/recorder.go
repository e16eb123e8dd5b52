package history

import (
	"slices"
	"sync"
	"time"
)

// Recorder gathers a history. It is safe for concurrent use.
type Recorder struct {
	now   func() time.Time
	start time.Time

	mu     sync.Mutex
	ops    []Op    // guarded by mu
	events []Event // guarded by mu
}

// NewRecorder returns a recorder that starts now, by the given clock. The clock is to be
// that of the journals too.
func NewRecorder(now func() time.Time) *Recorder {
	return &Recorder{now: now, start: now()}
}

// Now returns the nanoseconds since the recorder's start.
func (r *Recorder) Now() int64 { return int64(r.now().Sub(r.start)) }

// Add records an operation that is over.
func (r *Recorder) Add(op Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

// Note records what is done to the cluster, or to one node of it, now. A harness that ends
// a node's process notes that as Down, after the process has ended and before it starts
// again.
func (r *Recorder) Note(kind, node string) {
	at := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, Event{At: at, Kind: kind, Node: node})
}

// History returns what has been recorded so far, in the order in which it ended.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &History{Start: r.start.UnixNano(), Ops: slices.Clone(r.ops), Events: slices.Clone(r.events)}
}
