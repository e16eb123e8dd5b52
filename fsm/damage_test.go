package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
)

// whole is a state that was closed, and what it held.
type whole struct {
	file     []byte // state.db
	snapshot []byte
	tasks    map[string]*Task // by id
	applied  uint64
}

// newWhole fills a state with some of everything, over branch pages too.
func newWhole(t *testing.T) whole {
	t.Helper()
	dir := fastDir(t)
	m := openMachine(t, dir)
	m.ok(up("id1", "alpha", 1), up("id2", "beta", 1), packPut("p", "1"), by("root", userPut("ann", scopes(ScopeAdmin))),
		keysPut(0, "k1"), secretPut(0, &Rotation{To: "s2", Phase: 1}))
	const tasks = 300
	for i := 1; i <= tasks; i++ {
		n := task(i, at(place(uint32(1+i%2), 1)), args(strings.Repeat("a", i)))
		if i%3 == 0 {
			n.Name = fmt.Sprint("name", i)
		}
		m.clock += 10
		m.ok(by("ann", keyed(fmt.Sprint("once", i), "hash", int64(i)*100, n)))
		if i%50 == 0 {
			m.mustFlush() // pages are freed, and keep what was in them
		}
		switch i % 5 {
		case 0:
			m.ok(fail(k(i), 1))
		case 1, 2, 3:
			m.ok(finish(k(i), 1, fmt.Sprintf(`"result %d %s"`, i, strings.Repeat("r", i))))
		}
	}
	w := whole{snapshot: snapshotBytes(t, m.State), tasks: map[string]*Task{}, applied: m.index}
	for i := 1; i <= tasks; i++ {
		rec, err := m.TaskByKey(k(i))
		if err != nil {
			t.Fatal(err)
		}
		w.tasks[rec.ID()] = rec
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.file, err = os.ReadFile(filepath.Join(dir, "state.db")); err != nil {
		t.Fatal(err)
	}
	return w
}

// patient is a state over a file that may be damaged.
type patient struct {
	*State
	t     *testing.T
	dir   string
	lines bytes.Buffer // its log

	mu    sync.Mutex
	fatal []error // guarded by mu; what Fatal was told
}

// open opens a state over these bytes. It is closed when the test ends, or before.
func open(t *testing.T, file []byte) *patient {
	t.Helper()
	p := &patient{t: t, dir: fastDir(t)}
	if err := os.WriteFile(filepath.Join(p.dir, "state.db"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	p.reopen()
	t.Cleanup(p.close)
	return p
}

func (p *patient) reopen() {
	p.t.Helper()
	p.lines.Reset()
	p.State = mustOpen(p.t, Config{Dir: p.dir, Logger: slog.New(slog.NewTextHandler(&p.lines, nil)), Fatal: func(err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fatal = append(p.fatal, err)
	}})
	still(p.State)
}

func (p *patient) close() {
	if err := p.Close(); err != nil {
		p.t.Errorf("Close: %v", err)
	}
	_ = os.RemoveAll(p.dir)
}

// discarded reports whether the file was discarded when it was opened, and said so.
func (p *patient) discarded() bool {
	said := strings.Contains(p.lines.String(), "state discarded")
	if said != (p.Applied() == 0) {
		p.t.Fatalf("opened at index %d, the log says %q", p.Applied(), &p.lines)
	}
	return said
}

// stopped reports whether the node was told to stop, and checks that the sentence says
// what to do and that the next start discards the file.
func (p *patient) stopped() bool {
	p.t.Helper()
	p.mu.Lock()
	told := p.fatal
	p.mu.Unlock()
	if len(told) == 0 {
		return false
	}
	if len(told) > 1 || !errors.Is(told[0], errDamaged) || !strings.Contains(told[0].Error(), "start the node again") {
		p.t.Fatalf("Fatal was told %q", told)
	}
	mark, err := os.ReadFile(filepath.Join(p.dir, "state.mark"))
	if err != nil || string(mark) != damageMark {
		p.t.Fatalf("the mark of a damaged state is %q, %v", mark, err)
	}
	return true
}

// TestDamageAtOpen flips one byte after another of a file and checks that it is either
// discarded when it is opened, or gives everything as it was.
func TestDamageAtOpen(t *testing.T) {
	w := newWhole(t)
	path := filepath.Join(fastDir(t), "state.db")
	random := rand.New(rand.NewPCG(1, 2))
	found, harmless := 0, 0
	for range 1000 {
		file := bytes.Clone(w.file)
		i, flip := random.IntN(len(file)), byte(1<<random.IntN(8))
		file[i] ^= flip
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := verifyStore(path); err != nil {
			if !errors.Is(err, errDamaged) {
				t.Fatalf("byte %d ^ %x: %v", i, flip, err)
			}
			found++
			continue
		}
		harmless++
		p := open(t, file)
		if p.discarded() {
			t.Fatalf("byte %d ^ %x: discarded though it is whole: %s", i, flip, &p.lines)
		}
		if got := snapshotBytes(t, p.State); !bytes.Equal(got, w.snapshot) {
			t.Fatalf("byte %d ^ %x: not found, and the snapshot is another one:\n%s", i, flip, diffSnapshots(t, t.TempDir(), w.snapshot, got))
		}
		p.close()
	}
	t.Logf("%d of %d flipped bytes were found, %d are nowhere in use", found, found+harmless, harmless)
	if found < 300 {
		t.Errorf("of the flipped bytes %d were found", found)
	}
}

// read reads everything that a state has by every way and returns whether something was
// missing. What is there must be right, and after an error the node must be about to stop.
func (w whole) read(t *testing.T, p *patient) (missing bool) {
	t.Helper()
	for id, want := range w.tasks {
		got, err := p.Task(id)
		switch {
		case errors.Is(err, ErrNotFound):
			missing = true
		case err != nil:
			if !p.stopped() {
				t.Fatalf("Task(%s): %v, and nothing stops the node", id, err)
			}
		case !proto.Equal(got, want):
			t.Fatalf("Task(%s) is\n  %v, want\n  %v", id, got, want)
		}
	}
	seen := 0
	for cursor, more := "", true; more; {
		page, err := p.List(Filter{Cursor: cursor})
		if err != nil && !p.stopped() {
			t.Fatalf("List: %v, and nothing stops the node", err)
		}
		if err != nil {
			return missing
		}
		for _, got := range page.Tasks {
			if want := w.tasks[got.ID()]; want == nil || !proto.Equal(got, want) {
				t.Fatalf("List has\n  %v, want\n  %v", got, want)
			}
			seen++
		}
		cursor = page.Next
		more = cursor != ""
	}
	return missing || seen != len(w.tasks)
}

// damages are places to damage: a file's bytes after the damage.
func (w whole) damages() map[string]func(file []byte) []byte {
	flipAll := func(what []byte, at int) func(file []byte) []byte {
		return func(file []byte) []byte {
			for i := 0; ; {
				j := bytes.Index(file[i:], what)
				if j < 0 {
					return file
				}
				file[i+j+at] ^= 1
				i += j + len(what)
			}
		}
	}
	key := k(33)
	applied := append([]byte("applied"), u64(w.applied)...)
	page := os.Getpagesize()
	return map[string]func(file []byte) []byte{
		"result":           flipAll([]byte("result 41"), 3),
		"key of a result":  flipAll(append(key[:15:15], 33, 0x0a, 16), 15),
		"name":             flipAll(append([]byte("name33"), key[:]...), 5),
		"key of a name":    flipAll(append([]byte("name33"), key[:]...), 6),
		"applied":          flipAll(applied, len(applied)-1),
		"idempotency":      flipAll([]byte("\x0a\x04hash"), 2),
		"half":             func(file []byte) []byte { return file[:len(file)/2] },
		"one byte":         func(file []byte) []byte { return file[:1] },
		"nothing":          func(file []byte) []byte { return nil },
		"heads only":       func(file []byte) []byte { return file[:2*page] },
		"one page less":    func(file []byte) []byte { return file[:lastUsed(file)*page] },
		"both heads":       func(file []byte) []byte { file[40] ^= 1; file[page+40] ^= 1; return file },
		"newer head":       func(file []byte) []byte { file[newerHead(file)*page+40] ^= 1; return file },
		"zeroes in a page": func(file []byte) []byte { clear(file[lastUsed(file)*page:][:page]); return file },
	}
}

// newerHead returns which head of a file is the newer one.
func newerHead(file []byte) int {
	n, page := binary.NativeEndian, os.Getpagesize()
	if n.Uint64(file[page+pageHead+48:]) > n.Uint64(file[pageHead+48:]) {
		return 1
	}
	return 0
}

// lastUsed returns the highest page of a file that is in use, by the verifier's account.
func lastUsed(file []byte) int {
	v := &verifier{file: bytes.NewReader(file), pageSize: os.Getpagesize()}
	root, err := v.head()
	if err = errors.Join(err, v.verify(root)); err != nil {
		panic(err)
	}
	last := 0
	for id, seen := range v.seen {
		if seen {
			last = id
		}
	}
	return last
}

// TestDamagedPlaces damages one thing after the other, before the state is opened and
// while it is open.
func TestDamagedPlaces(t *testing.T) {
	w := newWhole(t)
	for name, damage := range w.damages() {
		t.Run(name+"/before", func(t *testing.T) {
			file := damage(bytes.Clone(w.file))
			if bytes.Equal(file, w.file) {
				t.Fatal("nothing was damaged")
			}
			if p := open(t, file); !p.discarded() {
				t.Error("a damaged file was not discarded")
			}
		})
		t.Run(name+"/while open", func(t *testing.T) {
			p := open(t, w.file)
			p.damage(damage)
			w.read(t, p)
			if got, err := trySnapshot(p.State); !p.stopped() {
				t.Fatalf("nothing stops the node; a snapshot gives %v, as before %v", err, bytes.Equal(got, w.snapshot))
			}
			p.standsStill(w.applied)
			if err := p.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
			p.fatal = nil
			p.reopen()
			if !p.discarded() {
				t.Error("the file is not discarded at the next start")
			}
		})
	}
}

// damage changes the file of a state that is open, as a disk would.
func (p *patient) damage(damage func(file []byte) []byte) {
	p.t.Helper()
	old, err := os.ReadFile(p.path())
	if err != nil {
		p.t.Fatal(err)
	}
	f, err := os.OpenFile(p.path(), os.O_WRONLY, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	file := damage(bytes.Clone(old))
	for i := range file {
		if file[i] == old[i] {
			continue
		}
		if _, err := f.WriteAt(file[i:i+1], int64(i)); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := f.Truncate(int64(len(file))); err != nil {
		p.t.Fatal(err)
	}
}

func trySnapshot(s *State) ([]byte, error) {
	snap, err := s.FSM().Snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.Release()
	sink := new(memorySink)
	err = snap.Persist(sink)
	return sink.Bytes(), err
}

// standsStill checks that a damaged state takes nothing more.
func (p *patient) standsStill(applied uint64) {
	p.t.Helper()
	l := encoded(p.t, applied+1, startClock, submit(task(9999)))
	if outs := p.FSM().Apply(l).([]*Outcome); outs != nil || p.Applied() != applied {
		p.t.Errorf("a damaged state applied an entry: %v, at index %d", outs, p.Applied())
	}
	if _, err := p.List(Filter{}); !errors.Is(err, errDamaged) {
		p.t.Errorf("List of a damaged state: %v", err)
	}
}
