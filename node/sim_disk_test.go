package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"pytasks/cluster"
)

// simFree is the free space of a simulated disk without a fault, in bytes.
const simFree = 10 << 30

// simDisk keeps the raft log of one simulated machine across the starts of its node, as a
// disk that is synced after every write. Its faults stand before its contents.
type simDisk struct {
	mu       sync.Mutex
	changed  sync.Cond     // a fault or the process
	contents *simContents  // guarded by mu
	user     *simLog       // of the running process; guarded by mu
	full     bool          // guarded by mu
	free     int64         // bytes, as the file system tells; guarded by mu
	hung     bool          // guarded by mu
	latency  time.Duration // of a write; guarded by mu
	hits     int           // operations that a fault touched; guarded by mu
}

// simContents is what is on a disk. Entries in it are not changed.
type simContents struct {
	entries     map[uint64]*raft.Log
	first, last uint64 // 0 = empty
	values      map[string][]byte
}

func newSimDisk() *simDisk {
	d := &simDisk{contents: &simContents{entries: map[uint64]*raft.Log{}, values: map[string][]byte{}}, free: simFree}
	d.changed.L = &d.mu
	return d
}

// set changes the disk's faults.
func (d *simDisk) set(change func(*simDisk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
	d.changed.Broadcast()
}

// space is what the file system says is free.
func (d *simDisk) space(string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free, nil
}

// open opens the log for a new process.
func (d *simDisk) open() (cluster.LogStore, error) {
	l := &simLog{disk: d}
	d.set(func(d *simDisk) { l.contents, d.user = d.contents, l })
	return l, nil
}

// kill takes the disk from the running process, with what it has written. What is left
// of the process goes on with a copy: raft panics where its disk fails.
func (d *simDisk) kill() {
	d.set(func(d *simDisk) {
		if d.user == nil {
			return
		}
		d.user.contents = &simContents{maps.Clone(d.contents.entries), d.contents.first, d.contents.last, maps.Clone(d.contents.values)}
		d.user = nil
	})
}

// simLog is the disk as one process sees it.
type simLog struct {
	disk     *simDisk
	contents *simContents // guarded by disk.mu
}

var _ cluster.LogStore = (*simLog)(nil)

// do runs f on the disk's contents, when it lets it.
func (l *simLog) do(f func(c *simContents) error) error {
	d := l.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hung {
		d.hits++
	}
	for d.hung && d.user == l {
		d.changed.Wait()
	}
	return f(l.contents)
}

// write is do for what takes time.
func (l *simLog) write(f func(c *simContents)) error {
	l.disk.mu.Lock()
	latency := l.disk.latency
	l.disk.mu.Unlock()
	time.Sleep(latency)
	return l.do(func(c *simContents) error { f(c); return nil })
}

// FirstIndex implements raft.LogStore, as do the methods below.
func (l *simLog) FirstIndex() (index uint64, err error) {
	err = l.do(func(c *simContents) error { index = c.first; return nil })
	return index, err
}

func (l *simLog) LastIndex() (index uint64, err error) {
	err = l.do(func(c *simContents) error { index = c.last; return nil })
	return index, err
}

func (l *simLog) GetLog(index uint64, out *raft.Log) error {
	return l.do(func(c *simContents) error {
		entry, ok := c.entries[index]
		if !ok {
			return raft.ErrLogNotFound
		}
		*out = *entry
		return nil
	})
}

func (l *simLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

func (l *simLog) StoreLogs(entries []*raft.Log) error {
	if err := l.room(); err != nil {
		return err
	}
	return l.write(func(c *simContents) {
		for _, entry := range entries {
			kept := *entry
			kept.Data, kept.Extensions = slices.Clone(entry.Data), slices.Clone(entry.Extensions)
			c.entries[entry.Index] = &kept
			if c.first == 0 || entry.Index < c.first {
				c.first = entry.Index
			}
			c.last = max(c.last, entry.Index)
		}
	})
}

func (l *simLog) DeleteRange(first, last uint64) error {
	return l.write(func(c *simContents) {
		for i := first; i <= last; i++ {
			delete(c.entries, i)
		}
		c.first, c.last = 0, 0
		if len(c.entries) > 0 {
			indexes := slices.Collect(maps.Keys(c.entries))
			c.first, c.last = slices.Min(indexes), slices.Max(indexes)
		}
	})
}

func (l *simLog) Set(key, val []byte) error {
	return l.write(func(c *simContents) { c.values[string(key)] = slices.Clone(val) })
}

func (l *simLog) Get(key []byte) (val []byte, err error) {
	err = l.do(func(c *simContents) error {
		v, ok := c.values[string(key)]
		if !ok {
			return errors.New("not found") // the text that raft looks for
		}
		val = slices.Clone(v)
		return nil
	})
	return val, err
}

func (l *simLog) SetUint64(key []byte, val uint64) error {
	return l.Set(key, fmt.Appendf(nil, "%d", val))
}

func (l *simLog) GetUint64(key []byte) (val uint64, err error) {
	text, err := l.Get(key)
	if err == nil {
		_, err = fmt.Sscan(string(text), &val)
	}
	return val, err
}

func (l *simLog) Close() error {
	l.disk.set(func(d *simDisk) {
		if d.user == l {
			d.user = nil
		}
	})
	return nil
}

// room fails where the disk is full.
func (l *simLog) room() error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if !l.disk.full || l.disk.user != l {
		return nil
	}
	l.disk.hits++
	return fmt.Errorf("write raft.db: %w", syscall.ENOSPC)
}
