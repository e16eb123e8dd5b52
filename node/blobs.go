package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pytasks/cluster/blob"
	"pytasks/fsm"
)

const (
	// lookAtBlobs is how often a node holds what is on its disk against what the state names.
	lookAtBlobs = time.Minute
	// idleLooks is at how many of these looks in a row a blob is of no use before it goes:
	// what is spread is named by the log soon, or never.
	idleLooks = 10
	// lookAtVote is how often a node looks whether it votes by now.
	lookAtVote = time.Second
	// fetchAgain is how soon a blob that a voter did not get is tried again.
	fetchAgain = 5 * time.Second
	// blobPatience bounds one fetch, or one spread, beside the time that its bytes take.
	blobPatience = 10 * time.Second
)

// blobRecords is what the state says of blobs; *fsm.State.
type blobRecords interface {
	EachBlob(f func(digest []byte, size int64)) error
	Packs() []*fsm.Pack
}

// blobs is what is too large for the log, as far as it is on this node: archives of packs,
// arguments and results of tasks. It spreads new ones; if the node votes it fetches what the
// state names; and it alone removes any.
type blobs struct {
	*blob.Mover
	state    blobRecords
	holds    func(blob.Digest) bool      // says what else this node needs
	caught   func(context.Context) error // waits until the state shows what was committed before
	self     string                      // this node's id
	voters   func() []string             // ids of the nodes that vote
	disk     *disk
	log      *slog.Logger
	failures *prometheus.CounterVec // by what failed

	found, bytes atomic.Int64 // on the disk, at the last look

	mu      sync.Mutex
	missing map[blob.Digest]int64 // what the state names and may not be here, with its size; guarded by mu
	held    map[[32]byte]int64    // what a snapshot that is being written has in it; guarded by mu, never changed
	wake    chan struct{}         // capacity 1: something is missing
	reset   chan struct{}         // capacity 1: the state was replaced
}

func newBlobs(store *blob.Store, state blobRecords, self string, disk *disk, log *slog.Logger) *blobs {
	b := &blobs{
		Mover: &blob.Mover{Store: store}, state: state, self: self, disk: disk, log: log.With("component", "blobs"),
		missing: map[blob.Digest]int64{}, wake: make(chan struct{}, 1), reset: make(chan struct{}, 1),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pytasks_blob_failures_total", Help: "Blobs that this node could not fetch, or not spread to a majority, in one try.",
		}, []string{"what"}),
	}
	for _, what := range []string{"fetch", "spread"} {
		b.failures.WithLabelValues(what)
	}
	b.Room = b.room
	return b
}

// room leaves half of the disk's reserve to the log and the state, which a node cannot live
// without.
func (b *blobs) room(size int64) error {
	if b.disk.free.Load()-size < b.disk.floor/2 {
		return fsm.ErrDiskFull
	}
	return nil
}

// transferTime is what is allowed for so many bytes to travel.
func transferTime(size int64) time.Duration { return time.Duration(size>>20) * time.Second / 4 }

func blobDigest(digest []byte) (blob.Digest, error) {
	if len(digest) != len(blob.Digest{}) {
		return blob.Digest{}, fmt.Errorf("a digest of %d bytes, want %d", len(digest), len(blob.Digest{}))
	}
	return blob.Digest(digest), nil
}

// spread brings a blob of this node onto the disks of a majority. fsm.ErrNoLeader: it could
// not, and nothing may name it.
func (b *blobs) spread(ctx context.Context, d blob.Digest, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, blobPatience+transferTime(size))
	defer cancel()
	var others []string
	for _, id := range b.voters() {
		if id != b.self {
			others = append(others, id)
		}
	}
	err := b.Spread(ctx, d, size, others, b.majority)
	if err == nil {
		return nil
	}
	b.failures.WithLabelValues("spread").Inc()
	b.log.Warn("blob not spread", "blob", d, "bytes", size, "err", err)
	if errors.Is(err, fsm.ErrDiskFull) {
		return fsm.ErrDiskFull
	}
	return fsm.ErrNoLeader
}

// majority says whether a majority of the nodes that vote has a blob that this node and those have.
func (b *blobs) majority(have []string) bool {
	voters, n := b.voters(), 0
	for _, v := range voters {
		if v == b.self {
			n++
		}
		for _, id := range have {
			if v == id {
				n++
			}
		}
	}
	return n > len(voters)/2
}

// votes says whether every blob that the state names has to be here.
func (b *blobs) votes() bool {
	for _, id := range b.voters() {
		if id == b.self {
			return true
		}
	}
	return false
}

// observe follows what the log names. It does not wait.
func (b *blobs) observe(c fsm.Changes) {
	for _, ch := range c.Tasks {
		t := ch.New
		if t.ArgsBlob != nil && ch.Old == nil {
			b.want(t.ArgsBlob)
		}
		if t.ResultBlob != nil {
			b.want(t.ResultBlob)
		}
	}
	if c.Reset {
		poke(b.reset)
	}
}

