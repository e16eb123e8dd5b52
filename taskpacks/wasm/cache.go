package wasm

import (
	"encoding/json"
	"errors"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/tetratelabs/wazero"
)

// maxCache bounds the compiled code on disk, in bytes. A cache that is larger is emptied at the next start: what no pack uses any
// more is gone then, and the rest is compiled once more.
const maxCache = 1 << 30

// sealsFile holds the checksums of the files of a cache, by their paths in it.
const sealsFile = "seals.json"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// cache is compiled code on disk. wazero checks a part of what it reads there and runs it: one flipped bit may end the node. So the
// files carry seals, and one whose seal is broken is removed before wazero sees it.
type cache struct {
	dir   string // "" = in memory only
	code  wazero.CompilationCache
	seals map[string]uint32 // by path below dir
	log   *slog.Logger
}

// openCache opens the cache in dir. A cache that cannot be used costs time, and a warning, but is no error.
func openCache(dir string, log *slog.Logger) *cache {
	c := &cache{dir: dir, seals: map[string]uint32{}, log: log}
	if dir != "" {
		err := c.check()
		if err == nil {
			c.code, err = wazero.NewCompilationCacheWithDir(dir)
		}
		if err != nil {
			log.Warn("compiled code is not kept on disk", "dir", dir, "err", err)
			c.dir = ""
		}
	}
	if c.dir == "" {
		c.code = wazero.NewCompilationCache()
	}
	return c
}

// check removes what is not as it was sealed.
func (c *cache) check() error {
	sealed := map[string]uint32{}
	text, err := os.ReadFile(filepath.Join(c.dir, sealsFile))
	if err == nil {
		err = json.Unmarshal(text, &sealed)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("the cache of compiled code is damaged and is emptied", "dir", c.dir, "err", err)
		clear(sealed)
	}
	size := int64(0)
	err = c.walk(func(path string) error {
		full := filepath.Join(c.dir, path)
		content, err := os.ReadFile(full)
		want, ok := sealed[path]
		if err != nil || !ok || crc32.Checksum(content, castagnoli) != want {
			return os.RemoveAll(full)
		}
		size += int64(len(content))
		c.seals[path] = want
		return nil
	})
	if size > maxCache {
		clear(c.seals)
		return os.RemoveAll(c.dir)
	}
	return err
}

// walk calls visit with the path of each file that wazero may read.
func (c *cache) walk(visit func(path string) error) error {
	err := filepath.WalkDir(c.dir, func(full string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		path, err := filepath.Rel(c.dir, full)
		if err != nil || path == sealsFile {
			return err
		}
		return visit(path)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// seal notes the files that are new. A file without a seal is compiled anew at the next start, so a failure is not worse than that.
func (c *cache) seal() {
	if c.dir == "" {
		return
	}
	before := len(c.seals)
	err := c.walk(func(path string) error {
		if _, ok := c.seals[path]; ok {
			return nil
		}
		content, err := os.ReadFile(filepath.Join(c.dir, path))
		c.seals[path] = crc32.Checksum(content, castagnoli)
		return err
	})
	if err == nil && len(c.seals) > before {
		err = c.write()
	}
	if err != nil {
		c.log.Warn("compiled code is not kept on disk", "dir", c.dir, "err", err)
	}
}

func (c *cache) write() error {
	text, err := json.Marshal(c.seals)
	if err != nil {
		return err
	}
	full := filepath.Join(c.dir, sealsFile)
	if err := os.WriteFile(full+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(full+".new", full)
}
