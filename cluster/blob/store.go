package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// ErrTooLarge is returned for bytes beyond the size that was allowed or announced.
var ErrTooLarge = errors.New("more bytes than allowed")

// ErrDigest is returned when bytes are not those that their name promises.
var ErrDigest = errors.New("the bytes do not have the SHA-256 they should have: damaged on the way, or changed")

// Digest names a blob: the SHA-256 of its bytes.
type Digest [sha256.Size]byte

// String returns the digest as 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what String writes, in either case.
func ParseDigest(text string) (Digest, error) {
	raw, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != len(Digest{}) {
		return Digest{}, fmt.Errorf("%.80q is no SHA-256: write 64 hexadecimal digits", text)
	}
	return Digest(raw), nil
}

// Store is the blobs on one node's disk. It is safe for concurrent use.
type Store struct {
	dir  string
	temp atomic.Uint64 // numbers unfinished files

	// mu guards idle, and the folder's names: a blob must not be removed that was just asked for,
	// or has just taken the place of one that is damaged.
	mu   sync.Mutex
	idle map[Digest]int // how often in a row Idle found it of no use
}

const unfinished = ".part"

// Open opens the store in dir, which exists, and removes what was left unfinished.
func Open(dir string) (*Store, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open blobs: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), unfinished) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("open blobs: %w", err)
			}
		}
	}
	return &Store{dir: dir, idle: map[Digest]int{}}, nil
}

func (s *Store) path(d Digest) string { return filepath.Join(s.dir, d.String()) }

// Has says whether the store holds a blob. Its bytes are looked at when they are read.
func (s *Store) Has(d Digest) bool {
	info, err := os.Stat(s.path(d))
	return err == nil && info.Mode().IsRegular()
}

// touch is Has for who is going to rely on it: a blob that is here is not idle any more.
func (s *Store) touch(d Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.idle, d)
	return s.Has(d)
}

// Put stores what r gives, at most limit bytes, and returns its name and size. It is on the disk
// when Put returns. More bytes are ErrTooLarge.
func (s *Store) Put(r io.Reader, limit int64) (Digest, int64, error) {
	w, err := s.create(limit)
	if err != nil {
		return Digest{}, 0, err
	}
	defer w.discard()
	if _, err := io.Copy(w, r); err != nil {
		return Digest{}, 0, fmt.Errorf("store blob: %w", err)
	}
	d := w.digest()
	return d, w.size, w.keep(d)
}

// open returns the bytes of a blob, fs.ErrNotExist if the store has it not. They are not
// verified.
func (s *Store) open(d Digest) (*os.File, error) {
	f, err := os.Open(s.path(d))
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return f, nil
}

// Open returns the bytes of a blob, fs.ErrNotExist if the store has it not. It reads them
// all before: a blob that is damaged is removed, so that it can be fetched anew, and
// ErrDigest is returned.
func (s *Store) Open(d Digest) (*os.File, error) {
	f, err := s.open(d)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	if err == nil && Digest(sum.Sum(nil)) != d {
		return nil, errors.Join(fmt.Errorf("blob %s: %w", d, ErrDigest), s.removeDamaged(d, f), f.Close())
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read blob: %w", err), f.Close())
	}
	return f, nil
}

// verify is Open for who does not want the bytes.
func (s *Store) verify(d Digest) error {
	f, err := s.Open(d)
	if err != nil {
		return err
	}
	return f.Close()
}

// removeDamaged removes a blob's file, unless another is in its place by now.
func (s *Store) removeDamaged(d Digest, f *os.File) error {
	damaged, err := f.Stat()
	if err != nil {
		return fmt.Errorf("remove blob: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, err := os.Stat(s.path(d)); err != nil || !os.SameFile(now, damaged) {
		return nil
	}
	return s.remove(d)
}

// remove removes a blob's file. mu is held.
func (s *Store) remove(d Digest) error {
	if err := os.Remove(s.path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove blob: %w", err)
	}
	return nil
}

// List returns the sizes of all blobs, by name.
func (s *Store) List() (map[Digest]int64, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	out := make(map[Digest]int64, len(entries))
	for _, e := range entries {
		d, err := ParseDigest(e.Name())
		if err != nil {
			continue // unfinished
		}
		if info, err := e.Info(); err == nil { // else it has gone since
			out[d] = info.Size()
		}
	}
	return out, nil
}

// Idle has every blob of a list that is not needed grow a look older, and returns those that
// have been of no use for so many looks in a row. One that is needed, put, spread or kept for
// another node in between is as good as new. Looks are counted and not time, which passes
// while a node, or its whole machine, stands still.
func (s *Store) Idle(list map[Digest]int64, needed func(Digest) bool, looks int) []Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	var old []Digest
	for d := range list {
		if needed(d) {
			delete(s.idle, d)
			continue
		}
		if s.idle[d]++; s.idle[d] >= looks {
			old = append(old, d)
		}
	}
	return old
}

// RemoveIdle removes a blob that Idle has found, unless somebody has asked for it since.
func (s *Store) RemoveIdle(d Digest) (removed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle[d] == 0 {
		return false, nil
	}
	delete(s.idle, d)
	return true, s.remove(d)
}

// writer is a blob being written. It becomes one by keep, under its name and at once.
type writer struct {
	store *Store
	file  *os.File // nil once it is kept or discarded
	sum   hash.Hash
	size  int64
	limit int64
}

func (s *Store) create(limit int64) (*writer, error) {
	name := filepath.Join(s.dir, fmt.Sprintf("%d%s", s.temp.Add(1), unfinished))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store blob: %w", err)
	}
	return &writer{store: s, file: f, sum: sha256.New(), limit: limit}, nil
}

func (w *writer) Write(p []byte) (int, error) {
	if w.size+int64(len(p)) > w.limit {
		return 0, fmt.Errorf("%w: %d", ErrTooLarge, w.limit)
	}
	n, err := w.file.Write(p)
	w.sum.Write(p[:n])
	w.size += int64(n)
	return n, err
}

func (w *writer) digest() Digest { return Digest(w.sum.Sum(nil)) }

// keep makes what was written the blob d, if it is that.
func (w *writer) keep(d Digest) error {
	if w.digest() != d {
		return fmt.Errorf("blob %s: %w", d, ErrDigest)
	}
	f, name := w.file, w.file.Name()
	w.file = nil
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = w.store.put(d, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store blob: %w", err), os.Remove(name))
	}
	return w.store.sync()
}

// put gives a file the name of a blob.
func (s *Store) put(d Digest, file string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.idle, d)
	return os.Rename(file, s.path(d))
}

// discard removes what was not kept.
func (w *writer) discard() {
	if w.file != nil {
		_ = w.file.Close()
		_ = os.Remove(w.file.Name())
		w.file = nil
	}
}

// sync makes the names of new blobs durable.
func (s *Store) sync() error {
	dir, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("store blob: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("store blob: %w", err)
	}
	return nil
}
