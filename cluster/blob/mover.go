package blob

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	methodRead = "blob.read" // digest, offset -> bytes from there, at any node
	methodKeep = "blob.keep" // digest, size -> nothing, when the node has fetched it from the caller

	// chunk is how many bytes travel in one call.
	chunk = 1 << 20
	// spreadTimeout bounds what is left of a Spread when enough have the blob.
	spreadTimeout = time.Minute
)

// Handler answers a call of another node.
type Handler = func(ctx context.Context, from string, body []byte) ([]byte, error)

// Mover brings blobs from node to node.
type Mover struct {
	Store *Store
	// Call runs a method on the node of that id.
	Call func(ctx context.Context, id, method string, body []byte) ([]byte, error)
	// Others returns the ids of the nodes to ask, those most likely to have a blob first.
	Others func() []string
	// Room says why a blob of so many bytes may not be fetched, nil if it may. A nil Room has
	// room for all.
	Room func(size int64) error

	mu       sync.Mutex
	fetching map[Digest]*fetch // guarded by mu
}

// fetch is a blob on its way to this node; those who want it wait for done.
type fetch struct {
	done chan struct{}
	err  error // set before done is closed
}

// Handlers returns the methods that the other nodes' movers call.
func (m *Mover) Handlers() map[string]Handler {
	return map[string]Handler{methodRead: m.handleRead, methodKeep: m.handleKeep}
}

// Fetch sees to it that this node holds a blob of so many bytes: it asks one node after the
// other. Bytes of another digest are refused, whoever sent them. The error is that of every
// node, or ctx's.
func (m *Mover) Fetch(ctx context.Context, d Digest, size int64) error {
	return m.fetch(ctx, d, size, m.Others)
}

func (m *Mover) fetch(ctx context.Context, d Digest, size int64, from func() []string) error {
	for !m.Store.Has(d) {
		m.mu.Lock()
		f := m.fetching[d]
		if f == nil {
			if m.fetching == nil {
				m.fetching = map[Digest]*fetch{}
			}
			f = &fetch{done: make(chan struct{})}
			m.fetching[d] = f
			m.mu.Unlock()
			if !m.Store.Has(d) { // else another fetch has just ended
				f.err = m.fetchFromAny(ctx, d, size, from())
			}
			m.mu.Lock()
			delete(m.fetching, d)
			m.mu.Unlock()
			close(f.done)
			return f.err
		}
		m.mu.Unlock()
		select {
		case <-f.done: // another caller's: its context, and its luck, may not be ours
		case <-ctx.Done():
			return fmt.Errorf("fetch blob %s: %w", d, context.Cause(ctx))
		}
	}
	return nil
}

// Open returns the bytes of a blob, all of them verified, wherever they are: what this node
// lacks, or finds damaged, it fetches.
func (m *Mover) Open(ctx context.Context, d Digest, size int64) (*os.File, error) {
	for tries := 1; ; tries++ {
		if err := m.Fetch(ctx, d, size); err != nil {
			return nil, err
		}
		f, err := m.Store.Open(d)
		again := errors.Is(err, ErrDigest) || errors.Is(err, fs.ErrNotExist)
		if !again || tries == 3 {
			return f, err
		}
	}
}

func (m *Mover) fetchFromAny(ctx context.Context, d Digest, size int64, ids []string) error {
	if m.Room != nil {
		if err := m.Room(size); err != nil {
			return fmt.Errorf("fetch blob %s: %w", d, err)
		}
	}
	errs := []error{fmt.Errorf("fetch blob %s: no other node has it, or none is reached", d)}
	for _, id := range ids {
		err := m.fetchFrom(ctx, d, size, id)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("from node %s: %w", id, err))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (m *Mover) fetchFrom(ctx context.Context, d Digest, size int64, id string) error {
	w, err := m.Store.create(size)
	if err != nil {
		return err
	}
	defer w.discard()
	for w.size < size {
		got, err := m.Call(ctx, id, methodRead, binary.BigEndian.AppendUint64(d[:len(d):len(d)], uint64(w.size)))
		if err != nil {
			return err
		}
		if len(got) == 0 {
			return fmt.Errorf("it ends after %d of %d bytes: %w", w.size, size, io.ErrUnexpectedEOF)
		}
		if _, err := w.Write(got); err != nil {
			return err
		}
	}
	return w.keep(d)
}

// Spread has other nodes fetch a blob from this one, and returns as soon as enough says
// that the nodes that hold it durably, this one not among them, are enough; the rest goes on.
// When all have been asked and it never said so, Spread returns their errors.
func (m *Mover) Spread(ctx context.Context, d Digest, size int64, ids []string, enough func(have []string) bool) error {
	if !m.Store.touch(d) {
		return fmt.Errorf("spread blob %s: %w", d, fs.ErrNotExist)
	}
	if enough(nil) {
		return nil
	}
	type answer struct {
		id  string
		err error
	}
	answers := make(chan answer, len(ids))
	calls, stop := context.WithTimeout(context.WithoutCancel(ctx), spreadTimeout)
	var asked sync.WaitGroup
	body := binary.BigEndian.AppendUint64(d[:len(d):len(d)], uint64(size))
	for _, id := range ids {
		asked.Go(func() { // ends with calls, or the connection, at the latest
			_, err := m.Call(calls, id, methodKeep, body)
			answers <- answer{id, err}
		})
	}
	go func() { asked.Wait(); stop() }()
	var have []string
	errs := []error{fmt.Errorf("blob %s is not on the disks of a majority of the nodes that vote", d)}
	for range ids {
		var a answer
		select {
		case a = <-answers:
		case <-ctx.Done():
			stop()
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
		if a.err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", a.id, a.err))
			continue
		}
		if have = append(have, a.id); enough(have) {
			return nil
		}
	}
	return errors.Join(errs...)
}

func (m *Mover) handleRead(_ context.Context, _ string, body []byte) ([]byte, error) {
	d, offset, err := request(body)
	if err != nil {
		return nil, err
	}
	f, err := m.Store.open(d) // the caller verifies
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, chunk)
	n, err := f.ReadAt(buf, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read blob: %w", err)
	}
	return buf[:n], nil
}

func (m *Mover) handleKeep(ctx context.Context, from string, body []byte) ([]byte, error) {
	d, size, err := request(body)
	if err != nil {
		return nil, err
	}
	if m.Store.touch(d) {
		if err := m.Store.verify(d); err == nil {
			return nil, nil
		}
	}
	return nil, m.fetch(ctx, d, size, func() []string { return []string{from} })
}

// request reads a digest and a number.
func request(body []byte) (Digest, int64, error) {
	n := len(Digest{})
	if len(body) != n+8 {
		return Digest{}, 0, fmt.Errorf("a request for a blob of %d bytes, want %d", len(body), n+8)
	}
	number := binary.BigEndian.Uint64(body[n:])
	if number > 1<<40 {
		return Digest{}, 0, fmt.Errorf("a request for byte %d of a blob", number)
	}
	return Digest(body[:n]), int64(number), nil
}
