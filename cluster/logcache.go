package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

const (
	// cachedLogs is how many of the newest log entries are kept in memory for followers.
	cachedLogs = 128
	// cachedSize is how large an entry may be to be kept, in bytes; larger ones are rare, and read from disk.
	cachedSize = 512 << 10
)

// logCache keeps the newest entries of a log store in memory: a leader reads each once for every follower. It is raft's
// own LogCache with a bound in bytes, which large entries need.
type logCache struct {
	raft.LogStore

	mu    sync.RWMutex
	slots [cachedLogs]*raft.Log // by index modulo cachedLogs; guarded by mu
}

// GetLog reads one entry.
func (c *logCache) GetLog(index uint64, entry *raft.Log) error {
	c.mu.RLock()
	kept := c.slots[index%cachedLogs]
	c.mu.RUnlock()
	if kept != nil && kept.Index == index {
		*entry = *kept
		return nil
	}
	return c.LogStore.GetLog(index, entry)
}

// StoreLog appends one entry.
func (c *logCache) StoreLog(entry *raft.Log) error { return c.StoreLogs([]*raft.Log{entry}) }

// StoreLogs appends entries. They are kept only when they are stored: a failed write must not be read back.
func (c *logCache) StoreLogs(entries []*raft.Log) error {
	if err := c.LogStore.StoreLogs(entries); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, entry := range entries {
		slot := &c.slots[entry.Index%cachedLogs]
		if *slot = nil; len(entry.Data) <= cachedSize {
			*slot = entry
		}
	}
	return nil
}

// DeleteRange deletes the entries from first to last.
func (c *logCache) DeleteRange(first, last uint64) error {
	c.mu.Lock()
	c.slots = [cachedLogs]*raft.Log{}
	c.mu.Unlock()
	return c.LogStore.DeleteRange(first, last)
}