func (b *blobs) want(named *fsm.Blob) {
	d, err := blobDigest(named.Digest)
	if err != nil {
		return // the state takes none
	}
	b.mu.Lock()
	b.missing[d] = named.Size
	b.mu.Unlock()
	poke(b.wake)
}

// Run keeps this node's blobs as the state needs them, until ctx ends.
func (b *blobs) Run(ctx context.Context) {
	look, vote, again := time.NewTicker(lookAtBlobs), time.NewTicker(lookAtVote), time.NewTimer(lookAtBlobs)
	defer look.Stop()
	defer vote.Stop()
	defer again.Stop()
	b.look(ctx)
	voted := false
	for {
		select {
		case <-b.wake:
			if !b.fetchMissing(ctx) {
				again.Reset(fetchAgain)
			}
		case <-again.C:
			b.compare()
		case <-b.reset:
			b.compare()
		case <-vote.C:
			before := voted
			if voted = b.votes(); voted && !before {
				b.compare()
			}
		case <-look.C:
			b.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// fetchMissing fetches what a voter lacks, one blob after the other, and says whether it has
// all of it now.
func (b *blobs) fetchMissing(ctx context.Context) (all bool) {
	b.mu.Lock()
	missing := b.missing
	b.missing = map[blob.Digest]int64{}
	b.mu.Unlock()
	if !b.votes() {
		return true // should it become one, it compares everything
	}
	var last error
	failed := 0
	for d, size := range missing {
		if b.Store.Has(d) || ctx.Err() != nil {
			continue
		}
		if err := b.fetch(ctx, d, size); err != nil {
			failed, last = failed+1, err
		}
	}
	if failed > 0 {
		b.log.Warn("blobs not fetched", "blobs", failed, "again", fetchAgain, "err", last)
	}
	return failed == 0
}

func (b *blobs) fetch(ctx context.Context, d blob.Digest, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, blobPatience+transferTime(size))
	defer cancel()
	err := b.Fetch(ctx, d, size)
	if err != nil {
		b.failures.WithLabelValues("fetch").Inc()
	}
	return err
}

// named returns what the state names, with the sizes.
func (b *blobs) named() (map[blob.Digest]int64, error) {
	named := map[blob.Digest]int64{}
	err := b.state.EachBlob(func(digest []byte, size int64) { named[blob.Digest(digest)] = size })
	return named, err
}

// compare has what the state names of tasks and is not here fetched. It returns both; nil where
// that is not known.
func (b *blobs) compare() (named, here map[blob.Digest]int64) {
	named, err := b.named()
	if err == nil {
		here, err = b.Store.List()
	}
	if err != nil {
		b.log.Warn("blobs not looked at", "err", err)
		return nil, nil
	}
	missing := map[blob.Digest]int64{}
	for d, size := range named {
		if _, ok := here[d]; !ok {
			missing[d] = size
		}
	}
	if len(missing) > 0 {
		b.mu.Lock()
		maps.Copy(b.missing, missing)
		b.mu.Unlock()
		poke(b.wake)
	}
	return named, here
}

// look removes what nothing has needed for long, and has fetched what is missing. What looks as if
// nothing named it here may be named by what this node has not heard of yet: so before anything
// goes it catches up, and looks again.
func (b *blobs) look(ctx context.Context) {
	named, here := b.compare()
	if here == nil {
		return
	}
	bytes := int64(0)
	for _, size := range here {
		bytes += size
	}
	b.found.Store(int64(len(here)))
	b.bytes.Store(bytes)
	idle := b.Store.Idle(here, b.needed(named), idleLooks)
	if len(idle) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, blobPatience)
	defer cancel()
	err := b.caught(ctx)
	if err == nil {
		named, err = b.named()
	}
	if err != nil {
		b.log.Debug("nothing collected", "idle", len(idle), "err", err)
		return
	}
	needed, removed := b.needed(named), 0
	for _, d := range idle {
		if needed(d) {
			continue
		}
		gone, err := b.Store.RemoveIdle(d)
		if err != nil {
			b.log.Warn("blob not removed", "blob", d, "err", err)
		}
		if gone {
			removed++
		}
	}
	b.log.Debug("blobs collected", "blobs", removed)
}

// needed returns what says whether a blob has to stay: tasks, packs and what this node is about
// need it.
func (b *blobs) needed(named map[blob.Digest]int64) func(blob.Digest) bool {
	packs := map[blob.Digest]bool{}
	for _, p := range b.state.Packs() {
		for _, r := range p.Releases {
			if d, err := blobDigest(r.Digest); err == nil {
				packs[d] = true
			}
		}
	}
	return func(d blob.Digest) bool {
		_, ok := named[d]
		return ok || packs[d] || b.holds(d) || b.isHeld(d)
	}
}
